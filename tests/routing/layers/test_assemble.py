"""Modules with several models' MLPs, of three families."""

import pytest
import torch

from merganser.routing.layers import LayerRouting, assemble, trunk_distance

from .conftest import FAMILIES, inputs_of, logits_of


def experts_on_one_trunk(family):
    """A trunk and two experts that differ from it in their MLPs only."""
    trunk, a, b = (FAMILIES[family](0) for _ in range(3))
    generator = torch.Generator().manual_seed(1)
    for model in (a, b):
        for name, weight in model.named_parameters():
            if ".mlp." in name:
                weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
    return trunk, {"a": a, "b": b}


@pytest.mark.parametrize(("share", "whose"), [(1.0, "a"), (0.0, "b")])
def test_the_ends_of_static_shares_are_the_experts_exactly(family, share, whose):
    trunk, experts = experts_on_one_trunk(family)
    net = assemble(trunk, experts, LayerRouting("static"))
    net.set_weights({"static": [share]})
    inputs = inputs_of(family)
    assert torch.equal(logits_of(net.module, inputs), logits_of(experts[whose], inputs))


@pytest.mark.parametrize("level", ["static", "single", "layers"])
def test_equal_experts_are_the_expert(family, level):
    trunk = FAMILIES[family](0)
    net = assemble(trunk, {"a": trunk, "b": FAMILIES[family](0)}, LayerRouting(level))
    inputs = inputs_of(family)
    assert torch.equal(logits_of(net.module, inputs), logits_of(trunk, inputs))


@pytest.mark.parametrize("level", ["single", "layers"])
def test_routers_begin_as_the_static_average(family, level):
    trunk, experts = experts_on_one_trunk(family)
    inputs = inputs_of(family)
    average = logits_of(assemble(trunk, experts, LayerRouting("static")).module, inputs)
    routed = logits_of(assemble(trunk, experts, LayerRouting(level)).module, inputs)
    torch.testing.assert_close(routed, average, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "routing",
    [
        LayerRouting("static"),
        LayerRouting("single"),
        LayerRouting("layers"),
        LayerRouting("cross-depth", reach=2),
        LayerRouting("cross-depth", reach=3),
    ],
)
def test_the_count_of_parameters_is_that_of_the_plan(family, routing):
    trunk, experts = experts_on_one_trunk(family)
    net = assemble(trunk, {"base": trunk, **experts}, routing)
    width = 96 if family == "vit" else 16
    assert net.parameters == routing.parameters(models=3, blocks=len(net.mlps), width=width)
    assert net.parameters == sum(p.numel() for p in net.module.parameters() if p.requires_grad)


def randomised(net):
    """Routers that have opinions."""
    generator = torch.Generator().manual_seed(3)
    net.set_weights({n: torch.randn(w.shape, generator=generator) for n, w in net.routers.items()})
    return net


@pytest.mark.parametrize("level", ["single", "layers"])
@pytest.mark.parametrize("top_k", [1, 2])
def test_only_the_chosen_experts_are_computed_and_give_what_masking_gives(family, level, top_k):
    trunk, experts = experts_on_one_trunk(family)
    three = {"base": trunk, **experts}
    net = randomised(assemble(trunk, three, LayerRouting(level, top_k=top_k)))
    inputs = inputs_of(family)
    rows = [0] * 3
    hooks = [
        expert.register_forward_hook(lambda _m, _i, out, e=e: rows.__setitem__(e, rows[e] + len(out)))
        for e, expert in enumerate(net.block(0).experts)
    ]
    found = logits_of(net.module, inputs)
    for hook in hooks:
        hook.remove()
    tokens = 3 * (4 if family == "vit" else 11)
    assert sum(rows) == top_k * tokens
    for number in range(len(net.mlps)):  # the same shares, but every expert is computed
        mixer = net.block(number)
        mixer._chosen = lambda flat, shares, mixer=mixer: mixer._all(flat, shares)
    torch.testing.assert_close(found, logits_of(net.module, inputs), atol=1e-5, rtol=1e-5)


def test_top_k_of_all_experts_is_dense(family):
    trunk, experts = experts_on_one_trunk(family)
    inputs = inputs_of(family)
    dense = randomised(assemble(trunk, experts, LayerRouting("layers")))
    top = randomised(assemble(trunk, experts, LayerRouting("layers", top_k=2)))
    torch.testing.assert_close(
        logits_of(top.module, inputs), logits_of(dense.module, inputs), atol=1e-5, rtol=1e-5
    )


