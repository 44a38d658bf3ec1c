"""What a checkpoint's own names, shapes and configuration say of its architecture.

| asked | read off |
| --- | --- |
| streams of blocks | the numbered layers of the flat order |
| embeddings, head | the layers of that kind |
| tied names | tensors that share memory or a note of it; a language model's missing head |
| vocabulary | rows of the token embedding, checked against ``vocab_size`` of the configuration |
| vocabulary axis of a tensor | the axis of that length: of embeddings, heads, and biases outside the blocks |

There are no templates: a new family needs no new code, as long as its names speak. For those whose names do not,
a few lines of YAML say it (`read_architecture`), and what they say counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType

from merganser._errors import CheckpointError
from merganser.weights._architecture_file import ArchitectureDescription
from merganser.weights._checkpoint import Checkpoint
from merganser.weights._order import embeds_tokens
from merganser.weights._spec import TensorSpec
from merganser.weights._tied import implied_head, text_config

_NOT_TOKENS = re.compile(r".*(pos|wpe|type|segment|patch|norm|ln|time|cls).*", re.IGNORECASE)
_NORM = re.compile(r".*(norm|ln).*", re.IGNORECASE)
_LANGUAGE_HEAD = re.compile(r"(.*\.)?(lm_head|embed_out|unembed(ding)?)\.[^.]+")


@dataclass(frozen=True, slots=True)
class Stream:
    """A stack of numbered blocks.

    Args:
        pattern: Name of a block with ``{}`` for its number, such as ``"model.layers.{}"``.
        blocks: Names of its blocks, in order.
    """

    pattern: str
    blocks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Architecture:
    """The parts of a model, by name.

    Args:
        streams: Stacks of numbered blocks, in flat order: one for most language models.
        embeddings: Tensors before the blocks: of tokens, positions, patches.
        head: Tensors after the blocks that make the output; empty where the head is tied.
        tied: Names that stand for another tensor, and that tensor's name.
        vocabulary: Number of rows of the token embedding; None without one.
        axes: The vocabulary's axis in each tensor that has one.

    Examples:
        >>> import numpy as np
        >>> names = ["embed_tokens.weight", "layers.0.up.weight", "layers.1.up.weight", "lm_head.weight"]
        >>> model = Checkpoint.from_tensors({name: np.ones((9, 4), "float32") for name in names})
        >>> found = Architecture.of(model)
        >>> found.streams
        (Stream(pattern='layers.{}', blocks=('layers.0', 'layers.1')),)
        >>> found.vocabulary, found.vocabulary_axis("lm_head.weight"), found.vocabulary_axis("layers.0.up.weight")
        (9, 0, None)
    """

    streams: tuple[Stream, ...]
    embeddings: tuple[str, ...]
    head: tuple[str, ...]
    tied: Mapping[str, str]
    vocabulary: int | None
    axes: Mapping[str, int]

    @classmethod
    def of(cls, checkpoint: Checkpoint, description: ArchitectureDescription | None = None) -> Architecture:
        """Read the architecture off a checkpoint; no tensor is read.

        Args:
            checkpoint: The model.
            description: What its names do not say; counts before what they say.

        Raises:
            CheckpointError: If the configuration's ``vocab_size`` contradicts the token embedding.
            ConfigError: If the description names what the checkpoint lacks.
        """
        description = description or ArchitectureDescription()
        streams = description.streams_of(checkpoint)
        found = streams_of(checkpoint) if streams is None else tuple(Stream(*stream) for stream in streams)
        parts = {key: description.tensors_of(key, checkpoint) for key in ("embeddings", "head")}
        embeddings, head = (_of_kind(checkpoint, k) if names is None else names for k, names in parts.items())
        said = description.axes_of(checkpoint)
        vocabulary = _vocabulary(checkpoint, embeddings, head, said)
        axes = _axes(checkpoint, embeddings, head, vocabulary) | said
        known = {name: axis for name, axis in axes.items() if axis is not None}
        tied = description.tied_of(checkpoint)
        tied = _tied(checkpoint, embeddings, head, known) if tied is None else tied
        return cls(found, embeddings, head, MappingProxyType(tied), vocabulary, MappingProxyType(known))

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of all blocks, stream after stream."""
        return tuple(block for stream in self.streams for block in stream.blocks)

    def vocabulary_axis(self, name: str) -> int | None:
        """The axis of a tensor that counts tokens; None if it has none. A tied name stands for its tensor."""
        return self.axes.get(self.tied.get(name, name))


