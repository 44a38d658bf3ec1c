"""Statistics of modules on data: against loops, for every kind of layer, and nothing stays behind."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from merganser.models import collect
from merganser.weights import Checkpoint

STORIES = Path(__file__).parents[1] / "data" / "stories260k"


def normal(seed, *shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def llama(**options):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 512,
    }
    return LlamaForCausalLM(LlamaConfig(**sizes, **options)).eval()


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=40, n_positions=32)).eval()


def ids(*shape, most=40):
    return torch.randint(0, most, shape, generator=torch.Generator().manual_seed(1))


def gram(rows):
    rows = rows.reshape(-1, rows.shape[-1])
    return sum(torch.outer(row, row) for row in rows) / len(rows)


def watched(module, layer, call):
    """What a layer was called with, as a hook of our own sees it."""
    seen = []
    handle = layer.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    with torch.no_grad():
        call(module)
    handle.remove()
    return torch.cat([each.reshape(-1, each.shape[-1]) for each in seen])


# Gram matrices


def test_a_gram_matrix_is_the_mean_over_all_inputs_of_all_batches():
    module = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    batches = [normal(1, 7, 5), normal(2, 2, 5)]
    found = collect(module, batches)
    inputs = torch.cat(batches)
    torch.testing.assert_close(found.tensors.read("0.weight"), gram(inputs))
    torch.testing.assert_close(found.tensors.read("2.weight"), gram(module[:2](inputs).detach()))
    assert (found.kind, found.samples, found.tokens) == ("gram", 9, 9)
    assert found.inputs_first == frozenset()


def test_a_convolution_is_measured_on_the_patches_that_its_kernel_sees():
    module = nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=1, bias=False)
    images = normal(0, 4, 2, 7, 6)
    measured = collect(module, [images]).tensors.read("weight")
    flat = module.weight.detach().flatten(1)
    answers = module(images).detach().transpose(0, 1).flatten(1)
    torch.testing.assert_close(flat @ measured @ flat.T, answers @ answers.T / answers.shape[1])


def test_a_layer_that_is_called_twice_is_measured_on_both():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return self.layer(self.layer(x))

    module = Twice()
    expected = gram(watched(module, module.layer, lambda m: m(normal(0, 6, 4))))
    torch.testing.assert_close(collect(module, [normal(0, 6, 4)]).tensors.read("layer.weight"), expected)


def test_layers_with_the_same_inputs_share_one_matrix():
    module = llama()
    found = collect(module, [{"input_ids": ids(2, 9)}, {"input_ids": ids(1, 5)}])
    block = "model.layers.1."
    shared = {name: found.name_of(f"{block}self_attn.{name}_proj.weight") for name in "qkvo"}
    assert shared["q"] == shared["k"] == shared["v"] != shared["o"]
    assert found.name_of(f"{block}mlp.gate_proj.weight") == found.name_of(f"{block}mlp.up_proj.weight")
    assert len(found.tensors) == 4 * 2 + 1  # attention in, out, mlp in, out; and the head
    expected = gram(watched(module, module.model.layers[1].self_attn.v_proj, lambda m: m(ids(2, 9))))
    alone = collect(module, [{"input_ids": ids(2, 9)}])
    torch.testing.assert_close(alone.tensors.read(shared["q"]), expected)


def test_the_same_tensor_changed_in_between_is_another_input():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x):
            first = self.a(x)
            return first + self.b(x.mul_(2))

    found = collect(InPlace(), [normal(0, 5, 3)])
    torch.testing.assert_close(found.tensors.read("b.weight"), 4 * found.tensors.read("a.weight"))


def test_padding_does_not_count():
    module = llama()
    short, long = ids(1, 4, most=500), ids(1, 9, most=500)
    padded = torch.cat([torch.cat([short, torch.zeros(1, 5, dtype=torch.long)], dim=1), long])
    mask = torch.tensor([[1] * 4 + [0] * 5, [1] * 9])
    together = collect(module, [{"input_ids": padded, "attention_mask": mask}])
    apart = collect(module, [{"input_ids": short}, {"input_ids": long}])
    assert (together.samples, together.tokens) == (apart.samples, apart.tokens) == (2, 13)
    for name in together.tensors:
        torch.testing.assert_close(
            together.tensors.read(name), apart.tensors.read(name), rtol=1e-4, atol=1e-6
        )
    careless = collect(module, [{"input_ids": padded}])
    name = apart.name_of("model.layers.1.self_attn.q_proj.weight")
    assert not torch.allclose(careless.tensors.read(name), apart.tensors.read(name), rtol=1e-2)


def test_gpt2_has_the_inputs_of_its_layers_along_the_first_axis():
    module = gpt2()
    found = collect(module, [{"input_ids": ids(2, 9)}])
    name = "transformer.h.0.mlp.c_proj.weight"
    assert name in found.inputs_first
    assert found.tensors.read(name).shape == (64, 64)
    expected = gram(watched(module, module.transformer.h[0].mlp.c_proj, lambda m: m(ids(2, 9))))
    torch.testing.assert_close(found.tensors.read(name), expected)


def test_a_head_that_is_tied_to_the_embedding_is_left_out():
    module = gpt2()
    found = collect(module, [{"input_ids": ids(1, 5)}])
    assert found.name_of("lm_head.weight") is None
    assert found.name_of("transformer.wte.weight") is None
    assert collect(llama(tie_word_embeddings=True), [ids(1, 5)]).name_of("lm_head.weight") is None


# Fisher information


def one_by_one(module, inputs, labels):
    """Squared gradients of each sample's log-probability, label by label as given."""
    sums = {name: torch.zeros_like(p) for name, p in module.named_parameters()}
    for x, y in zip(inputs, labels, strict=True):
        module.zero_grad()
        functional.log_softmax(module(x[None]), dim=-1)[0, y].backward()
        for name, p in module.named_parameters():
            sums[name] += p.grad**2
    module.zero_grad()
    return {name: total / len(inputs) for name, total in sums.items()}