def test_a_single_router_decides_by_the_first_block_for_all():
    trunk, experts = experts_on_one_trunk("gpt2")
    net = randomised(assemble(trunk, experts, LayerRouting("single")))
    seen = []
    for number in range(3):
        net.block(number).gate.register_forward_hook(lambda _m, _i, out: seen.append(out))
    logits_of(net.module, inputs_of("gpt2"))
    assert len(seen) == 3
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])
    assert seen[0].std() > 0.01


def test_across_depths_a_block_mixes_the_mlps_of_the_table_in_its_order():
    trunk, experts = experts_on_one_trunk("gpt2")
    net = assemble(trunk, experts, LayerRouting("cross-depth", reach=2))
    for block, depths in enumerate([(0, 1), (1, 2), (2, 1)]):
        found = [mlp.c_fc.weight.data_ptr() for mlp in net.block(block).experts]
        assert found == [
            experts[name].transformer.h[depth].mlp.c_fc.weight.data_ptr() for depth in depths for name in "ab"
        ]


def test_a_strong_own_bias_begins_with_the_blocks_own_depth():
    trunk, experts = experts_on_one_trunk("llama")
    inputs = inputs_of("llama")
    own = assemble(trunk, experts, LayerRouting("cross-depth", reach=3, own_bias=50.0))
    layers = assemble(trunk, experts, LayerRouting("layers"))
    torch.testing.assert_close(
        logits_of(own.module, inputs), logits_of(layers.module, inputs), atol=1e-5, rtol=1e-5
    )


def test_models_stay_what_they_were_and_no_tensor_is_copied(family):
    trunk, experts = experts_on_one_trunk(family)
    inputs, before = inputs_of(family), dict(trunk.named_parameters())
    said = logits_of(trunk, inputs)
    net = assemble(trunk, experts, LayerRouting("layers"))
    logits_of(randomised(net).module, inputs)
    assert torch.equal(logits_of(trunk, inputs), said)
    assert all(before[name] is p and p.requires_grad for name, p in trunk.named_parameters())
    held = {p.data_ptr() for model in (trunk, *experts.values()) for p in model.parameters()}
    routers = {w.data_ptr() for w in net.routers.values()}
    assert {p.data_ptr() for p in net.module.parameters()} <= held | routers


def test_mlps_are_found_by_a_pattern():
    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.feed = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))

        def forward(self, x):
            return x + self.feed(x)

    trunk, a, b = (torch.nn.Sequential(Block(), Block()) for _ in range(3))
    with pytest.raises(ValueError, match=r"Sequential has no parts called '….\*.mlp'"):
        assemble(trunk, {"a": a, "b": b}, LayerRouting("layers"))
    net = assemble(trunk, {"a": a, "b": b}, LayerRouting("layers", mlps="*.feed"))
    assert net.mlps == ("0.feed", "1.feed")
    assert net.module(torch.ones(2, 4)).shape == (2, 4)


def test_misfits_are_refused_by_name():
    from transformers import GPT2Config, GPT2LMHeadModel

    trunk, experts = experts_on_one_trunk("gpt2")
    with pytest.raises(ValueError, match="at least two models to mix, found 1"):
        assemble(trunk, {"a": trunk}, LayerRouting("layers"))
    short = GPT2LMHeadModel(GPT2Config(vocab_size=60, n_embd=16, n_layer=2, n_head=2))
    with pytest.raises(ValueError, match="Expected 3 blocks, as the trunk has, but 'short' has 2"):
        assemble(trunk, {**experts, "short": short}, LayerRouting("layers"))
    wide = GPT2LMHeadModel(GPT2Config(vocab_size=60, n_embd=32, n_layer=3, n_head=2))
    with pytest.raises(ValueError, match="width 16, the trunk's, but those of 'wide' have 32"):
        assemble(trunk, {**experts, "wide": wide}, LayerRouting("layers"))
    net = assemble(trunk, experts, LayerRouting("static"))
    with pytest.raises(ValueError, match=r"shapes \{'static': \(1,\)\}, found"):
        net.set_weights({"static": [0.5, 0.5]})


def test_the_distance_of_trunks_counts_all_but_the_mlps():
    trunk, experts = experts_on_one_trunk("llama")
    assert trunk_distance(trunk, experts["a"], LayerRouting()) == 0.0
    other = FAMILIES["llama"](0)
    for name, weight in other.named_parameters():
        if ".mlp." not in name:
            weight.data *= 1.25
    assert trunk_distance(trunk, other, LayerRouting()) == pytest.approx(0.25, rel=1e-6)
    from transformers import LlamaConfig, LlamaForCausalLM

    more = LlamaForCausalLM(LlamaConfig(**{**trunk.config.to_dict(), "vocab_size": 70}))
    assert trunk_distance(trunk, more, LayerRouting()) == float("inf")
