"""The configuration of a model whose stacks of blocks were cut and joined.

A configuration speaks of blocks in four ways. Each must go on saying of every block what its own model said of it:

| how | example | what becomes of it |
| --- | --- | --- |
| number of blocks | `num_hidden_layers`, `encoder_layers` | the new number, under all names that the old one had |
| list with an entry for each block | `layer_types`, `intermediate_size` of Gemma 3n | entries go with their blocks |
| list of the numbers of some blocks | `mlp_only_layers`, `cross_attention_layers` | the blocks' new numbers |
| rule that counts blocks | `sliding_window_pattern`, `first_k_dense_replace` | stays if it still tells the truth, else is turned \
into a list where the family reads one, else refused |

Rules are read by functions, so whether a changed configuration tells the truth is found by reading it again. The table
of what a family means where its configuration is silent (`_LAYER_TYPES`) is checked against the classes of transformers.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeAlias

Config: TypeAlias = Mapping[str, Any]
Read: TypeAlias = Callable[[Config, int, int], Any]
"""What a configuration says of block `i` of `n`; None if nothing."""


@dataclass(frozen=True, slots=True)
class StackCut:
    """The blocks of one stack, and where each comes from.

    Args:
        stack: Name of the stack's blocks with ``{}`` for their number, such as ``"model.layers.{}"``.
        sources: For each new block the whole configuration of the model it comes from, and its number there.
        old_count: Number of blocks in the stack of the model whose configuration is changed.
    """

    stack: str
    sources: tuple[tuple[Config, int], ...]
    old_count: int


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a new block comes from: the part of a configuration that speaks of its stack, and its number there."""

    config: Config
    index: int
    count: int


@dataclass(frozen=True, slots=True)
class _Trait:
    """Something that a configuration says of a block by a rule.

    Args:
        keys: The settings that make the rule, for messages.
        read: What a configuration says of a block.
        write: Make a configuration say it of all blocks, as far as it can; None if it never can.
    """

    keys: tuple[str, ...]
    read: Read
    write: Callable[[dict[str, Any], list[Any]], None] | None = None


_COUNTS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "depth")
_ENCODER_COUNTS = ("encoder_layers", "num_encoder_layers", "encoder_num_hidden_layers")
_DECODER_COUNTS = ("decoder_layers", "num_decoder_layers", "decoder_num_hidden_layers")

_SIDES = {
    "vision": ("vision", "visual", "image", "vit"),
    "audio": ("audio", "speech"),
    "qformer": ("qformer",),
    "talker": ("talker",),
}
"""Parts of models that see, hear or speak, by words in the names of their blocks and their configurations."""

_NUMBERS = (
    "attn_layer_indices",
    "cross_attention_layers",
    "full_attn_idxs",
    "fullatt_block_indexes",
    "global_attn_indexes",
    "hybrid_layer_ids",
    "local_layer_ids",
    "rope_scaling_layers",
    "window_block_indexes",
    "window_block_indices",
)
"""Lists of the numbers of some blocks, counted from 0."""

_AT_LEAST = ("layer_types", "layers_block_type", "mlp_layer_types", "no_rope_layers")
"""Lists with an entry for each block, that may be longer than there are blocks."""

_NOT_OF_BLOCKS = re.compile(r"architectures|.*(token|label).*|image_.*|.*_(limit|sizes)")
"""Lists that are as long as there are blocks by chance only."""

_PERIODS = {
    "sliding_window_pattern": "layer_types",
    "full_attention_interval": "layer_types",
    "global_attn_every_n_layers": "layer_types",
    "no_rope_layer_interval": "no_rope_layers",
    "interleave_moe_layer_step": "moe_layers",
    "decoder_sparse_step": "mlp_only_layers",
    "encoder_sparse_step": None,
    "attn_layer_period": None,
    "expert_layer_period": None,
    "cross_attention_frequency": None,
    "layer_group_size": None,
}
"""Every so many blocks something differs; and the list that counts before the rule, if there is one."""

