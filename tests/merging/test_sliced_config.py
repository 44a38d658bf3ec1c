"""Configurations after cutting: every block is what it was, by transformers' own classes."""

import json
import re

import pytest
import torch

from merganser.merging._block_traits import LAYER_TYPES, READERS, Block
from merganser.merging._sliced_config import StackCut, sliced_config

transformers = pytest.importorskip("transformers")

SMALL = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "vocab_size": 50,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8}
IMAGE = {"image_size": 8, "patch_size": 4}


def small(name, **settings):
    """A small configuration of a class of transformers', with the settings it knows."""
    kind = getattr(transformers, name)
    settings_of = {*kind().to_dict(), *kind.attribute_map}
    known = {key: value for key, value in SMALL.items() if key in settings_of}
    return kind(**known | settings)


def gpt(name, layers, **settings):
    return small(name, num_layers=layers, **settings)


CASES = {
    "llama": (lambda: small("LlamaConfig", num_hidden_layers=4), "layers.{}"),
    "mistral": (lambda: small("MistralConfig", num_hidden_layers=4, sliding_window=4), "layers.{}"),
    "phi3": (lambda: small("Phi3Config", num_hidden_layers=4), "layers.{}"),
    "gemma2": (lambda: small("Gemma2Config", num_hidden_layers=4, sliding_window=4), "layers.{}"),
    "gemma3": (
        lambda: small("Gemma3TextConfig", num_hidden_layers=7, sliding_window=4, sliding_window_pattern=3),
        "layers.{}",
    ),
    "cohere2": (lambda: small("Cohere2Config", num_hidden_layers=5, sliding_window=4), "layers.{}"),
    "olmo3": (lambda: small("Olmo3Config", num_hidden_layers=5, sliding_window=4), "layers.{}"),
    "qwen2": (
        lambda: small(
            "Qwen2Config", num_hidden_layers=5, use_sliding_window=True, sliding_window=4, max_window_layers=2
        ),
        "layers.{}",
    ),
    "qwen3": (
        lambda: small(
            "Qwen3Config", num_hidden_layers=5, use_sliding_window=True, sliding_window=4, max_window_layers=2
        ),
        "layers.{}",
    ),
    "qwen3_moe": (
        lambda: small(
            "Qwen3MoeConfig", num_hidden_layers=6, decoder_sparse_step=2, mlp_only_layers=[3], **EXPERTS
        ),
        "layers.{}",
    ),
    "mixtral": (
        lambda: small("MixtralConfig", num_hidden_layers=4, num_local_experts=2, num_experts_per_tok=1),
        "layers.{}",
    ),
    "smollm3": (lambda: small("SmolLM3Config", num_hidden_layers=6, no_rope_layer_interval=3), "layers.{}"),
    "llama4": (
        lambda: small(
            "Llama4TextConfig",
            num_hidden_layers=6,
            interleave_moe_layer_step=2,
            intermediate_size_mlp=24,
            num_local_experts=2,
            attention_chunk_size=8,
        ),
        "layers.{}",
    ),
    "modernbert": (lambda: small("ModernBertConfig", num_hidden_layers=5, local_attention=8), "layers.{}"),
    "gpt2": (lambda: small("GPT2Config", n_layer=4, n_embd=16, n_head=2), "h.{}"),
    "gpt_neo": (
        lambda: gpt(
            "GPTNeoConfig", 4, num_heads=2, attention_types=[[["global", "local"], 2]], window_size=4
        ),
        "h.{}",
    ),
    "bert": (lambda: small("BertConfig", num_hidden_layers=4), "encoder.layer.{}"),
    "vit": (lambda: small("ViTConfig", num_hidden_layers=4, **IMAGE), None),
}


def model_of(config):
    torch.manual_seed(0)
    return transformers.AutoModel.from_config(config).eval()


def stack_of(model):
    """The pattern of the names of a model's blocks."""
    return next(
        re.sub(r"\.\d+$", ".{}", name) for name, _ in model.named_modules() if re.search(r"\.\d+$", name)
    )


