"""What each of mergekit's methods takes: for those who read its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from merganser.merging.methods._method import MergeMethod, Parameter, parameters_of


@dataclass(frozen=True, slots=True)
class Signature:
    """What a method takes.

    Args:
        shared: Parameters with one value for a tensor, by name.
        per_model: Parameters with one value for each model beside the base, by name.
        base: Whether a base is needed or possible; as an "input" it is one more model, with parameters like the others.
        models: Least and most models beside the base, or beside none if the base is an input.
    """

    shared: Mapping[str, Parameter]
    per_model: Mapping[str, Parameter]
    base: Literal["required", "optional", "input"]
    models: tuple[int, int | None]

    @classmethod
    def of(cls, method: type[MergeMethod]) -> Signature:
        """The signature of a method that is written as a class."""
        known = parameters_of(method)
        base = method.rule.base
        return cls(
            MappingProxyType({p.name: p for p in known if p.kind != "numbers"}),
            MappingProxyType({p.name: p for p in known if p.kind == "numbers"}),
            "input" if base == "refused" else base,
            method.rule.models,
        )