_FIXED = (
    "scale_attn_by_inverse_layer_idx",
    "num_mem_blocks",
    "n_layers_per_attn_res_block",
    "deepstack_visual_indexes",
    "intermediate_layers_indices",
    "out_indices",
    "layer_overrides",
    "linear_attn_config",
    "ple_layer_ids",
    "pruned_heads",
)
"""What holds only as long as all blocks are where they were."""


def sliced_config(config: Config, stacks: Sequence[StackCut]) -> dict[str, Any]:
    """The configuration of a model whose stacks of blocks were cut and joined.

    Args:
        config: The configuration to begin with: what is not about blocks stays.
        stacks: The stacks that were cut.

    Raises:
        ValueError: If it does not say how many blocks a stack has, or says something of them by a rule that cannot be
            made to hold for the new order.

    Examples:
        >>> old = {"num_hidden_layers": 3, "layer_types": ["full", "sliding", "sliding"]}
        >>> sliced_config(old, [StackCut("layers.{}", ((old, 2), (old, 0)), 3)])
        {'num_hidden_layers': 2, 'layer_types': ['sliding', 'full']}
    """
    result = copy.deepcopy(dict(config))
    for cut in stacks:
        if not cut.sources:
            raise ValueError(f"Of the stack {cut.stack!r} no block is left. Keep at least one.")
        for path, keys in _homes(result, cut):
            part = _part(result, path)
            if "num_layers" in keys and result.get("is_encoder_decoder"):
                part.setdefault(
                    "num_decoder_layers", cut.old_count
                )  # of T5; if not said, as many as before it
            origins = [_origin(source, path, keys, cut) for source in cut.sources]
            _patch(part, origins, keys, cut)
    return result


def _homes(config: Config, cut: StackCut) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The parts of a configuration that say how many blocks a stack has, and the settings that do."""
    words = set(re.split(r"[._]", cut.stack))
    found = {
        path: tuple(key for key in _count_keys(part, words) if part.get(key) == cut.old_count)
        for path, part in _parts(config)
        if _side(path) == _side((cut.stack,)) and not ({"encoder", "decoder"} & set(path)) - words
    }
    homes = [(path, keys) for path, keys in found.items() if keys]
    if not homes:
        said = {
            ".".join((*path, key)): part[key]
            for path, part in _parts(config)
            for key in (*_COUNTS, *_ENCODER_COUNTS, *_DECODER_COUNTS)
            if key in part
        }
        raise ValueError(
            f"The stack {cut.stack!r} has {cut.old_count} blocks, but no setting of the configuration says so; it says "
            f"{said or 'nothing of layers'}. Correct config.json, or leave this stack whole."
        )
    return homes


def _parts(config: Config, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Config]]:
    """A configuration, and those of its parts."""
    yield path, config
    for key, part in config.items():
        if isinstance(part, Mapping) and (key.endswith("_config") or key in ("encoder", "decoder")):
            yield from _parts(part, (*path, key))


def _side(names: Iterable[str]) -> str:
    words = re.split(r"[._]", ".".join(names))
    return next((side for side, signs in _SIDES.items() if set(signs) & set(words)), "text")


def _count_keys(part: Config, words: set[str]) -> tuple[str, ...]:
    """The settings that may count the blocks of a stack, by the words of its name."""
    has_encoder = any(key in part for key in _ENCODER_COUNTS) or part.get("is_encoder_decoder", False)
    if "decoder" in words and any(key in part for key in _DECODER_COUNTS):
        return _DECODER_COUNTS if has_encoder else (*_DECODER_COUNTS, *_COUNTS)
    return (*_ENCODER_COUNTS, *_COUNTS)


def _part(config: Any, path: Iterable[str]) -> Any:
    """The part at a path, or what there is of it: a language model has no part for text."""
    for key in path:
        config = config.get(key, config)
    return config


def _origin(
    source: tuple[Config, int], path: tuple[str, ...], keys: tuple[str, ...], cut: StackCut
) -> _Origin:
    part = _part(source[0], path)
    counts = [part[key] for key in keys if isinstance(part.get(key), int)]
    count = counts[0] if counts else cut.old_count
    if not 0 <= source[1] < count:
        raise ValueError(
            f"Block {source[1]} of the stack {cut.stack!r} was asked for, but it has {count} blocks."
        )
    return _Origin(part, source[1], count)


def _patch(part: dict[str, Any], origins: list[_Origin], keys: tuple[str, ...], cut: StackCut) -> None:
    before = copy.deepcopy(part)
    configs = [before, *(origin.config for origin in origins)]
    part.update(dict.fromkeys(keys, len(origins)))
    for key in dict.fromkeys(key for config in configs for key in config):
        if key in _NUMBERS and any(config.get(key) is not None for config in configs):
            part[key] = [
                i for i, origin in enumerate(origins) if origin.index in (origin.config.get(key) or ())
            ]
        elif key == "hybrid_override_pattern" or _is_of_blocks(before, key, cut.old_count):
            part[key] = _joined(key, origins)
    for trait in _TRAITS:
        _carry(trait, part, origins)
    _check_order(part, before, origins)


def _is_of_blocks(config: Config, key: str, count: int) -> bool:
    """Whether a setting is a list with an entry for each block."""
    value = config.get(key)
    if not isinstance(value, list | tuple) or not value or key in ("mlp_only_layers", "moe_layers"):
        return False
    return (key in _AT_LEAST and len(value) >= count) or (
        len(value) == count and not _NOT_OF_BLOCKS.fullmatch(key)
    )


def _joined(key: str, origins: list[_Origin]) -> Any:
    entries = [_entry(key, origin) for origin in origins]
    return "".join(entries) if key == "hybrid_override_pattern" else entries


def _entry(key: str, origin: _Origin) -> Any:
    """What a setting of the block's own model says of it: an entry of a list, or what holds for all blocks."""
    value = origin.config.get(key)
    if isinstance(value, list | tuple | str) and key not in _READERS:
        if len(value) == origin.count:
            return value[origin.index]
    else:
        value = _READERS[key](origin.config, origin.index, origin.count) if key in _READERS else value
        if value is not None:
            return value
    raise ValueError(
        f"Expected `{key}` to say something of each of {origin.count} blocks in every model, but found "
        f"{origin.config.get(key)!r} in one. Add it to that model's config.json."
    )