def cut_tensors(state, stack, indices):
    """A state dict whose blocks are those of the old one, by number."""
    before = stack.format("@").partition("@")[0]
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(before)}
    for new, old in enumerate(indices):
        mark = f"{stack.format(old)}."
        blocks = {name: tensor for name, tensor in state.items() if name.startswith(mark)}
        kept |= {f"{stack.format(new)}.{name.removeprefix(mark)}": tensor for name, tensor in blocks.items()}
    return kept


def nature(block):
    """All that a block is apart from its weights and its number."""
    return [
        (
            name,
            type(module).__name__,
            sorted((k, repr(v)) for k, v in vars(module).items() if _is_plain(k, v)),
        )
        for name, module in block.named_modules()
    ]


def _is_plain(key, value):
    return key not in ("layer_idx", "layer_id", "index") and isinstance(
        value, int | float | str | bool | None
    )


def inputs_of(model):
    if "pixel_values" in model.main_input_name:
        return {"pixel_values": torch.ones(1, 3, 8, 8)}
    return {"input_ids": torch.arange(3, 15).reshape(1, -1)}


def check(config, stack, indices):
    """Cut a model by hand, load it by the sliced configuration, and compare every block with what it was."""
    old = model_of(config)
    stack = stack or stack_of(old)
    count = sum(
        re.fullmatch(re.escape(stack).replace(r"\{\}", r"\d+"), name) is not None
        for name, _ in old.named_modules()
    )
    said = json.loads(config.to_json_string(use_diff=False))
    cut = StackCut(stack, tuple((said, i) for i in indices), count)
    sliced = type(config).from_dict(sliced_config(said, [cut]))
    new = model_of(sliced)
    new.load_state_dict(cut_tensors(old.state_dict(), stack, indices), strict=True)
    for i, index in enumerate(indices):
        assert nature(new.get_submodule(stack.format(i))) == nature(old.get_submodule(stack.format(index))), (
            i,
            index,
        )
    with torch.no_grad():
        assert new(**inputs_of(new)).last_hidden_state.isfinite().all()
    return sliced