def test_the_empirical_fisher_information_is_that_of_the_labels_one_by_one():
    module, inputs, labels = nn.Linear(4, 3), normal(0, 6, 4), torch.tensor([0, 1, 2, 2, 1, 0])
    found = collect(
        module, [(inputs[:4], labels[:4]), (inputs[4:], labels[4:])], kind="fisher", labels="empirical"
    )
    for name, expected in one_by_one(module, inputs, labels).items():
        torch.testing.assert_close(found.tensors.read(name), expected)
    assert (found.kind, found.samples) == ("fisher", 6)


def test_with_labels_from_the_model_it_comes_near_the_expectation():
    module, x = nn.Linear(3, 2), normal(0, 1, 3)
    p = module(x).softmax(dim=-1)[0].detach()
    exact = sum(q * one_by_one(module, x, [y])["weight"] for y, q in enumerate(p))
    found = collect(module, [x.repeat(3000, 1)], kind="fisher").tensors.read("weight")
    torch.testing.assert_close(found, exact, rtol=0.06, atol=0)


def test_drawn_labels_depend_on_the_seed_and_not_on_the_batches():
    module, inputs = nn.Linear(4, 3), normal(0, 8, 4)
    first = collect(module, [inputs], kind="fisher", seed=3).tensors.read("weight")
    again = collect(module, [inputs[:5], inputs[5:]], kind="fisher", seed=3).tensors.read("weight")
    other = collect(module, [inputs], kind="fisher", seed=4).tensors.read("weight")
    torch.testing.assert_close(first, again)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize("labels", ["model", "empirical"])
