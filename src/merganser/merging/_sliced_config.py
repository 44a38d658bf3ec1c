"""The configuration of a model whose stacks of blocks were cut and joined.

A configuration speaks of blocks in four ways. Each must go on saying of every block what its own model said of it:

| how | example | what becomes of it |
| --- | --- | --- |
| number of blocks | `num_hidden_layers`, `encoder_layers` | the new number, under all names that had the old one |
| list with an entry for each block | `layer_types`, `num_key_value_heads` of OpenELM | entries go with their blocks |
| list of the numbers of some blocks | `cross_attention_layers`, `global_attn_indexes` | the blocks' new numbers |
| rule that counts blocks | `sliding_window_pattern`, `first_k_dense_replace` | see `_block_traits` |

A rule that still tells the truth stays; one that does not is turned into a list where the family reads one, or refused.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from merganser.merging._block_traits import LAYER_TYPES, READERS, TRAITS, Block, Trait

Config: TypeAlias = Mapping[str, Any]


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

_PATTERN = "hybrid_override_pattern"
"""A letter for each block."""

_EXCEPTIONS = "per_layer_config"
"""By the numbers of some blocks, what is different there."""

_NUMBERED_RULES = ("mlp_only_layers", "moe_layers")
"""Lists of numbers that are read together with a rule."""

_NOT_OF_BLOCKS = re.compile(r"architectures|.*(token|label).*|image_.*|.*_(limit|sizes)")
"""Lists that are as long as there are blocks by chance only."""

_ATTENTION_PERIODS = ("sliding_window_pattern", "full_attention_interval", "global_attn_every_n_layers")
_PERIODS = (
    "attn_layer_period",
    "expert_layer_period",
    "encoder_sparse_step",
    "cross_attention_frequency",
    "layer_group_size",
)
"""Every so many blocks something differs, and there is no list that could say it."""

_FIXED = (
    "scale_attn_by_inverse_layer_idx",
    "num_mem_blocks",
    "n_layers_per_attn_res_block",
    "hidden_size_per_layer_input",  # of tables outside the blocks, with columns for each
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
    if (
        result.get("is_encoder_decoder")
        and "num_layers" in result
        and result.get("num_decoder_layers") is None
    ):
        result["num_decoder_layers"] = result["num_layers"]  # what T5 means by its absence
    for cut in stacks:
        if not cut.sources:
            raise ValueError(f"Of the stack {cut.stack!r} no block is left. Keep at least one.")
        for path, keys in _homes(result, cut):
            origins = [_origin(source, path, keys, cut) for source in cut.sources]
            _patch(_part(result, path), origins, keys, cut.old_count)
    return result


def _homes(config: Config, cut: StackCut) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The parts of a configuration that say how many blocks a stack has, and the settings that do."""
    words = set(re.split(r"[._]", cut.stack))
    found = {
        path: tuple(key for key in _count_keys(part, words) if part.get(key) == cut.old_count)
        for path, part in _parts_about(config, cut.stack)
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


def _parts_about(config: Config, stack: str) -> list[tuple[tuple[str, ...], Config]]:
    """The parts that may speak of a stack: those of its side, or of its half of a model made of two."""
    first = stack.partition(".")[0]
    parts = [
        (path, part)
        for path, part in _parts(config)
        if path[:1] not in (("encoder",), ("decoder",)) or path[0] == first
    ]
    sides = {path: _side(".".join(path)) for path, _ in parts}
    # a model that does nothing but see has no part for seeing
    wanted = _side(stack) if _side(stack) in sides.values() else "text"
    return [(path, part) for path, part in parts if sides[path] == wanted]


def _side(name: str) -> str:
    words = set(re.split(r"[._]", name))
    return next((side for side, signs in _SIDES.items() if words & set(signs)), "text")


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


def _origin(source: tuple[Config, int], path: tuple[str, ...], keys: tuple[str, ...], cut: StackCut) -> Block:
    config, index = source
    candidates = [_part(config, path), *(part for _, part in _parts_about(config, cut.stack))]
    counted = [part for part in candidates if any(isinstance(part.get(key), int) for key in keys)]
    part = (counted or candidates)[0]
    count = next((part[key] for key in keys if isinstance(part.get(key), int)), cut.old_count)
    if not 0 <= index < count:
        raise ValueError(
            f"Block {index} of the stack {cut.stack!r} was asked for, but it has {count} blocks."
        )
    return Block(part, index, count)


def _patch(part: dict[str, Any], origins: list[Block], keys: tuple[str, ...], old_count: int) -> None:
    before = copy.deepcopy(part)
    speaking = [Block(before, 0, old_count), *origins]
    part.update(dict.fromkeys(keys, len(origins)))
    for key in dict.fromkeys(key for block in speaking for key in block.config):
        if key in _NUMBERS and any(block.config.get(key) is not None for block in speaking):
            part[key] = [
                i for i, origin in enumerate(origins) if origin.index in (origin.config.get(key) or ())
            ]
        elif any(_has_entries(block, key) for block in speaking):
            entries = [_entry(key, origin) for origin in origins]
            part[key] = "".join(entries) if key == _PATTERN else entries
        elif key == _EXCEPTIONS and any(block.config.get(key) for block in speaking):
            part[key] = _exceptions(origins)
    for trait in TRAITS:
        _carry(trait, part, origins)
    _check_order(part, before, origins)


def _has_entries(block: Block, key: str) -> bool:
    """Whether a setting is a list with an entry for each block."""
    value = block.config.get(key)
    if key == _PATTERN:
        return isinstance(value, str)
    if not isinstance(value, list | tuple) or not value or key in _NUMBERED_RULES:
        return False
    is_list = len(value) == block.count and not _NOT_OF_BLOCKS.fullmatch(key)
    return is_list or (key in _AT_LEAST and len(value) > block.count)


def _entry(key: str, origin: Block) -> Any:
    """What a setting of the block's own model says of it: an entry of a list, or what holds for all blocks."""
    value: Any = origin.config.get(key)
    if _has_entries(origin, key) and origin.index < len(value):
        return value[origin.index]
    found = READERS[key](origin) if key in READERS else value
    if found is None or isinstance(found, list | tuple):
        raise ValueError(
            f"Expected `{key}` to say something of each of {origin.count} blocks in every model, but found {value!r} "
            "in one. Correct that model's config.json."
        )
    return found


def _exceptions(origins: list[Block]) -> dict[str, Any]:
    """What is different in some blocks; transformers writes the numbers as `"05"`, and reads them as `"5"` too."""
    found = {}
    for i, origin in enumerate(origins):
        told: Any = origin.config.get(_EXCEPTIONS)
        if told is None:
            raise ValueError(
                f"Expected `{_EXCEPTIONS}` in every model, but one lacks it. Add it to its config.json."
            )
        found |= {str(i): different for number, different in told.items() if int(number) == origin.index}
    return found


def _carry(trait: Trait, part: dict[str, Any], origins: list[Block]) -> None:
    """Make a rule say of every block what it said where the block comes from."""
    wanted = [trait.read(origin) for origin in origins]

    def holds() -> bool:
        return [trait.read(Block(part, i, len(origins))) for i in range(len(origins))] == wanted

    if all(value is None for value in wanted) or holds():
        return
    if trait.write is not None and None not in wanted:
        trait.write(part, wanted)
        if holds():
            return
    raise _cannot(trait.named, origins)


def _check_order(part: Config, before: Config, origins: list[Block]) -> None:
    """Refuse what counts blocks and cannot be changed, unless it comes out the same."""
    has_moved = any(origin.index != i for i, origin in enumerate(origins))
    has_types = part.get("layer_types") is not None or part.get("model_type") in LAYER_TYPES
    for key in (*_PERIODS, *(() if has_types else _ATTENTION_PERIODS)):
        values = [before.get(key), *(origin.config.get(key) for origin in origins)]
        if all(value in (None, 0, 1) for value in values) or isinstance(part.get(key), list):
            continue
        period = values[0]
        keeps_time = not has_moved or (
            isinstance(period, int) and all((o.index - i) % period == 0 for i, o in enumerate(origins))
        )
        if not keeps_time or any(value != period for value in values):
            raise _cannot(f"`{key}`", origins)
    for key in _FIXED if has_moved or len(origins) != origins[0].count else ():
        values = [origin.config.get(key) for origin in origins]
        if any(value is True or value not in (None, 0, 1, [], {}) for value in values):
            raise _cannot(f"`{key}`", origins)


def _cannot(named: str, origins: list[Block]) -> ValueError:
    moved = next((i for i, origin in enumerate(origins) if origin.index != i), None)
    what = (
        f"{len(origins)} of {origins[0].count} blocks are left"
        if moved is None
        else f"block {moved} is to be what block {origins[moved].index} was"
    )
    return ValueError(
        f"{named} in the configuration tells blocks apart by their numbers, and cannot say of the new order what it "
        f"said of the old one: {what}. Choose other ranges, such as those that begin with the first block or are "
        "shifted by whole periods."
    )