def _carry(trait: _Trait, part: dict[str, Any], origins: list[_Origin]) -> None:
    """Make a rule say of every block what it said where the block comes from."""
    wanted = [trait.read(origin.config, origin.index, origin.count) for origin in origins]
    n = len(origins)

    def holds() -> bool:
        return [trait.read(part, i, n) for i in range(n)] == wanted

    if all(value is None for value in wanted) or holds():
        return
    if trait.write is not None and None not in wanted:
        trait.write(part, wanted)
        if holds():
            return
    raise _cannot(trait.keys, origins)


def _check_order(part: Config, before: Config, origins: list[_Origin]) -> None:
    """Refuse what counts blocks and cannot be changed, unless it comes out the same."""
    for key, listed in _PERIODS.items():
        periods = {origin.config.get(key) for origin in origins} | {before.get(key)}
        if (
            periods <= {None, 0, 1}
            or part.get(listed or "") is not None
            or part.get("model_type") in _LAYER_TYPES
        ):
            continue
        [period, *others] = periods
        keeps_time = isinstance(period, int) and all(
            (o.index - i) % period == 0 for i, o in enumerate(origins)
        )
        if others or not keeps_time:
            raise _cannot((key,), origins)
    is_whole = all(origin.index == i for i, origin in enumerate(origins)) and len(origins) == origins[0].count
    for key in _FIXED:
        if not is_whole and any(origin.config.get(key) not in (None, 0, 1, [], {}) for origin in origins):
            raise _cannot((key,), origins)


