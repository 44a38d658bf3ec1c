"""Models of many families, merged and cut by rule: transformers loads them, and they are what they should be.

Every family is a tiny random model and two fine-tunes of it, as `save_pretrained` writes them. What a model should be
is told by transformers' own modules: parameters averaged in memory, blocks moved from one stack to another by hand.
"""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from operator import eq
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from merganser import CheckpointError, ConfigError

SMALL: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "attn_implementation": "eager",
}
ENCODER = {
    key: SMALL[key] for key in SMALL if key not in ("num_key_value_heads", "bos_token_id", "eos_token_id")
}

PICTURE = 3
"""The token that stands where a picture is to be."""

IMAGE = ENCODER | {"image_size": 8, "patch_size": 4}


@dataclass(frozen=True)
class Family:
    """A family of models.

    Args:
        kind: The class.
        config: Makes the configuration of a small one.
        stacks: Where its blocks are in memory; of two stacks each by what `modules` calls it.
        attention: What names of tensors of its attention have in common.
    """

    kind: Any
    config: Callable[[], Any]
    stacks: dict[str, str]
    attention: str = "self_attn"


def causal(name, *, stack="model.layers", attention="self_attn", **settings):
    """A family of causal language models."""

    def config():
        return getattr(transformers, f"{name}Config")(**SMALL | settings)

    suffix = "LMHeadModel" if name == "GPT2" else "ForCausalLM"
    kind = getattr(transformers, f"{name.removesuffix('Text')}{suffix}")
    return Family(kind, config, {"": stack}, attention)


