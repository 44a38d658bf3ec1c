"""Groups of tensors, on the names of real architectures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.evolution import Grouping


def llama(blocks=12):
    parts = [f"self_attn.{p}_proj" for p in "qkvo"] + [f"mlp.{p}_proj" for p in ("gate", "up", "down")]
    parts += ["input_layernorm", "post_attention_layernorm"]
    inside = [f"model.layers.{i}.{part}.weight" for i in range(blocks) for part in parts]
    return ["model.embed_tokens.weight", *inside, "model.norm.weight", "lm_head.weight"]


def gpt2(blocks=12):
    parts = ["ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"]
    inside = [f"h.{i}.{part}.{leaf}" for i in range(blocks) for part in parts for leaf in ("weight", "bias")]
    return ["wte.weight", "wpe.weight", *inside, "ln_f.weight", "ln_f.bias"]


def mixtral(blocks=3, experts=11):
    parts = [f"self_attn.{p}_proj" for p in "qkvo"] + ["block_sparse_moe.gate"]
    parts += [f"block_sparse_moe.experts.{e}.w{i}" for e in range(experts) for i in (1, 2, 3)]
    parts += ["input_layernorm", "post_attention_layernorm"]
    inside = [f"model.layers.{i}.{part}.weight" for i in range(blocks) for part in parts]
    return ["model.embed_tokens.weight", *inside, "model.norm.weight", "lm_head.weight"]


def t5():
    sub = ["layer.0.SelfAttention.q", "layer.0.layer_norm", "layer.1.DenseReluDense.wi", "layer.1.layer_norm"]
    stacks = [f"{s}.block.{i}.{part}.weight" for s in ("encoder", "decoder") for i in (0, 1) for part in sub]
    return ["shared.weight", *stacks, "encoder.final_layer_norm.weight", "decoder.final_layer_norm.weight"]


MODELS = {"llama": llama(), "gpt2": gpt2(), "mixtral": mixtral(), "t5": t5()}


def members(grouping, names):
    found = {name: [] for name in grouping.names}
    for name in names:
        found[grouping.names[grouping.of(name)]].append(name)
    return found


@pytest.mark.parametrize("names", MODELS.values(), ids=MODELS)
def test_every_block_is_a_group_and_so_are_embeddings_and_head(names):
    groups = members(Grouping.by_layer(names), names)
    assert next(iter(groups)) == "embeddings"
    assert all(groups.values())
    for group, tensors in groups.items():
        if group not in ("embeddings", "head"):
            assert tensors == [name for name in names if name.startswith(f"{group}.")]


def test_the_last_norm_goes_with_the_head_and_position_embeddings_with_the_embeddings():
    groups = members(Grouping.by_layer(gpt2()), gpt2())
    assert groups["embeddings"] == ["wte.weight", "wpe.weight"]
    assert groups["head"] == ["ln_f.weight", "ln_f.bias"]
    assert len(groups) == 14
    assert members(Grouping.by_layer(llama()), llama())["head"] == ["model.norm.weight", "lm_head.weight"]


@pytest.mark.parametrize(
    ("names", "attention", "mlp"),
    [
        (llama(1), {"self_attn", "input_layernorm"}, {"mlp", "post_attention_layernorm"}),
        (gpt2(1), {"attn", "ln_1"}, {"mlp", "ln_2"}),
        (mixtral(1), {"self_attn", "input_layernorm"}, {"block_sparse_moe", "post_attention_layernorm"}),
    ],
)
def test_norms_go_with_what_they_belong_to(names, attention, mlp):
    groups = members(Grouping.by_component(names), names)
    assert list(groups) == ["embeddings", "attention", "mlp", "head"]
    block = "h.0." if "wte.weight" in names else "model.layers.0."
    for part, expected in (("attention", attention), ("mlp", mlp)):
        assert {name.removeprefix(block).split(".")[0] for name in groups[part]} == expected


def test_where_the_mlp_has_norms_of_its_own_the_one_after_attention_is_attentions():
    norms = ("input", "post_attention", "pre_feedforward", "post_feedforward")
    gemma = [f"model.layers.0.{norm}_layernorm.weight" for norm in norms]
    names = ["model.embed_tokens.weight", *gemma, "model.layers.0.mlp.up_proj.weight"]
    groups = members(Grouping.by_component([*names, "model.layers.0.self_attn.q_norm.weight"]), names)
    assert groups["attention"] == gemma[:2]
    assert groups["mlp"] == [*gemma[2:], names[-1]]


def test_numbered_sublayers_are_told_apart_by_what_is_in_them():
    groups = members(Grouping.by_component(t5()), t5())
    assert all(".layer.0." in name for name in groups["attention"])
    assert all(".layer.1." in name for name in groups["mlp"])
    assert len(groups["attention"]) == len(groups["mlp"]) == 8


def test_a_model_without_blocks_has_a_group_for_each_layer():
    names = ["hidden.weight", "hidden.bias", "output.weight", "output.bias"]
    assert members(Grouping.by_layer(names), names) == {"hidden": names[:2], "head": names[2:]}


def test_filters_count_in_their_order_and_the_rest_is_a_group():
    names = ["a.to_q.weight", "a.to_k.weight", "a.norm.weight", "b.conv.weight"]
    grouping = Grouping.by_filters({"attention": ["to_q.", "to_k."], "a": ["a."]}, names)
    assert members(grouping, names) == {"attention": names[:2], "a": names[2:3], "rest": names[3:]}
    assert Grouping.by_filters({"a": ["a."], "b": ["b."]}, names).names == ("a", "b")


def test_a_filter_that_leads_nowhere_is_an_error():
    with pytest.raises(ValueError, match=r"`attention` has no tensors: none has '\.attn\.'"):
        Grouping.by_filters({"attention": [".attn."]}, llama(1))
    with pytest.raises(ValueError, match="cannot be called `rest`"):
        Grouping.by_filters({"rest": ["layers"]}, llama(1))


PARTS = st.sampled_from(["a", "layers", "0", "1", "10", "attn", "mlp", "embed", "norm", "head", "weight"])


@given(st.sets(st.lists(PARTS, min_size=1, max_size=5).map(".".join), min_size=1, max_size=25))
def test_settings_give_every_tensor_the_value_of_its_group_whatever_the_names(names):
    for grouping in (Grouping.by_layer(names), Grouping.by_component(names)):
        setting = grouping.setting(list(range(len(grouping.names))))
        assert [setting.at(name, 0.5) for name in names] == [grouping.of(name) for name in names]
        assert {grouping.of(name) for name in names} == set(range(len(grouping.names)))
