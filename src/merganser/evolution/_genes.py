r"""Genes of a recipe: parameters of a merge method, with the values that each may take.

A gene is searched as a coordinate $x \in [0, 1]$:

| parameter | value at $x$ |
| --- | --- |
| number | $(1 - x)\,\text{low} + x\,\text{high}$ |
| whole number | one of low … high, each with an equal share of [0, 1] |
| word, flag | one of its choices, each with an equal share |

Bounds that nobody gives are [0, 1] for `weight`, as in evolutionary model merging; otherwise they go from the
parameter's least value (0, if it has none) to its greatest (twice its default, if it has none; 1, if that is 0).

References:
    Akiba et al., *Evolutionary Optimization of Model Merging Recipes*, 2024, https://arxiv.org/abs/2403.13187.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from merganser.merging import Parameter

Scalar = bool | int | float | str

_WEIGHT_BOUNDS = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Domain:
    """The values a gene may take.

    Attributes:
        low: Least value.
        high: Greatest value.
        is_whole: Whether only whole numbers count.
        choices: The values themselves, where they are no numbers.

    Examples:
        >>> Domain(0.0, 2.0).at(0.25), Domain(1, 3, is_whole=True).at(0.9), Domain(choices=("l1", "none")).at(0.2)
        (0.5, 3, 'l1')
    """

    low: float = 0.0
    high: float = 1.0
    is_whole: bool = False
    choices: tuple[Scalar, ...] = ()

    @classmethod
    def of(cls, parameter: Parameter, bounds: tuple[float, float] | None = None) -> Domain:
        """The values of a method's parameter.

        Args:
            parameter: The parameter.
            bounds: Least and greatest value; None for the default ones.

        Raises:
            ValueError: If the bounds are no interval, leave the parameter's own, or the parameter is no number.
        """
        if parameter.kind in ("word", "flag"):
            if bounds is not None:
                raise ValueError(
                    f"`{parameter.name}` is no number, so it has no bounds: all its values are tried. Leave them out."
                )
            return cls(choices=parameter.choices or (False, True))
        low, high = _default_bounds(parameter) if bounds is None else bounds
        if parameter.kind == "count":
            low, high = math.ceil(low), math.floor(high)
        least = -math.inf if parameter.low is None else parameter.low
        most = math.inf if parameter.high is None else parameter.high
        if not least <= low < high <= most or math.inf in (-low, high):
            raise ValueError(
                f"The bounds of `{parameter.name}` must be finite and ascend within [{least:g}, {most:g}], but are "
                f"[{low:g}, {high:g}]."
            )
        return cls(float(low), float(high), is_whole=parameter.kind == "count")

    def at(self, x: float) -> Scalar:
        """The value at a coordinate in [0, 1]."""
        if self.choices:
            return self.choices[min(int(x * len(self.choices)), len(self.choices) - 1)]
        if self.is_whole:
            first, last = int(self.low), int(self.high)
            return min(first + int(x * (last - first + 1)), last)
        return min(max((1.0 - x) * self.low + x * self.high, self.low), self.high)

    def axis(self, steps: int) -> Float[np.ndarray, " values"]:
        """Coordinates of `steps` even values, both bounds among them; of all values, if there are not so many."""
        count = len(self.choices)
        if not count and self.is_whole:
            count = int(self.high - self.low) + 1
        if count and (self.choices or count <= steps):
            return (np.arange(count) + 0.5) / count
        return np.linspace(0.0, 1.0, steps)


@dataclass(frozen=True, slots=True)
class Gene:
    """One coordinate of a recipe.

    Attributes:
        parameter: The parameter it sets.
        group: Number of the group of tensors that it sets it for.
        model: Place among the models beside the base; None for all of them.
        domain: The values it may take.
    """

    parameter: str
    group: int
    model: int | None
    domain: Domain


def _default_bounds(parameter: Parameter) -> tuple[float, float]:
    if parameter.name == "weight":
        return _WEIGHT_BOUNDS
    default = 0.0 if parameter.is_required else abs(float(parameter.default))
    low = 0.0 if parameter.low is None else parameter.low
    return low, (2.0 * default or 1.0) if parameter.high is None else parameter.high
