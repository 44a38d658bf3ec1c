"""What configurations say of a block by counting: rules, and where they can be written down for a new order.

| rule | families | written as |
| --- | --- | --- |
| every so-manieth block, or those from a number on, attend otherwise | Gemma, Qwen, Cohere, OLMo, … | `layer_types` |
| every so-manieth block has no rotary positions | Llama 4, SmolLM3 | `no_rope_layers` |
| every so-manieth block is a mixture of experts, but for some | Qwen | `mlp_only_layers` |
| every so-manieth block is a mixture of experts | Llama 4 | `moe_layers` |
| the first so many blocks are dense | DeepSeek, GLM, LFM2 | another number, if all dense ones come first |
| experts between two blocks | Ernie | two other numbers, if they lie together |
| the last so many blocks take keys and values of earlier ones | Gemma 3n | another number, if they come last |
| kinds in turn, or in runs | RecurrentGemma, GPT-Neo | the whole list |
| the first block differs | T5, ModernBERT | – |

A rule is a function that reads it, so whether a changed configuration tells the truth is found by reading it again.
What families mean where their configuration is silent (`LAYER_TYPES`) is checked against the classes of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Block:
    """A block, and the configuration that speaks of it.

    Args:
        config: The configuration, or its part about the block's stack.
        index: Number of the block.
        count: Number of blocks in the stack.
    """

    config: Mapping[str, Any]
    index: int
    count: int


Read: TypeAlias = Callable[[Block], Any]
"""What a block is by a rule; None if its configuration has no such rule."""


@dataclass(frozen=True, slots=True)
class Trait:
    """Something that configurations say of blocks by a rule.

    Args:
        named: The settings that make the rule, as messages call them.
        read: What a block is by the rule.
        write: Make a configuration say it of all blocks, as far as it can; None if it never can.
    """

    named: str
    read: Read
    write: Callable[[dict[str, Any], list[Any]], None] | None = None


def _every(key: str | None, default: int, usual: str, last: str, *, first: bool = False) -> Read:
    """One kind of block, but for every so-manieth: the last of each round, or the first."""

    def read(block: Block) -> str:
        period = (block.config.get(key) if key else None) or default
        return last if (block.index if first else block.index + 1) % period == 0 else usual

    return read


def _windowed(block: Block) -> str:
    has_window = _says(block, "use_sliding_window") and block.config.get("sliding_window", 4096) is not None
    is_late = block.index >= block.config.get("max_window_layers", 28)
    return "sliding_attention" if has_window and is_late else "full_attention"


def _windowed_by_turns(block: Block) -> str:
    has_window = _says(block, "use_sliding_window") and (block.index + 1) % 2
    is_early = block.index < block.config.get("max_window_layers", 28)
    return "sliding_attention" if has_window and is_early else "full_attention"


def _chunked(block: Block) -> str:
    return "chunked_attention" if _rotary(block) else "full_attention"


def _windowed_without_rope(block: Block) -> str:
    has_window = _says(block, "use_sliding_window") and _says(block, "sliding_window")
    return "sliding_attention" if has_window and not _rotary(block) else "full_attention"


_SLIDING = ("sliding_attention", "full_attention")
_LINEAR = ("linear_attention", "full_attention")
LAYER_TYPES: Mapping[str, Read] = {
    "gemma2": _every(None, 2, *_SLIDING),
    "gpt_oss": _every(None, 2, *_SLIDING),
    "gemma3_text": _every("sliding_window_pattern", 6, *_SLIDING),
    "gemma3n_text": _every(None, 5, *_SLIDING),
    "gemma4_text": _every(None, 6, *_SLIDING),
    "cohere2": _every("sliding_window_pattern", 4, *_SLIDING),
    "olmo3": _every(None, 4, *_SLIDING),
    "afmoe": _every("global_attn_every_n_layers", 4, *_SLIDING),
    "modernbert": _every("global_attn_every_n_layers", 3, *_SLIDING, first=True),
    "minimax": _every(None, 2, *reversed(_LINEAR)),
    "qwen3_next": _every("full_attention_interval", 4, *_LINEAR),
    "qwen3_5_text": _every("full_attention_interval", 4, *_LINEAR),
    "qwen2": _windowed,
    "qwen2_vl_text": _windowed,
    "qwen2_5_vl_text": _windowed,
    "qwen3": _windowed,
    "qwen2_moe": _windowed_by_turns,
    "smollm3": _windowed_without_rope,
    "llama4_text": _chunked,
}
"""Families that read `layer_types`, and what they mean where it is not said."""


_LAST_IS_FULL = ("gemma4_text", "gemma4_unified_text", "diffusion_gemma_text", "embedding_gemma2_text")
"""Families that change the last entry of `layer_types`, whatever it says."""


def _says(block: Block, key: str) -> bool:
    return bool(block.config.get(key))


def _listed(block: Block, key: str) -> Any:
    """The entry of a list that is for the block; None if it is too short."""
    entries = block.config[key]
    return entries[block.index] if block.index < len(entries) else None


def _layer_type(block: Block) -> str | None:
    if block.config.get("model_type") in _LAST_IS_FULL and block.index == block.count - 1:
        return "full_attention"
    if _says(block, "layer_types"):
        return _listed(block, "layer_types")
    implied = LAYER_TYPES.get(block.config.get("model_type", ""))
    return None if implied is None else implied(block)


def _rotary(block: Block) -> int | None:
    """1 for a block with rotary positions, 0 for one without: `no_rope_layers` is named for the zeros."""
    if _says(block, "no_rope_layers"):
        return _listed(block, "no_rope_layers")
    is_silent = block.config.get("model_type") in ("llama4_text", "smollm3")
    interval = block.config.get("no_rope_layer_interval") or (4 if is_silent else None)
    return int((block.index + 1) % interval != 0) if interval else None


def _sparse_by_numbers(block: Block) -> bool | None:
    config = block.config
    is_qwen = "mlp_only_layers" in config or "decoder_sparse_step" in config
    if not is_qwen or "encoder_sparse_step" in config:
        return None
    step = config.get("decoder_sparse_step") or 1
    return block.index not in (config.get("mlp_only_layers") or ()) and (block.index + 1) % step == 0


def _write_sparse_by_numbers(config: dict[str, Any], wanted: list[Any]) -> None:
    config["mlp_only_layers"] = [i for i, is_sparse in enumerate(wanted) if not is_sparse]
    config["decoder_sparse_step"] = 1


def _sparse_by_step(block: Block) -> bool | None:
    if block.config.get("moe_layers") is not None:
        return block.index in block.config["moe_layers"]
    step = block.config.get("interleave_moe_layer_step")
    return (block.index + 1) % step == 0 if step else None


def _write_sparse_by_step(config: dict[str, Any], wanted: list[Any]) -> None:
    config["moe_layers"] = [i for i, is_sparse in enumerate(wanted) if is_sparse]


def _sparse_after(key: str) -> Trait:
    """The first so many blocks are dense; with a frequency, of the others all but every so-manieth too."""

    def read(block: Block) -> bool | None:
        first, frequency = block.config.get(key), block.config.get("moe_layer_freq", 1)
        if first is None or _says(block, "mlp_layer_types") or not isinstance(frequency, int):
            return None
        return block.index >= first and block.index % max(frequency, 1) == 0

    def write(config: dict[str, Any], wanted: list[Any]) -> None:
        config[key] = len(list(takewhile(lambda is_sparse: not is_sparse, wanted)))

    return Trait(f"`{key}`", read, write)


def _sparse_between(block: Block) -> bool | None:
    first, last = (block.config.get(f"moe_layer_{end}_index") for end in ("start", "end"))
    if not isinstance(first, int):
        return None
    last = block.count - 1 if last in (-1, None) else last
    return first <= block.index <= last and (block.index + 1) % block.config.get("moe_layer_interval", 1) == 0


def _write_sparse_between(config: dict[str, Any], wanted: list[Any]) -> None:
    sparse = [i for i, is_sparse in enumerate(wanted) if is_sparse]
    first, last = (sparse[0], sparse[-1]) if sparse else (len(wanted), len(wanted))
    config.update(moe_layer_start_index=first, moe_layer_end_index=last)


def _shares_keys(block: Block) -> bool | None:
    shared = block.config.get("num_kv_shared_layers")
    return None if shared is None else block.index >= block.count - shared


def _write_shares_keys(config: dict[str, Any], wanted: list[Any]) -> None:
    config["num_kv_shared_layers"] = len(list(takewhile(bool, reversed(wanted))))


def _by_rounds(block: Block) -> str | None:
    kinds = block.config.get("block_types")
    return kinds[block.index % len(kinds)] if kinds else None


def _by_runs(block: Block) -> str | None:
    runs = block.config.get("attention_types") or ()
    expanded = [kind for kinds, times in runs for kind in kinds * times]
    return expanded[block.index] if len(expanded) == block.count else None


def _is_first(block: Block) -> bool | None:
    families = ("t5", "mt5", "longt5", "switch_transformers", "pop2piano", "modernbert")
    return block.index == 0 if block.config.get("model_type") in families else None


READERS: Mapping[str, Read] = {"layer_types": _layer_type, "no_rope_layers": _rotary}
"""Lists with an entry for each block that configurations may leave to a rule."""

TRAITS = (
    Trait("`no_rope_layers`", _rotary, lambda config, wanted: config.update(no_rope_layers=wanted)),
    Trait("`layer_types`", _layer_type, lambda config, wanted: config.update(layer_types=wanted)),
    Trait("`mlp_only_layers`", _sparse_by_numbers, _write_sparse_by_numbers),
    Trait("`moe_layers`", _sparse_by_step, _write_sparse_by_step),
    Trait("`moe_layer_start_index`", _sparse_between, _write_sparse_between),
    _sparse_after("first_k_dense_replace"),
    _sparse_after("num_dense_layers"),
    Trait("`num_kv_shared_layers`", _shares_keys, _write_shares_keys),
    Trait("`block_types`", _by_rounds, lambda config, wanted: config.update(block_types=wanted)),
    Trait("`attention_types`", _by_runs, lambda config, wanted: config.update(attention_types=[[wanted, 1]])),
    Trait("`model_type`, a family whose first block differs from the others,", _is_first),
)
