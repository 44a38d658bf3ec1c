"""Which tensor of the base each tensor of a PEFT adapter changes, read off the names.

| adapter's tensor, after ``base_model.model.`` | base's tensor | what happens |
| --- | --- | --- |
| ``M.lora_A.weight``, ``M.lora_B.weight`` | ``M.weight`` | their product is added |
| ``M.lora_embedding_A``, ``M.lora_embedding_B`` | ``M.weight`` | the product, transposed, is added |
| ``M.lora_magnitude_vector`` | ``M.weight`` | rows get these norms (DoRA) |
| ``M.lora_B.bias`` | ``M.bias`` | it is added |
| any other name: a bias, a module to save, ``M.base_layer.weight`` | the same name | it takes its place |

Replacing comes first: PEFT saves the embedding it adapts (``base_layer``) beside the factors.

The same module has different prefixes in different places: ``model.`` is missing in one file and doubled in
another. So if the base lacks the name itself, the one tensor counts whose name is a whole ending of it, or has it
as a whole ending. More than one, or none, is an error.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from merganser._errors import CheckpointError
from merganser.weights._architecture import tied_to
from merganser.weights._checkpoint import Checkpoint

_PREFIX = "base_model.model."
_PART = re.compile(
    r"(?P<module>.+)\.(?:(?P<part>lora_(?:embedding_)?[AB]|lora_magnitude_vector)(?:\.default)?(?:\.weight)?"
    r"|lora_B(?:\.default)?\.(?P<bias>bias))"
)
_WRAPPERS = re.compile(r"\.(base_layer|modules_to_save(\.default)?)(?=\.)")


@dataclass(frozen=True, slots=True)
class Change:
    """What an adapter does to one tensor of the base, as names of the adapter's own tensors.

    Args:
        module: Path of the module, as the adapter has it.
        factors: A and B, if the module has them.
        embedding: Whether the factors are those of an embedding.
        magnitude: The norms of the rows, if they are given.
        added: A vector that is added, scaled as the product, instead of the product.
        replacement: The tensor that takes the place of the base's, before anything is added.
    """

    module: str
    factors: tuple[str, str] | None = None
    embedding: bool = False
    magnitude: str | None = None
    added: str | None = None
    replacement: str | None = None


class _Wanted(NamedTuple):
    """A tensor of the adapter, the name it asks for in the base, and what it does there."""

    key: str
    name: str
    change: Change


def read_changes(adapter: Checkpoint, base: Checkpoint) -> dict[str, Change]:
    """What the adapter does, by the name of the base's tensor.

    Raises:
        CheckpointError: If a tensor of the adapter belongs to none of the base or to several, is of an unknown
            kind, or lacks its other half.
    """
    changes: dict[str, Change] = {}
    finder = _Finder(base)
    for key, name, change in _wanted(adapter):
        target = finder.find(name, key, adapter.source)
        joined = _joined(changes.get(target), change)
        if joined is None:
            raise CheckpointError(
                f"{adapter.source} changes {target!r} of {base.source} twice, the second time by {key!r}. "
                "Names of the adapter and the base do not belong together."
            )
        changes[target] = joined
    return changes


def _joined(first: Change | None, second: Change) -> Change | None:
    """Both changes: a product on what takes the base's place. None if they exclude each other."""
    if first is None:
        return second
    if first.factors is None and second.factors is not None:
        return replace(second, replacement=first.replacement)
    return None


def _wanted(adapter: Checkpoint) -> Iterator[_Wanted]:
    modules: dict[str, dict[str, str]] = {}
    for key in (*adapter, *adapter.tied):
        held = adapter.tied.get(key, key)
        name = _WRAPPERS.sub("", key.removeprefix(_PREFIX))
        match = _PART.fullmatch(name)
        if match is not None:
            parts, part = modules.setdefault(match["module"], {}), match["part"] or match["bias"]
            if part in parts:
                raise CheckpointError(
                    f"{adapter.source} has {part} of {match['module']!r} twice: {key!r} is one."
                )
            parts[part] = held
        elif "lora_" in name or "trainable_tokens" in name:
            raise CheckpointError(f"{adapter.source}: {key!r} is a part of an adapter of an unknown kind.")
        else:
            yield _Wanted(key, name, Change(name.rpartition(".")[0], replacement=held))
    for module, parts in modules.items():
        yield from _of_module(adapter.source, module, parts)


def _of_module(source: str, module: str, parts: Mapping[str, str]) -> Iterator[_Wanted]:
    embedding = "lora_embedding_A" in parts or "lora_embedding_B" in parts
    a, b = ("lora_embedding_A", "lora_embedding_B") if embedding else ("lora_A", "lora_B")
    missing = [name for name in (a, b) if name not in parts]
    if missing:
        raise CheckpointError(f"{source} lacks {missing[0]} of {module!r}. The adapter was not saved whole.")
    factors = (parts[a], parts[b])
    change = Change(module, factors, embedding, magnitude=parts.get("lora_magnitude_vector"))
    yield _Wanted(parts[a], f"{module}.weight", change)
    if "bias" in parts:
        yield _Wanted(parts["bias"], f"{module}.bias", Change(module, factors, added=parts["bias"]))


class _Finder:
    """Looks tensors of a base up by names whose beginning may differ."""

    def __init__(self, base: Checkpoint) -> None:
        self._base = base
        self._by_ending: Mapping[str, list[str]] | None = None

    def find(self, wanted: str, key: str, source: str) -> str:
        """The one tensor of the base that `wanted` stands for."""
        if wanted in self._base:
            return wanted
        shorter = [ending for ending in _endings(wanted) if ending in self._base]
        found = [*shorter, *self._longer(wanted)]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(sorted(found)[:4])
            raise CheckpointError(
                f"{source}: {key!r} could change several tensors of {self._base.source}: {listed}. "
                "The adapter belongs to another base, or to a part of this one."
            )
        raise CheckpointError(self._absence(wanted, key, source))

    def _longer(self, wanted: str) -> list[str]:
        if self._by_ending is None:
            by_ending: dict[str, list[str]] = {}
            for name in self._base:
                for ending in _endings(name):
                    by_ending.setdefault(ending, []).append(name)
            self._by_ending = by_ending
        return self._by_ending.get(wanted, [])

    def _absence(self, wanted: str, key: str, source: str) -> str:
        message = f"{source}: {key!r} should change {wanted!r}, but {self._base.source} has no such tensor."
        tied = tied_to(wanted, self._base)
        if tied is not None:
            return f"{message} It is tied to {tied!r} there; with the adapter the two would differ."
        similar = difflib.get_close_matches(wanted, list(self._base), n=3)
        hint = f" Close to it are: {', '.join(similar)}." if similar else ""
        return f"{message}{hint} Was the adapter trained on another base?"


def _endings(name: str) -> Iterable[str]:
    """What is left of a name without its first components, at least two of it."""
    components = name.split(".")
    return (".".join(components[i:]) for i in range(1, len(components) - 1))