def vocabulary_hint(name: str, shape: tuple[int, ...], other: tuple[int, ...]) -> str:
    """A sentence for messages where two shapes of a tensor differ in the number of tokens; else nothing.

    Examples:
        >>> vocabulary_hint("lm_head.weight", (32000, 64), (32003, 64))
        ' The vocabularies differ: 32000 against 32003 rows.'
    """
    about_tokens = embeds_tokens(name) or _LANGUAGE_HEAD.fullmatch(name)
    if not about_tokens or not shape or shape[1:] != other[1:] or shape == other:
        return ""
    return f" The vocabularies differ: {shape[0]} against {other[0]} rows."


def tied_to(name: str, checkpoint: Checkpoint) -> str | None:
    """The tensor that a name stands for in a checkpoint, by its notes or its configuration; None if it has none."""
    tables = (table for table in checkpoint if embeds_tokens(table))
    implied = next((table for table in tables if implied_head(table, checkpoint.config) == name), None)
    return checkpoint.tied.get(name, implied)


def _of_kind(checkpoint: Checkpoint, kind: str) -> tuple[str, ...]:
    return tuple(name for layer in checkpoint.layers if layer.kind == kind for name in layer.tensors)


def streams_of(checkpoint: Checkpoint) -> tuple[Stream, ...]:
    """The stacks of numbered blocks, in flat order, as far as names tell."""
    blocks = [layer.name for layer in checkpoint.layers if layer.kind == "block"]
    groups = groupby(blocks, key=lambda block: block.rpartition(".")[0])
    return tuple(Stream(f"{stack}.{{}}" if stack else "{}", tuple(members)) for stack, members in groups)


def _vocabulary(
    checkpoint: Checkpoint,
    embeddings: tuple[str, ...],
    head: tuple[str, ...],
    said: Mapping[str, int | None],
) -> int | None:
    """Number of tokens: as described, else by the token embedding, else where head and configuration agree."""
    described = [checkpoint.spec(name).shape[axis] for name, axis in said.items() if axis is not None]
    if described:
        return described[0]
    size = text_config(checkpoint.config, "vocab_size")
    tables = _token_tables(checkpoint, embeddings, head, size)
    rows = [checkpoint.spec(name).shape[0] for name in tables if name not in said]
    if not rows:
        return size if any(size in checkpoint.spec(name).shape for name in head) else None
    if isinstance(size, int) and size not in rows:
        raise CheckpointError(
            f"{checkpoint.source}: the configuration says `vocab_size` {size}, but {tables[0]!r} has {rows[0]} rows. "
            "Correct config.json, or describe the architecture with `vocabulary_axis`."
        )
    return size if isinstance(size, int) else rows[0]


def _token_tables(
    checkpoint: Checkpoint, embeddings: tuple[str, ...], head: tuple[str, ...], size: object
) -> list[str]:
    """The embeddings of tokens: by name, else those as long as the vocabulary, else the only one."""
    tables = [name for name in embeddings if _may_hold_tokens(checkpoint.spec(name))]
    if named := [name for name in tables if embeds_tokens(name)]:
        return named
    outputs = {checkpoint.spec(name).shape[0] for name in head if len(checkpoint.spec(name).shape) == 2}
    expected = {size} if isinstance(size, int) else outputs
    agreeing = [name for name in tables if checkpoint.spec(name).shape[0] in expected]
    return agreeing or (tables if len(tables) == 1 else [])


def _may_hold_tokens(spec: TensorSpec) -> bool:
    return (
        len(spec.shape) == 2
        and spec.is_floating
        and not any(map(_NOT_TOKENS.fullmatch, spec.name.split(".")))
    )


def _axes(
    checkpoint: Checkpoint, embeddings: tuple[str, ...], head: tuple[str, ...], vocabulary: int | None
) -> dict[str, int | None]:
    tables = [name for name in embeddings if _may_hold_tokens(checkpoint.spec(name))]
    inside = {name for layer in checkpoint.layers if layer.kind == "block" for name in layer.tensors}
    biases = [name for name in checkpoint if name not in inside and name.rpartition(".")[2].endswith("bias")]
    asked = (name for name in (*tables, *head, *biases) if not any(map(_NORM.fullmatch, name.split("."))))
    shapes = {name: checkpoint.spec(name).shape for name in asked}
    return {name: shape.index(vocabulary) for name, shape in shapes.items() if vocabulary in shape}


def _tied(
    checkpoint: Checkpoint, embeddings: tuple[str, ...], head: tuple[str, ...], axes: Mapping[str, int]
) -> dict[str, str]:
    """The ties the checkpoint notes, and that of a head which it leaves out."""
    tied = dict(checkpoint.tied)
    tables = [name for name in embeddings if name in axes]
    has_head = any(name in axes and len(checkpoint.spec(name).shape) > 1 for name in head)
    if tables and not has_head:
        missing = implied_head(tables[0], checkpoint.config)
        if missing is not None and missing not in checkpoint:
            tied.setdefault(missing, tables[0])
    return tied