def _cannot(keys: tuple[str, ...], origins: list[_Origin]) -> ValueError:
    named = " and ".join(f"`{key}`" for key in keys)
    moved = next((i for i, origin in enumerate(origins) if origin.index != i), len(origins) - 1)
    return ValueError(
        f"{named} in the configuration tells blocks apart by counting, and cannot say of this order what it said before: "
        f"block {moved} is to be what block {origins[moved].index} was. Choose ranges after which it can: those that begin "
        "with the first block, or are shifted by whole periods."
    )


def _every(key: str | None, default: int, usual: str, last: str, *, first: bool = False) -> Read:
    """One kind of block, but for every so-manieth: the last of each round, or the first."""

    def read(config: Config, i: int, n: int) -> str:  # noqa: ARG001
        period = (config.get(key) if key else None) or default
        return last if (i if first else i + 1) % period == 0 else usual

    return read


def _windowed(config: Config, i: int, n: int) -> str:  # noqa: ARG001
    has_window = config.get("use_sliding_window", False) and config.get("sliding_window", 4096) is not None
    return (
        "sliding_attention" if has_window and i >= config.get("max_window_layers", 28) else "full_attention"
    )


def _windowed_by_turns(config: Config, i: int, n: int) -> str:  # noqa: ARG001
    has_window = config.get("use_sliding_window", False) and i < config.get("max_window_layers", 28)
    return "sliding_attention" if has_window and (i + 1) % 2 else "full_attention"


def _no_rope(config: Config, i: int, n: int) -> int | None:
    """1 for a block with rotary positions, 0 for one without, as these families have it."""
    listed = config.get("no_rope_layers")
    if listed:
        return listed[i] if i < len(listed) else None
    if config.get("model_type") not in ("llama4_text", "smollm3"):
        return None
    return int((i + 1) % (config.get("no_rope_layer_interval") or 4) != 0)


def _chunked(config: Config, i: int, n: int) -> str:
    return "chunked_attention" if _no_rope(config, i, n) else "full_attention"


def _windowed_without_rope(config: Config, i: int, n: int) -> str:
    has_window = config.get("use_sliding_window", False) and config.get("sliding_window") is not None
    return "sliding_attention" if has_window and not _no_rope(config, i, n) else "full_attention"


