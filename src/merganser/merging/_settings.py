"""How a parameter of a method varies over a model: by the names of tensors, and with depth.

| written | means |
| --- | --- |
| ``0.5`` | the same everywhere |
| ``(0.0, 0.5, 1.0)`` | a *gradient*: from first to last block, linear between the values |
| several [`Case`][]s | the first whose filter is part of the tensor's name |

Depth runs from 0, the first block of a slice, to 1, its last. Words and truth values do not blend: a
gradient of them is a staircase.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Scalar: TypeAlias = "bool | int | float | str"


@dataclass(frozen=True, slots=True)
class Case:
    """A value, and where it holds.

    Args:
        value: One value, or a gradient.
        filter: Part of a tensor's name; None for all tensors.

    Examples:
        >>> Case((0.0, 1.0)).at(0.25), Case((0.0, 1.0, 0.0)).at(0.75), Case(("a", "b")).at(0.5)
        (0.25, 0.5, 'a')
    """

    value: Scalar | tuple[Scalar, ...]
    filter: str | None = None

    def __post_init__(self) -> None:
        if self.value == ():
            raise ValueError("A gradient needs at least one value, but has none.")

    def at(self, depth: float) -> Scalar:
        """The value at a depth in [0, 1]."""
        if not isinstance(self.value, tuple):
            return self.value
        place = depth * (len(self.value) - 1)
        below = min(int(place), len(self.value) - 1)
        low, high = self.value[below], self.value[min(below + 1, len(self.value) - 1)]
        if isinstance(low, bool | str) or isinstance(high, bool | str):
            return low
        share = place - below
        return low if share == 0.0 else (1.0 - share) * low + share * high


@dataclass(frozen=True, slots=True)
class Setting:
    """A parameter over the whole model.

    Args:
        cases: Values and where they hold; the first that fits counts.

    Examples:
        >>> t = Setting((Case((0.0, 1.0), "self_attn"), Case(0.5)))
        >>> t.at("model.layers.3.self_attn.q_proj.weight", 1.0), t.at("model.norm.weight", 1.0)
        (1.0, 0.5)
    """

    cases: tuple[Case, ...]

    def __post_init__(self) -> None:
        if not self.cases:
            raise ValueError("A setting needs at least one case, but has none.")

    @classmethod
    def of(cls, value: Scalar) -> Setting:
        """The same value everywhere."""
        return cls((Case(value),))

    @classmethod
    def from_json(cls, data: Any) -> Setting:
        """Read the plain form.

        Raises:
            ValueError: If it is none.
        """
        if not isinstance(data, list):
            return cls.of(_scalar(data))
        return cls(tuple(Case(_value(case["value"]), _filter(case.get("filter"))) for case in data))

    def to_json(self) -> Any:
        """Plain form: a scalar where one value holds everywhere, else a list of cases."""
        first = self.cases[0]
        if len(self.cases) == 1 and first.filter is None and not isinstance(first.value, tuple):
            return first.value
        return [
            {"value": list(case.value) if isinstance(case.value, tuple) else case.value}
            | ({} if case.filter is None else {"filter": case.filter})
            for case in self.cases
        ]

    def at(self, tensor: str, depth: float) -> Scalar | None:
        """The value for a tensor; None if no case fits."""
        for case in self.cases:
            if case.filter is None or case.filter in tensor:
                return case.at(depth)
        return None

    @property
    def values(self) -> tuple[Scalar, ...]:
        """All values that it may take, but for those between two values of a gradient."""
        return tuple(
            value
            for case in self.cases
            for value in (case.value if isinstance(case.value, tuple) else (case.value,))
        )


Settings: TypeAlias = Mapping[str, Setting]
"""Settings by the names of parameters."""


def first_of(levels: Iterable[Settings], parameter: str, tensor: str, depth: float) -> Scalar | None:
    """The value of the first level that has one for a tensor; None if none has."""
    for level in levels:
        if parameter in level:
            value = level[parameter].at(tensor, depth)
            if value is not None:
                return value
    return None


def _value(data: Any) -> Scalar | tuple[Scalar, ...]:
    return tuple(map(_scalar, data)) if isinstance(data, list) else _scalar(data)


def _filter(data: Any) -> str | None:
    if not isinstance(data, str | None):
        raise ValueError(f"a filter is {data!r}.")  # noqa: TRY004
    return data


def _scalar(data: Any) -> Scalar:
    if not isinstance(data, bool | int | float | str):
        raise ValueError(f"a setting is {data!r}.")  # noqa: TRY004
    return data