def test_a_text_has_one_gradient_and_its_padding_none(labels):
    module = llama()
    text = ids(1, 4)
    padded = torch.cat([text, torch.full((1, 3), 7)], dim=1)
    mask = torch.tensor([[1] * 4 + [0] * 3])
    whole = {"input_ids": text, "labels": text}
    masked = {
        "input_ids": padded,
        "attention_mask": mask,
        "labels": padded.masked_fill(mask == 0, -100),
    }
    name = "model.layers.0.mlp.up_proj.weight"
    found = collect(module, [masked], kind="fisher", labels=labels).tensors.read(name)
    if labels == "empirical":
        loss = module(text, labels=text).loss * 3  # three tokens are predicted
        expected = torch.autograd.grad(loss, module.model.layers[0].mlp.up_proj.weight)[0].square()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-7)
    again = collect(module, [whole], kind="fisher", labels=labels).tensors.read(name)
    assert found.shape == again.shape
    if labels == "empirical":
        torch.testing.assert_close(found, again, rtol=1e-3, atol=1e-7)


def test_every_parameter_has_fisher_information_and_tied_ones_once():
    found = collect(gpt2(), [{"input_ids": ids(1, 5)}], kind="fisher")
    assert found.name_of("transformer.wte.weight") == "transformer.wte.weight"
    assert found.name_of("lm_head.weight") is None
    assert found.name_of("transformer.h.1.ln_2.bias") is not None


# what is refused, and what is left behind


def test_nothing_stays_behind_even_after_an_error():
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    module[0].eval()
    module[2].weight.requires_grad_(False)
    for kind in ("gram", "fisher"):
        collect(module, [normal(0, 3, 4)], kind=kind)
        with pytest.raises(RuntimeError):
            collect(module, [normal(0, 3, 4), normal(0, 3, 5)], kind=kind)
        assert not any(layer._forward_pre_hooks for layer in module.modules())
        assert [layer.training for layer in module] == [False, True, True]
        assert [p.requires_grad for p in module.parameters()] == [True, True, False, True]
        assert all(p.grad is None for p in module.parameters())


def test_names_that_are_not_the_files_are_refused_and_can_be_translated():
    module = nn.Linear(3, 2)
    checkpoint = Checkpoint.from_tensors({"head.weight": module.weight.detach()})
    with pytest.raises(ValueError, match=r"'weight' has no counterpart: memory holds no 'weight'.*`names`"):
        collect(module, [normal(0, 4, 3)], checkpoint=checkpoint)
    found = collect(module, [normal(0, 4, 3)], checkpoint=checkpoint, names=lambda name: f"head.{name}")
    assert list(found.tensors) == ["head.weight"]


def test_a_module_with_other_numbers_than_the_file_is_refused():
    module = nn.Linear(3, 2)
    checkpoint = Checkpoint.from_tensors({"weight": module.weight.detach() + 1e-3})
    with pytest.raises(ValueError, match="'weight' of shape \\(2, 3\\) is not 'weight' of memory"):
        collect(module, [normal(0, 4, 3)], checkpoint=checkpoint)


@pytest.mark.parametrize("kind", ["gram", "fisher"])
def test_inputs_that_are_no_numbers_are_refused(kind):
    inputs = normal(0, 4, 3)
    inputs[1, 1] = torch.nan
    with pytest.raises((ValueError, RuntimeError), match=r"weight.*NaN|nan"):
        collect(nn.Linear(3, 2), [inputs], kind=kind)


def test_no_data_are_an_error():
    for kind in ("gram", "fisher"):
        with pytest.raises(ValueError, match="There are no data"):
            collect(nn.Linear(3, 2), [], kind=kind)
    with pytest.raises(ValueError, match="no linear layer"):
        collect(nn.Embedding(3, 2), [torch.tensor([1])])
    with pytest.raises(TypeError, match="A batch must be a tensor"):
        collect(nn.Linear(3, 2), ["text"])
    with pytest.raises(ValueError, match="needs labels"):
        collect(nn.Linear(3, 2), [{"input": normal(0, 4, 3)}], kind="fisher", labels="empirical")