_SLIDING = ("sliding_attention", "full_attention")
_LINEAR = ("linear_attention", "full_attention")
_LAYER_TYPES: Mapping[str, Read] = {
    "gemma2": _every(None, 2, *_SLIDING),
    "gpt_oss": _every(None, 2, *_SLIDING),
    "gemma3_text": _every("sliding_window_pattern", 6, *_SLIDING),
    "gemma3n_text": _every(None, 5, *_SLIDING),
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


def _layer_type(config: Config, i: int, n: int) -> str | None:
    listed = config.get("layer_types")
    if listed:
        return listed[i] if i < len(listed) else None
    implied = _LAYER_TYPES.get(config.get("model_type", ""))
    return None if implied is None else implied(config, i, n)


def _sparse_by_numbers(config: Config, i: int, n: int) -> bool | None:  # noqa: ARG001
    """Whether a block is a mixture of experts, as Qwen has it."""
    if (
        "mlp_only_layers" not in config
        and "decoder_sparse_step" not in config
        or "encoder_sparse_step" in config
    ):
        return None
    step = config.get("decoder_sparse_step") or 1
    return i not in (config.get("mlp_only_layers") or ()) and (i + 1) % step == 0


def _write_sparse_by_numbers(config: dict[str, Any], wanted: list[Any]) -> None:
    config["mlp_only_layers"] = [i for i, is_sparse in enumerate(wanted) if not is_sparse]
    config["decoder_sparse_step"] = 1


def _sparse_by_step(config: Config, i: int, n: int) -> bool | None:  # noqa: ARG001
    """Whether a block is a mixture of experts, as Llama 4 has it."""
    if config.get("moe_layers") is not None:
        return i in config["moe_layers"]
    step = config.get("interleave_moe_layer_step")
    return None if not step else (i + 1) % step == 0


def _write_sparse_by_step(config: dict[str, Any], wanted: list[Any]) -> None:
    config["moe_layers"] = [i for i, is_sparse in enumerate(wanted) if is_sparse]


def _sparse_after(key: str) -> _Trait:
    """The first so many blocks are dense; with a frequency, of the others only every so-manieth is not."""

    def read(config: Config, i: int, n: int) -> bool | None:  # noqa: ARG001
        first, frequency = config.get(key), config.get("moe_layer_freq", 1)
        if first is None or config.get("mlp_layer_types") is not None or not isinstance(frequency, int):
            return None
        return i >= first and i % max(frequency, 1) == 0

    def write(config: dict[str, Any], wanted: list[Any]) -> None:
        config[key] = len(list(takewhile(lambda is_sparse: not is_sparse, wanted)))

    return _Trait((key,), read, write)


def _sparse_between(config: Config, i: int, n: int) -> bool | None:
    """Whether a block is a mixture of experts, as Ernie has it."""
    first, last = config.get("moe_layer_start_index"), config.get("moe_layer_end_index", -1)
    if not isinstance(first, int) or not isinstance(last, int):
        return None
    return (
        first <= i <= (n - 1 if last == -1 else last) and (i + 1) % config.get("moe_layer_interval", 1) == 0
    )


def _write_sparse_between(config: dict[str, Any], wanted: list[Any]) -> None:
    sparse = [i for i, is_sparse in enumerate(wanted) if is_sparse]
    config.update(moe_layer_start_index=min(sparse, default=0), moe_layer_end_index=max(sparse, default=-2))


def _shares_keys(config: Config, i: int, n: int) -> bool | None:
    """Whether a block takes keys and values of an earlier one, as the last ones of Gemma 3n do."""
    shared = config.get("num_kv_shared_layers")
    return None if shared is None else i >= n - shared


def _write_shares_keys(config: dict[str, Any], wanted: list[Any]) -> None:
    config["num_kv_shared_layers"] = len(list(takewhile(bool, reversed(wanted))))


def _by_rounds(config: Config, i: int, n: int) -> str | None:  # noqa: ARG001
    """The kind of a block, as RecurrentGemma has it: the list begins again when it ends."""
    listed = config.get("block_types")
    return listed[i % len(listed)] if listed else None


def _by_runs(config: Config, i: int, n: int) -> str | None:
    """The attention of a block, as GPT-Neo has it: lists of kinds, each with how often it comes."""
    runs = config.get("attention_types")
    expanded = [kind for kinds, times in runs for kind in kinds * times] if runs else []
    return expanded[i] if len(expanded) == n else None


def _is_first(config: Config, i: int, n: int) -> bool | None:  # noqa: ARG001
    """Whether a block has what only the first has: T5's table of positions; ModernBERT's has one norm less."""
    families = ("t5", "mt5", "longt5", "switch_transformers", "pop2piano", "modernbert")
    return i == 0 if config.get("model_type") in families else None


_READERS: Mapping[str, Read] = {"layer_types": _layer_type, "no_rope_layers": _no_rope}

_TRAITS = (
    _Trait(
        ("no_rope_layers", "no_rope_layer_interval"),
        _no_rope,
        lambda c, wanted: c.update(no_rope_layers=wanted),
    ),
    _Trait(("layer_types",), _layer_type, lambda c, wanted: c.update(layer_types=wanted)),
    _Trait(("mlp_only_layers", "decoder_sparse_step"), _sparse_by_numbers, _write_sparse_by_numbers),
    _Trait(("moe_layers", "interleave_moe_layer_step"), _sparse_by_step, _write_sparse_by_step),
    _Trait(("moe_layer_start_index", "moe_layer_end_index"), _sparse_between, _write_sparse_between),
    _sparse_after("first_k_dense_replace"),
    _sparse_after("num_dense_layers"),
    _Trait(("num_kv_shared_layers",), _shares_keys, _write_shares_keys),
    _Trait(("block_types",), _by_rounds, lambda c, wanted: c.update(block_types=wanted)),
    _Trait(("attention_types",), _by_runs, lambda c, wanted: c.update(attention_types=[[wanted, 1]])),
    _Trait(("model_type",), _is_first),
)
