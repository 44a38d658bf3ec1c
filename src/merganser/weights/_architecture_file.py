"""A few lines of YAML for architectures whose names do not speak for themselves.

    architecture:
      blocks: ["enc.{}", "dec.{}"]        # `{}` stands for a block's number
      embeddings: ["symbols.table"]
      head: ["answer.*"]                  # `*` stands for anything within one component
      tied: {answer.weight: symbols.table}
      vocabulary_axis: {symbols.table: 1} # null: it has none

Every key may be left out; what is given counts before what is read off the checkpoint.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merganser._errors import ConfigError
from merganser._text_file import read_text
from merganser.weights._checkpoint import Checkpoint
from merganser.weights._order import flat_order

_TOP = "architecture"
_FIELDS = {
    "blocks": tuple[str, ...],
    "embeddings": tuple[str, ...],
    "head": tuple[str, ...],
    "tied": dict[str, str],
    "vocabulary_axis": dict[str, int | None],
}
_WILDCARDS = {"{}": "([0-9]+)", "*": "[^.]*"}


@dataclass(frozen=True, slots=True)
class ArchitectureDescription:
    """What a user says of an architecture; patterns of names, with None for what is to be read off.

    Args:
        blocks: Patterns of block names, one for each stream, with one ``{}`` for the number.
        embeddings: Patterns of tensors.
        head: Patterns of tensors.
        tied: Names that stand for another tensor, and that tensor's name.
        vocabulary_axis: Patterns of tensors, and the axis that counts tokens (None: there is none).
        source: Where it was read from, for messages.
    """

    blocks: tuple[str, ...] | None = None
    embeddings: tuple[str, ...] | None = None
    head: tuple[str, ...] | None = None
    tied: Mapping[str, str] | None = None
    vocabulary_axis: Mapping[str, int | None] | None = None
    source: str = "the description"

    def streams_of(self, checkpoint: Checkpoint) -> tuple[tuple[str, tuple[str, ...]], ...] | None:
        """Each pattern with the blocks it fits, in order; None if no patterns are given."""
        if self.blocks is None:
            return None
        return tuple((pattern, self._blocks(pattern, checkpoint)) for pattern in self.blocks)

    def tensors_of(self, key: str, checkpoint: Checkpoint) -> tuple[str, ...] | None:
        """Tensors that the patterns under ``embeddings`` or ``head`` fit; None if none are given."""
        patterns: tuple[str, ...] | None = getattr(self, key)
        if patterns is None:
            return None
        return flat_order(name for pattern in patterns for name in self._fitting(key, pattern, checkpoint))

    def axes_of(self, checkpoint: Checkpoint) -> dict[str, int | None]:
        """The vocabulary's axis in each tensor that is spoken of."""
        axes: dict[str, int | None] = {}
        for pattern, axis in (self.vocabulary_axis or {}).items():
            for name in self._fitting("vocabulary_axis", pattern, checkpoint):
                dimensions = len(checkpoint.spec(name).shape)
                if axis is not None and not 0 <= axis < dimensions:
                    raise ConfigError(
                        f"{self.source}: `vocabulary_axis` of {name!r} must be from 0 to {dimensions - 1}, since the "
                        f"tensor has the shape {checkpoint.spec(name).shape}, but is {axis}."
                    )
                axes[name] = axis
        return axes

    def tied_of(self, checkpoint: Checkpoint) -> dict[str, str] | None:
        """The tied names, each with a tensor that the checkpoint has; None if none are given."""
        for kept in (self.tied or {}).values():
            if kept not in checkpoint:
                raise ConfigError(self._absence("tied", kept, checkpoint))
        return None if self.tied is None else dict(self.tied)

    def _blocks(self, pattern: str, checkpoint: Checkpoint) -> tuple[str, ...]:
        if pattern.count("{}") != 1:
            raise ConfigError(
                f"{self.source}: a pattern in `blocks` needs one {{}} for the block's number, but is {pattern!r}. "
                f"Write for example {'model.layers.{}'!r}."
            )
        expression = re.compile(rf"({_expression(pattern)})(\..*)?")
        found = {m[1]: int(m[2]) for m in map(expression.fullmatch, checkpoint) if m is not None}
        if not found:
            raise ConfigError(self._absence("blocks", pattern, checkpoint))
        return tuple(sorted(found, key=lambda block: found[block]))

    def _fitting(self, key: str, pattern: str, checkpoint: Checkpoint) -> Iterator[str]:
        expression = re.compile(_expression(pattern))
        found = [name for name in checkpoint if expression.fullmatch(name)]
        if not found:
            raise ConfigError(self._absence(key, pattern, checkpoint))
        return iter(found)

    def _absence(self, key: str, pattern: str, checkpoint: Checkpoint) -> str:
        similar = difflib.get_close_matches(pattern, list(checkpoint), n=1)
        hint = f"Did you mean {similar[0]!r}?" if similar else "Look at the names with `list(checkpoint)`."
        return f"{self.source}: `{key}` names {pattern!r}, but {checkpoint.source} has no such tensor. {hint}"


def read_architecture(path: str | Path) -> ArchitectureDescription:
    """Read a description from YAML.

    Args:
        path: A file with the one key ``architecture``.

    Raises:
        ConfigError: If it cannot be read, is no YAML, holds an unknown key (the nearest right one is named) or a
            value of the wrong kind.
    """
    import yaml

    try:
        data = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    return _parsed(data, str(path))


def _parsed(data: Any, source: str) -> ArchitectureDescription:
    from pydantic import ConfigDict, ValidationError, create_model

    strict = ConfigDict(extra="forbid")
    fields: dict[str, Any] = {key: (form | None, None) for key, form in _FIELDS.items()}
    section = create_model("architecture", __config__=strict, **fields)
    file = create_model("file", __config__=strict, architecture=(section, ...))
    try:
        found: Any = file.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{source}: {_explain(e)}" for e in error.errors())) from error
    return ArchitectureDescription(**dict(found.architecture), source=source)


def _explain(error: Any) -> str:
    where = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(error["loc"][-1]), [*_FIELDS, _TOP], n=1, cutoff=0.5)
        hint = f"Did you mean `{near[0]}`?" if near else f"Known keys under `{_TOP}`: {', '.join(_FIELDS)}."
        return f"unknown key `{where}`. {hint}"
    if not error["loc"] or error["type"] == "missing":
        return f"expected the key `{_TOP}`, but found {error['input']!r}."
    return f"`{where}`: {error['msg'][0].lower()}{error['msg'][1:]}, but found {error['input']!r}."


def _expression(pattern: str) -> str:
    pieces = re.split(r"(\{\}|\*)", pattern)
    return "".join(_WILDCARDS.get(piece, re.escape(piece)) for piece in pieces)