CAUSAL = {
    "llama": causal("Llama"),
    "mistral": causal("Mistral", sliding_window=5),
    "qwen2": causal("Qwen2", use_sliding_window=True, sliding_window=5, max_window_layers=2),
    "qwen3": causal("Qwen3", head_dim=4, tie_word_embeddings=True),
    "gemma3": causal("Gemma3Text", head_dim=4, sliding_window=5, sliding_window_pattern=3),
    "phi": causal("Phi"),
    "phi3": causal("Phi3", sliding_window=5),
    "gpt2": causal("GPT2", stack="transformer.h", attention=".attn."),
    "mixtral": causal("Mixtral", num_local_experts=3, num_experts_per_tok=2),
    "qwen3_moe": causal(
        "Qwen3Moe",
        head_dim=4,
        num_experts=3,
        num_experts_per_tok=2,
        moe_intermediate_size=8,
        mlp_only_layers=[1],
    ),
}
ENCODERS = {
    "bert": Family(
        transformers.BertForMaskedLM,
        lambda: transformers.BertConfig(**ENCODER),
        {"": "bert.encoder.layer"},
        ".attention.",
    ),
    "vit": Family(
        transformers.ViTForImageClassification,
        lambda: transformers.ViTConfig(**IMAGE),
        {"": "vit.layers"},
        ".attention.",
    ),
}
HALVES = {
    "t5": Family(
        transformers.T5ForConditionalGeneration,
        lambda: transformers.T5Config(
            vocab_size=99,
            d_model=16,
            d_ff=24,
            d_kv=4,
            num_layers=4,
            num_decoder_layers=3,
            num_heads=4,
            decoder_start_token_id=0,
        ),
        {"encoder": "encoder.block", "decoder": "decoder.block"},
        "Attention",
    ),
    "whisper": Family(
        transformers.WhisperForConditionalGeneration,
        lambda: transformers.WhisperConfig(
            vocab_size=99,
            d_model=16,
            encoder_layers=4,
            decoder_layers=3,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=24,
            decoder_ffn_dim=24,
            num_mel_bins=8,
            max_source_positions=16,
            max_target_positions=32,
            **{key: SMALL[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")},
            decoder_start_token_id=1,
            suppress_tokens=None,
            begin_suppress_tokens=None,
            attn_implementation="eager",
        ),
        {"encoder": "model.encoder.layers", "decoder": "model.decoder.layers"},
        "attn",
    ),
}
SEEING = {
    "clip": Family(
        transformers.CLIPModel,
        lambda: transformers.CLIPConfig(vision_config=IMAGE, text_config=ENCODER, projection_dim=8),
        {"vision_model": "vision_model.encoder.layers", "text_model": "text_model.encoder.layers"},
        "self_attn",
    ),
    "gemma3_vision": Family(
        transformers.Gemma3ForConditionalGeneration,
        lambda: transformers.Gemma3Config(
            vision_config=IMAGE,
            text_config=CAUSAL["gemma3"].config().to_dict(),
            mm_tokens_per_image=1,
            image_token_index=PICTURE,
            tie_word_embeddings=True,
        ),
        {
            "vision_tower": "model.vision_tower.encoder.layers",
            "language_model": "model.language_model.layers",
        },
        "self_attn",
    ),
}
ONE_STACK = CAUSAL | ENCODERS
FAMILIES = ONE_STACK | HALVES | SEEING


class Models:
    """Folders of a base and its fine-tunes, family by family, made when they are asked for."""

    def __init__(self, folder):
        self._folder = folder

    def __call__(self, family):
        """Places of the base and of two fine-tunes."""
        places = [self._folder / family / name for name in ("base", "first", "second")]
        if not places[0].exists():
            torch.manual_seed(7)
            model = FAMILIES[family].kind(FAMILIES[family].config())
            for place, spread in zip(places, (0.1, 0.02, 0.02), strict=True):
                tuned = copy.deepcopy(model)
                disturb(tuned, spread)
                model = tuned if place is places[0] else model
                tuned.save_pretrained(place)
        return [str(place) for place in places]


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    return Models(tmp_path_factory.mktemp("families"))


@torch.no_grad()
def disturb(model, spread):
    """Move all parameters, those too that begin as zeros or ones."""
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * spread)


def loaded(kind, folder):
    """A model from its folder, in which nothing is missing or left over."""
    model, report = kind.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    assert not any(report.values()), report
    return model.eval()


@cache
def original(kind, folder):
    """One of the models that are merged; not to be changed."""
    return loaded(kind, folder)


def inputs_of(model):
    """What a model can be called with: words after a picture's, a picture, or sounds."""
    generator = torch.Generator().manual_seed(3)
    words = torch.randint(4, 99, (1, 12), generator=generator)
    words[0, 0] = PICTURE
    wanted: dict[str, Any] = {
        "pixel_values": {},
        "input_features": {"input_features": torch.randn(1, 8, 32, generator=generator)},
        "input_ids": {"input_ids": words, "attention_mask": torch.ones_like(words)},
    }[model.main_input_name]
    if model.main_input_name == "pixel_values" or hasattr(model.config, "vision_config"):
        wanted["pixel_values"] = torch.randn(1, 3, 8, 8, generator=generator)
    return wanted | ({"decoder_input_ids": words[:, :5]} if model.config.is_encoder_decoder else {})


@torch.no_grad()
def logits(model):
    output = model(**inputs_of(model), **({"use_cache": False} if model.can_generate() else {}))
    found = output.logits_per_image if "logits_per_image" in output else output.logits
    assert found.isfinite().all()
    return found


def check_speaks(model):
    """A language model can go on with a text, with a cache."""
    asked = inputs_of(model)
    asked.pop("decoder_input_ids", None)
    said = model.generate(**asked, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    assert said.shape[1] == (1 if model.config.is_encoder_decoder else 12) + 4


@torch.no_grad()
def average(models, weights):
    """A model whose parameters are the weighted means of theirs."""
    result = copy.deepcopy(models[0])
    for name, parameter in result.named_parameters():
        values = [model.get_parameter(name).double() for model in models]
        parameter.copy_(sum(w * v for w, v in zip(weights, values, strict=True)))
    return result


def weighted(folders, *values, name="weight"):
    return [
        {"model": folder, "parameters": {name: value}} for folder, value in zip(folders, values, strict=True)
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_linear_merge_is_the_average_on_disk_and_in_memory(family, models, merge_by):
    kind, (_, *tuned) = FAMILIES[family].kind, models(family)
    out = merge_by({"merge_method": "linear", "models": weighted(tuned, 0.3, 0.7)})
    found = load_file(out / "model.safetensors")
    first, second = (load_file(f"{folder}/model.safetensors") for folder in tuned)
    assert set(found) == set(first)
    for name, tensor in found.items():
        expected = 0.3 * first[name].double() + 0.7 * second[name].double()
        torch.testing.assert_close(tensor, expected.float(), rtol=1e-6, atol=1e-8)
    merged = loaded(kind, out)
    by_hand = average([original(kind, folder) for folder in tuned], [0.3, 0.7])
    torch.testing.assert_close(logits(merged), logits(by_hand), rtol=1e-4, atol=1e-5)
    if family in CAUSAL or family == "t5":
        check_speaks(merged)


@pytest.mark.parametrize("family", FAMILIES)
def test_ties_moves_the_base_towards_the_fine_tunes(family, models, merge_by):
    kind, (base, *tuned) = FAMILIES[family].kind, models(family)
    entries = weighted(tuned, 1.0, 1.0)
    out = merge_by(
        {"merge_method": "ties", "base_model": base, "models": entries, "parameters": {"density": 0.4}}
    )
    merged, before = loaded(kind, out), original(kind, base)
    changed = [p.ne(before.get_parameter(name)).float().mean() for name, p in merged.named_parameters()]
    assert max(changed) > 0.3
    assert not logits(merged).equal(logits(before))


@pytest.mark.parametrize("family", FAMILIES)
def test_slerp_with_gradients_goes_from_one_model_to_the_other(family, models, merge_by):
    kind, attention, (base, first, _) = FAMILIES[family].kind, FAMILIES[family].attention, models(family)
    t = [{"filter": attention, "value": [0.0, 0.5, 1.0]}, {"value": 0.0}]
    config = {"merge_method": "slerp", "base_model": base, "models": [{"model": base}, {"model": first}]}
    merged = loaded(kind, merge_by(config | {"parameters": {"t": t}}))
    start, end = original(kind, base), original(kind, first)
    logits(merged)
    for path in FAMILIES[family].stacks.values():
        blocks = list(zip(*(model.get_submodule(path) for model in (merged, start, end)), strict=True))
        for i, (found, base_block, other) in enumerate(blocks):
            for name, tensor in found.named_parameters():
                is_others = attention in f".{name}" and i == len(blocks) - 1
                if is_others or attention not in f".{name}" or i == 0:
                    torch.testing.assert_close(
                        tensor, (other if is_others else base_block).get_parameter(name)
                    )
                else:
                    assert not tensor.equal(base_block.get_parameter(name))
                    assert not tensor.equal(other.get_parameter(name))


STACKED = {
    "deeper": [(1, 0, 3), (0, 1, 4)],
    "shorter, of two in turns": [(0, 0, 1), (1, 1, 2), (0, 3, 4)],
}
"""Slices: which fine-tune, first block, one past the last."""


def slices_of(tuned, stacked):
    return [
        {"sources": [{"model": tuned[model], "layer_range": [begin, end]}]} for model, begin, end in stacked
    ]


def origins_of(stacked):
    return [(model, block) for model, begin, end in stacked for block in range(begin, end)]


def layer_types(holder):
    return getattr(holder.config, "layer_types", None)


def moved(sources, stacks):
    """The first model with blocks of these models, and what goes with them, put there by hand.

    Args:
        sources: The models.
        stacks: For each stack its place, and its slices.
    """
    result = copy.deepcopy(sources[0])
    for name, parameter in result.named_parameters():
        nearness = {path: [*map(eq, path.split("."), name.split("."))] for path in stacks}
        home = max(stacks, key=nearness.__getitem__)
        is_after = AFTER.search(name) and not BEFORE.search(name)
        source = sources[stacks[home][-1 if is_after else 0][0]]
        if not name.startswith(f"{home}."):
            parameter.data = source.get_parameter(name).data
    for path, slices in stacks.items():
        origins = origins_of(slices)
        blocks = [copy.deepcopy(sources[model].get_submodule(f"{path}.{i}")) for model, i in origins]
        home, _, name = path.rpartition(".")
        holder = result.get_submodule(home)
        setattr(holder, name, torch.nn.ModuleList(blocks))
        if types := layer_types(holder):
            holder.config.layer_types = [types[i] for _, i in origins]
        holder.config.num_hidden_layers = len(blocks)
    return result


AFTER = re.compile(r"norm|ln_f|lm_head|cls|classifier|vision_tower.head")
BEFORE = re.compile(r"embeddings|pre_|projector")
"""Names outside the blocks of what stands after them, unless they are of what stands before."""


def check_moved(merged, sources, stacks):
    """Every block is what its model has there, and all together say what they say when moved by hand."""
    by_hand = moved(sources, stacks)
    for path, slices in stacks.items():
        home = path.rpartition(".")[0]
        assert layer_types(merged.get_submodule(home)) == layer_types(by_hand.get_submodule(home))
        for i, (model, block) in enumerate(origins_of(slices)):
            found = merged.get_submodule(f"{path}.{i}").state_dict()
            expected = sources[model].get_submodule(f"{path}.{block}").state_dict()
            assert found.keys() == expected.keys()
            assert all(found[name].equal(expected[name]) for name in found)
    torch.testing.assert_close(logits(merged), logits(by_hand), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stacked", STACKED.values(), ids=STACKED)
@pytest.mark.parametrize("family", ONE_STACK)
def test_blocks_stay_what_they_were_where_they_come_to_stand(family, stacked, models, merge_by):
    kind, (_, *tuned) = FAMILIES[family].kind, models(family)
    merged = loaded(kind, merge_by({"merge_method": "passthrough", "slices": slices_of(tuned, stacked)}))
    assert merged.config.num_hidden_layers == len(origins_of(stacked))
    check_moved(merged, [original(kind, folder) for folder in tuned], {FAMILIES[family].stacks[""]: stacked})
    if family in CAUSAL:
        check_speaks(merged)


BOTH_STACKED = {
    "deeper, with a shorter decoder": (STACKED["deeper"], [(0, 0, 1), (1, 2, 3)]),
    "shorter, with a deeper decoder": (STACKED["shorter, of two in turns"], [(1, 0, 2), (0, 1, 3)]),
    "the decoder of another": ([(0, 0, 4)], [(1, 0, 3)]),
}
"""Slices of the encoder, and of the decoder."""


@pytest.mark.parametrize("stacked", BOTH_STACKED.values(), ids=BOTH_STACKED)
@pytest.mark.parametrize("family", HALVES)
def test_encoders_and_decoders_are_cut_apart(family, stacked, models, merge_by):
    kind, (_, *tuned) = FAMILIES[family].kind, models(family)
    modules = {
        name: {"slices": slices_of(tuned, slices)}
        for name, slices in zip(("encoder", "decoder"), stacked, strict=True)
    }
    merged = loaded(kind, merge_by({"merge_method": "passthrough", "modules": modules}))
    stacks = dict(zip(FAMILIES[family].stacks.values(), stacked, strict=True))
    check_moved(merged, [original(kind, folder) for folder in tuned], stacks)
    if family == "t5" and len(merged.decoder.block) <= len(merged.encoder.block):
        check_speaks(merged)  # transformers makes the decoder's cache as long as the encoder


@pytest.mark.parametrize("family", SEEING)
def test_models_that_see_are_cut_too(models, merge_by, family):
    """The vision model gets shorter, and the language model deeper."""
    kind, stacks, (_, *tuned) = FAMILIES[family].kind, FAMILIES[family].stacks, models(family)
    slices = [(0, 0, 1), (1, 1, 3)], [(0, 0, 3), (1, 1, 4)]
    modules = {name: {"slices": slices_of(tuned, cut)} for name, cut in zip(stacks, slices, strict=True)}
    merged = loaded(kind, merge_by({"merge_method": "passthrough", "modules": modules}))
    sources = [original(kind, folder) for folder in tuned]
    check_moved(merged, sources, dict(zip(stacks.values(), slices, strict=True)))


def test_a_stack_of_t5_must_begin_with_the_block_that_measures_distances(models, merge_by):
    _, *tuned = models("t5")
    modules = {
        "encoder": {"slices": slices_of(tuned, [(0, 1, 4)])},
        "decoder": {"slices": slices_of(tuned, [(0, 0, 3)])},
    }
    with pytest.raises(ConfigError, match="family whose first block differs"):
        merge_by({"merge_method": "passthrough", "modules": modules})


@pytest.mark.parametrize("family", HALVES)
def test_a_model_of_two_stacks_says_which_one_is_to_be_cut(family, models, merge_by):
    _, *tuned = models(family)
    with pytest.raises(ConfigError, match="Name each in `modules`"):
        merge_by({"merge_method": "passthrough", "slices": slices_of(tuned, [(0, 0, 2)])})


@pytest.fixture
def mixed(models, tmp_path):
    """Places of a fine-tune whose head is tied, and of one with a head of its own."""

    def mixed(family):
        _, first, second = models(family)
        kind = FAMILIES[family].kind
        tied = loaded(kind, first)
        if not tied.config.tie_word_embeddings:
            tied.config.tie_word_embeddings = True
            tied.tie_weights()
        config = kind.config_class.from_pretrained(second, tie_word_embeddings=False)
        apart = kind(config)
        apart.load_state_dict(loaded(kind, second).state_dict())
        disturb(apart.get_output_embeddings(), 0.1)
        for model, name in ((tied, "tied"), (apart, "apart")):
            model.save_pretrained(tmp_path / name)
        return str(tmp_path / "tied"), str(tmp_path / "apart")

    return mixed


def head_of(model):
    return model.get_output_embeddings().weight


@pytest.mark.parametrize("order", [1, -1], ids=["tied first", "tied last"])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3", "gpt2"])
def test_a_tied_head_and_one_of_its_own_become_one_of_its_own(family, order, mixed, merge_by):
    kind, folders = FAMILIES[family].kind, mixed(family)[::order]
    merged = loaded(kind, merge_by({"merge_method": "linear", "models": weighted(folders, 0.5, 0.5)}))
    assert not merged.config.tie_word_embeddings
    heads = [head_of(loaded(kind, folder)) for folder in folders]
    torch.testing.assert_close(head_of(merged), (heads[0] + heads[1]) / 2)
    logits(merged)


@pytest.mark.parametrize("order", [1, -1], ids=["tied first", "tied last"])
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_stack_of_two_has_the_head_of_the_last(family, order, mixed, merge_by):
    kind, folders = FAMILIES[family].kind, mixed(family)[::order]
    slices = slices_of(folders, [(0, 0, 3), (1, 1, 4)])
    merged = loaded(kind, merge_by({"merge_method": "passthrough", "slices": slices}))
    first, last = (loaded(kind, folder) for folder in folders)
    assert head_of(merged).equal(head_of(last))
    assert merged.get_input_embeddings().weight.equal(first.get_input_embeddings().weight)
    logits(merged)


def test_a_dense_block_is_not_merged_with_one_of_experts(models, merge_by):
    base, first, _ = models("qwen3_moe")
    sources = [{"model": base, "layer_range": [0, 2]}, {"model": first, "layer_range": [1, 3]}]
    entries = [{"sources": [each | {"parameters": {"weight": 0.5}} for each in sources]}]
    with pytest.raises(CheckpointError, match="has no counterpart in block 1"):
        merge_by({"merge_method": "linear", "slices": entries})


BUFFERS = {
    "llama": {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.ones(2) for i in range(4)},
    "bert": {"bert.embeddings.position_ids": torch.arange(64)[None]},
    "gpt2": {f"transformer.h.{i}.attn.bias": torch.ones(1, 1, 64, 64, dtype=torch.bool) for i in range(4)},
}
"""What files of older versions of transformers hold beside the parameters: it is computed anew."""


@pytest.fixture
def older(models, tmp_path):
    """Places of a fine-tune, and of one in a file of an older version."""

    def older(family):
        _, first, second = models(family)
        shutil.copytree(second, tmp_path / "older")
        tensors = load_file(f"{second}/model.safetensors") | BUFFERS[family]
        save_file(tensors, tmp_path / "older" / "model.safetensors", metadata={"format": "pt"})
        return first, str(tmp_path / "older")

    return older


@pytest.mark.parametrize("order", [1, -1], ids=["older last", "older first"])
@pytest.mark.parametrize("family", BUFFERS)
def test_buffers_that_only_one_model_has_are_left_out(family, order, older, merge_by):
    kind, folders = FAMILIES[family].kind, older(family)[::order]
    out = merge_by({"merge_method": "linear", "models": weighted(folders, 0.5, 0.5)})
    assert not BUFFERS[family].keys() & load_file(out / "model.safetensors").keys()
    logits(loaded(kind, out))


@pytest.mark.parametrize("family", BUFFERS)
def test_stacks_are_made_of_older_files_too(family, older, merge_by):
    kind, folders = FAMILIES[family].kind, older(family)
    out = merge_by({"merge_method": "passthrough", "slices": slices_of(folders, STACKED["deeper"])})
    logits(loaded(kind, out))