ORDERS = {
    "the first half": [0, 1],
    "one left out": [0, 2, 3],
    "some twice": [0, 1, 2, 1, 2, 3],
    "backwards": [3, 2, 1, 0],
    "the last alone": [3],
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("family", CASES)
def test_every_block_is_what_it_was(family, order):
    make, stack = CASES[family]
    if family == "modernbert" and (order[0] != 0 or 0 in order[1:]):
        with pytest.raises(ValueError, match="whose first block differs"):
            check(make(), stack, order)
        return
    check(make(), stack, order)


@pytest.mark.parametrize("family", LAYER_TYPES)
def test_what_a_family_means_without_saying_so_is_what_transformers_makes_of_it(family):
    if family not in transformers.CONFIG_MAPPING:
        pytest.skip("not in this transformers")
    kind = transformers.CONFIG_MAPPING[family]
    for settings in ({}, *FURTHER.get(family, ())):
        config = kind(num_hidden_layers=9, **settings)
        said = {"model_type": family, **settings}
        assert [READERS["layer_types"](Block(said, i, 9)) for i in range(9)] == list(config.layer_types)


WINDOWED = ({"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 4},)
FURTHER = {
    "gemma3_text": ({"sliding_window_pattern": 4},),
    "cohere2": ({"sliding_window_pattern": 2},),
    "afmoe": ({"global_attn_every_n_layers": 3},),
    "modernbert": ({"global_attn_every_n_layers": 2},),
    "qwen2": WINDOWED,
    "qwen3": WINDOWED,
    "qwen2_moe": WINDOWED,
    "qwen2_vl_text": WINDOWED,
    "qwen2_5_vl_text": WINDOWED,
    "qwen3_next": ({"full_attention_interval": 3},),
    "qwen3_5_text": ({"full_attention_interval": 3},),
    "llama4_text": ({"no_rope_layer_interval": 3},),
    "smollm3": ({"use_sliding_window": True, "sliding_window": 8}, {"no_rope_layers": [1, 0, 1] * 3}),
}


RESTRICTED = {
    "deepseek_v3": (
        lambda: small(
            "DeepseekV3Config",
            num_hidden_layers=4,
            first_k_dense_replace=2,
            n_routed_experts=2,
            num_experts_per_tok=1,
            n_group=1,
            topk_group=1,
            moe_intermediate_size=8,
            kv_lora_rank=8,
            q_lora_rank=8,
            qk_rope_head_dim=4,
            qk_nope_head_dim=4,
            v_head_dim=8,
            head_dim=4,
        ),
        [0, 1, 1, 3, 2],
    ),
    "ernie4_5_moe": (
        lambda: small(
            "Ernie4_5_MoeConfig", num_hidden_layers=4, moe_num_experts=2, moe_k=1, moe_intermediate_size=8
        ),
        [0, 1, 2, 3, 2, 3],
    ),
    "lfm2": (lambda: small("Lfm2Config", num_hidden_layers=4, full_attn_idxs=[1, 3]), [3, 0, 1]),
    "gpt_oss": (
        lambda: small(
            "GptOssConfig", num_hidden_layers=4, num_local_experts=2, num_experts_per_tok=1, sliding_window=4
        ),
        [1, 1, 0, 3],
    ),
    "gemma4": (
        lambda: small(
            "Gemma4TextConfig",
            num_hidden_layers=4,
            layer_types=["sliding_attention", "full_attention"] * 2,
            sliding_window=4,
            global_head_dim=16,
            hidden_size_per_layer_input=0,
        ),
        [1, 0, 1, 2, 3],
    ),
}


@pytest.mark.parametrize("family", RESTRICTED)
def test_every_block_is_what_it_was_where_not_every_order_can_be_said(family):
    make, order = RESTRICTED[family]
    check(make(), "layers.{}", order)


VARIED = (
    "gemma2",
    "gemma3",
    "cohere2",
    "olmo3",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "smollm3",
    "llama4",
    "gpt_neo",
)


@pytest.mark.parametrize("family", VARIED)
def test_the_comparison_of_blocks_would_notice(family):
    make, stack = CASES[family]
    model = model_of(make())
    blocks = dict(model.get_submodule((stack or stack_of(model)).removesuffix(".{}")).named_children())
    assert len({repr(nature(block)) for block in blocks.values()}) > 1


def said(config):
    return json.loads(config.to_json_string(use_diff=False))


def encoder_decoder(name, **settings):
    small_sizes = {"vocab_size": 50, "d_model": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return getattr(transformers, name)(**small_sizes | {"decoder_start_token_id": 1} | settings)


def test_t5s_encoder_and_decoder_are_cut_each_for_itself():
    config = encoder_decoder("T5Config", num_layers=3, num_decoder_layers=3, d_ff=24, num_heads=2, d_kv=8)
    old, whole = model_of(config), said(config)
    cuts = [("encoder.block.{}", [0, 2]), ("decoder.block.{}", [0, 1, 1, 2])]
    state = old.state_dict()
    for stack, indices in cuts:
        state = cut_tensors(state, stack, indices)
    sliced = sliced_config(
        whole, [StackCut(stack, tuple((whole, i) for i in order), 3) for stack, order in cuts]
    )
    assert (sliced["num_layers"], sliced["num_decoder_layers"]) == (2, 4)
    new = model_of(type(config).from_dict(sliced))
    new.load_state_dict(state, strict=True)
    ids = torch.arange(3, 9).reshape(1, -1)
    assert new(input_ids=ids, decoder_input_ids=ids).last_hidden_state.isfinite().all()


def test_an_old_t5_that_does_not_say_how_long_its_decoder_is_keeps_it():
    old = {"model_type": "t5", "is_encoder_decoder": True, "num_layers": 3}
    sliced = sliced_config(old, [StackCut("encoder.block.{}", ((old, 0), (old, 1)), 3)])
    assert (sliced["num_layers"], sliced["num_decoder_layers"]) == (2, 3)
    sliced = sliced_config(old, [StackCut("decoder.block.{}", ((old, 0), (old, 1)), 3)])
    assert (sliced["num_layers"], sliced["num_decoder_layers"]) == (3, 2)


@pytest.mark.parametrize(
    ("stack", "changed"), [("encoder.layers.{}", "encoder_layers"), ("decoder.layers.{}", "decoder_layers")]
)
def test_whispers_halves_are_told_apart_though_they_are_of_one_length(stack, changed):
    config = encoder_decoder(
        "WhisperConfig",
        encoder_layers=3,
        decoder_layers=3,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        num_mel_bins=4,
        max_source_positions=8,
        max_target_positions=16,
    )
    old, whole = model_of(config), said(config)
    sliced = sliced_config(whole, [StackCut(stack, tuple((whole, i) for i in (2, 0)), 3)])
    assert {key: value for key, value in sliced.items() if value != whole[key]}.items() >= {(changed, 2)}
    new = model_of(type(config).from_dict(sliced))
    new.load_state_dict(cut_tensors(old.state_dict(), stack, [2, 0]), strict=True)
    ids = torch.arange(3, 9).reshape(1, -1)
    out = new(input_features=torch.ones(1, 4, 16), decoder_input_ids=ids)
    assert out.last_hidden_state.isfinite().all()


@pytest.mark.parametrize(
    ("stack", "part"),
    [("text_model.encoder.layers.{}", "text_config"), ("vision_model.encoder.layers.{}", "vision_config")],
)
def test_clips_sides_are_told_apart(stack, part):
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 3}
    config = transformers.CLIPConfig(text_config={**sizes, "vocab_size": 50}, vision_config=sizes | IMAGE)
    whole = said(config)
    sliced = sliced_config(whole, [StackCut(stack, ((whole, 2), (whole, 0)), 3)])
    expected = json.loads(json.dumps(whole))
    expected[part]["num_hidden_layers"] = 2
    assert sliced == expected
    new = model_of(transformers.CLIPConfig.from_dict(sliced))
    state = model_of(config).state_dict()
    stack = next(
        s
        for s in (stack, stack.replace("_model.encoder", "_model"))
        if any(n.startswith(s.format(0)) for n in state)
    )
    new.load_state_dict(cut_tensors(state, stack, [2, 0]), strict=True)


def test_a_language_model_may_give_blocks_to_the_text_side_of_one_that_sees():
    text = {"model_type": "gemma3_text", "num_hidden_layers": 3}
    seeing = {
        "model_type": "gemma3",
        "text_config": text | {"num_hidden_layers": 2},
        "vision_config": {"num_hidden_layers": 2},
    }
    alone = text | {"layer_types": ["a", "b", "c"]}
    cut = StackCut("language_model.model.layers.{}", ((alone, 2), (seeing, 0), (alone, 1)), 2)
    sliced = sliced_config(seeing, [cut])
    assert sliced["text_config"]["layer_types"] == ["c", "sliding_attention", "b"]
    assert sliced["text_config"]["num_hidden_layers"] == 3
    assert sliced["vision_config"] == {"num_hidden_layers": 2}
    back = sliced_config(alone, [StackCut("model.layers.{}", ((seeing, 1), (alone, 0)), 3)])
    assert back["layer_types"] == ["sliding_attention", "a"]


def test_the_block_s_own_model_says_what_it_is():
    first = {
        "num_hidden_layers": 2,
        "intermediate_size": [10, 20],
        "mlp_only_layers": [0],
        "decoder_sparse_step": 1,
    }
    second = {"num_hidden_layers": 3, "intermediate_size": 7, "mlp_only_layers": [], "decoder_sparse_step": 3}
    cut = StackCut("model.layers.{}", ((second, 2), (first, 1), (first, 0), (second, 0)), 2)
    assert sliced_config(first, [cut]) == {
        "num_hidden_layers": 4,
        "intermediate_size": [7, 20, 10, 7],
        "mlp_only_layers": [2, 3],
        "decoder_sparse_step": 1,
    }


def test_nothing_is_changed_by_what_is_no_cut():
    for make, stack in CASES.values():
        whole = said(make())
        count = next(whole[key] for key in ("num_hidden_layers", "n_layer", "num_layers") if key in whole)
        cut = StackCut(stack or "layers.{}", tuple((whole, i) for i in range(count)), count)
        again = sliced_config(whole, [cut])
        changed = {key for key in again if again[key] != whole[key]}
        assert changed <= {"attention_types"}, whole["model_type"]


def sliced_by(old, order, **settings):
    old = {"num_hidden_layers": 6, **settings, **old}
    return sliced_config(old, [StackCut("model.layers.{}", tuple((old, i) for i in order), 6)])


@pytest.mark.parametrize(
    ("old", "order", "expected"),
    [
        ({"first_k_dense_replace": 2}, [0, 1, 1, 4, 5], {"first_k_dense_replace": 3}),
        ({"first_k_dense_replace": 2}, [3, 4], {"first_k_dense_replace": 0}),
        ({"num_dense_layers": 1}, [0, 3, 4], {"num_dense_layers": 1}),
        ({"num_kv_shared_layers": 2}, [0, 1, 4, 5, 5], {"num_kv_shared_layers": 3}),
        (
            {"moe_layer_start_index": 1, "moe_layer_end_index": 5},
            [0, *range(6)],
            {"moe_layer_end_index": 6, "moe_layer_start_index": 2},
        ),
        ({"moe_layer_start_index": 1, "moe_layer_end_index": -1}, [0, 4, 5], {"moe_layer_end_index": -1}),
        ({"interleave_moe_layer_step": 2}, [0, 1, 4], {"interleave_moe_layer_step": 2}),
        ({"interleave_moe_layer_step": 2}, [1, 0, 3], {"moe_layers": [0, 2]}),
        ({"block_types": ["r", "r", "a"]}, [2, 0, 5], {"block_types": ["a", "r", "a"]}),
        ({"attn_layer_period": 2, "attn_layer_offset": 1}, [0, 1, 4, 5], {"attn_layer_period": 2}),
        ({"cross_attention_layers": [1, 4]}, [4, 0, 1, 4], {"cross_attention_layers": [0, 2, 3]}),
        ({"full_attn_idxs": [2, 5]}, [5, 0], {"full_attn_idxs": [0]}),
        ({"hybrid_override_pattern": "M-*M-E"}, [2, 5, 0], {"hybrid_override_pattern": "*EM"}),
        ({"layer_types": list("abcdefgh")}, [5, 0], {"layer_types": ["f", "a"]}),
        ({"swiglu_limits": [None, 7.0] * 3}, [0, 1, 1], {"swiglu_limits": [None, 7.0, 7.0]}),
        ({"eos_token_id": [1, 2, 3, 4, 5, 6]}, [0], {"eos_token_id": [1, 2, 3, 4, 5, 6]}),
        ({"sliding_window_pattern": [1, 1, 0, 1, 1, 0]}, [2, 0], {"sliding_window_pattern": [0, 1]}),
        ({"n_layer": 6}, [0, 1], {"n_layer": 2, "num_hidden_layers": 2}),
    ],
)
def test_rules_and_lists_go_with_the_blocks(old, order, expected):
    sliced = sliced_by(old, order)
    assert {key: sliced[key] for key in expected} == expected
    assert sliced["num_hidden_layers"] == len(order)


@pytest.mark.parametrize(
    ("old", "order", "named"),
    [
        ({"first_k_dense_replace": 2}, [3, 0], "first_k_dense_replace"),
        ({"first_k_dense_replace": 1, "moe_layer_freq": 2}, [0, 2, 4], "first_k_dense_replace"),
        ({"num_kv_shared_layers": 2}, [5, 0], "num_kv_shared_layers"),
        ({"moe_layer_start_index": 1, "moe_layer_end_index": 5}, [1, 0, 2], "moe_layer_start_index"),
        ({"attn_layer_period": 3}, [0, 1, 3], "attn_layer_period"),
        ({"sliding_window_pattern": 3}, [1, 2], "sliding_window_pattern"),
        ({"sliding_window_pattern": "LLLG"}, [1, 0], "sliding_window_pattern"),
        ({"encoder_sparse_step": 2}, [1, 0], "encoder_sparse_step"),
        ({"scale_attn_by_inverse_layer_idx": True}, [1, 0], "scale_attn_by_inverse_layer_idx"),
        ({"out_indices": [5]}, [0, 1], "out_indices"),
        ({"hidden_size_per_layer_input": 4}, [0, 1], "hidden_size_per_layer_input"),
        ({"pruned_heads": {"2": [0]}}, [2], "pruned_heads"),
        ({"model_type": "modernbert"}, [1, 2], "model_type"),
        ({"model_type": "gemma4_text"}, [0, 5, 1], "layer_types"),
        ({"model_type": "t5"}, [0, 0], "model_type"),
    ],
)
def test_a_rule_that_cannot_say_the_new_order_is_refused_by_name(old, order, named):
    with pytest.raises(ValueError, match=f"`{named}`.*(is to be what block|blocks are left)"):
        sliced_by(old, order)


def test_a_rule_that_is_not_touched_needs_no_other_form():
    assert sliced_by({"sliding_window_pattern": "LLLG", "out_indices": [5]}, range(6))["out_indices"] == [5]


def test_rules_of_two_models_that_disagree_are_refused():
    first, second = ({"num_hidden_layers": 2, "attn_layer_period": period} for period in (2, 3))
    with pytest.raises(ValueError, match="`attn_layer_period`"):
        sliced_config(first, [StackCut("layers.{}", ((first, 0), (second, 1)), 2)])


def test_what_is_in_the_way_is_said():
    with pytest.raises(ValueError, match="block 1 is to be what block 3 was"):
        sliced_by({"attn_layer_period": 3}, [0, 3])
    with pytest.raises(ValueError, match="2 of 6 blocks are left"):
        sliced_by({"out_indices": [5]}, [0, 1])


def test_exceptions_for_single_blocks_go_with_them():
    old = {"num_hidden_layers": 3, "per_layer_config": {"01": {"head_dim": 4}}}
    cut = StackCut("layers.{}", tuple((old, i) for i in (1, 0, 1)), 3)
    assert sliced_config(old, [cut])["per_layer_config"] == {"0": {"head_dim": 4}, "2": {"head_dim": 4}}
    cut = StackCut("layers.{}", ((old, 1), ({"num_hidden_layers": 1}, 0)), 3)
    with pytest.raises(ValueError, match="Expected `per_layer_config` in every model"):
        sliced_config(old, [cut])


def test_a_list_that_another_model_lacks_is_refused_by_name():
    first, second = {"num_hidden_layers": 2, "layer_types": ["a", "b"]}, {"num_hidden_layers": 2}
    for config in (first, second):
        with pytest.raises(ValueError, match="Expected `layer_types` to say something of each of 2 blocks"):
            sliced_config(config, [StackCut("layers.{}", ((first, 1), (second, 0)), 2)])


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (StackCut("layers.{}", (), 2), "no block is left"),
        (
            StackCut("layers.{}", (({"num_hidden_layers": 2}, 2),), 2),
            "Block 2 of the stack .* it has 2 blocks",
        ),
        (StackCut("layers.{}", (({}, 0),), 3), r"has 3 blocks, but .* it says {'num_hidden_layers': 2}"),
    ],
)
def test_a_cut_that_does_not_fit_says_why(cut, message):
    with pytest.raises(ValueError, match=message):
        sliced_config({"num_hidden_layers": 2}, [cut])


def test_what_was_given_is_not_changed():
    old = {"num_hidden_layers": 2, "text": {"a": [1]}, "layer_types": ["a", "b"]}
    before = json.dumps(old)
    sliced_config(old, [StackCut("layers.{}", ((old, 1),), 2)])["text"]["a"].append(2)
    assert json.dumps(old) == before


def test_an_older_file_without_layer_types_gives_the_same_model():
    config = CASES["gemma3"][0]()
    old = said(config) | {"sliding_window_pattern": 3}
    del old["layer_types"]
    cut = StackCut("layers.{}", tuple((old, i) for i in (2, 0, 5, 3)), 7)
    sliced = type(config).from_dict(sliced_config(old, [cut]))
    assert list(sliced.layer_types) == [config.layer_types[i] for i in (2, 0, 5, 3)]
