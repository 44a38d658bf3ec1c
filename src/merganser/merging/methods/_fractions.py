r"""Weights as they are meant: 0.3 is three tenths, and a third of a sum is the sum divided by three.

Models in bfloat16 lie on a coarse grid. Their sums with small whole numbers are exact in float32, and very often fall
just between two numbers of the grid, or cancel. Weights that are rounded first, such as 0.3 or 1/3, push such a sum to
one side at random: rounding would follow the noise, and an election of signs find a majority where there is none. So
weights are written as $w_i = n_i / q$ with small whole $n_i$ where there are such numbers; products and sums then take
the $n_i$, and the result is divided once by $q$.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from jaxtyping import Float

if TYPE_CHECKING:
    from torch import Tensor

_DENOMINATOR = 1000
_GREATEST = 1024
_ROUNDING = 4e-15


def common_factor(weights: Sequence[float]) -> tuple[float, tuple[float, ...]]:
    """A factor and relative weights whose product the weights are.

    Relative weights are 1 where all weights are the same simple number, small whole numbers where there are such, and
    else the weights themselves.

    Examples:
        >>> common_factor([0.25, 0.25])
        (0.25, (1.0, 1.0))
        >>> common_factor([0.3, 0.6, -0.5])
        (0.1, (3.0, 6.0, -5.0))
        >>> common_factor([2.1, 2.1])
        (0.1, (21.0, 21.0))
        >>> common_factor([0.123456, 1.0])
        (1.0, (0.123456, 1.0))
    """
    return _common_factor(tuple(weights))


def scale_(values: Float[Tensor, " elements"], factor: float) -> Float[Tensor, " elements"]:
    """Multiply in place; a factor of 1/q divides by q, which is exact more often."""
    if factor == 1.0:
        return values
    divisor = divisor_of(factor)
    return values.div_(divisor) if divisor else values.mul_(factor)


def divisor_of(factor: float) -> int:
    """The whole number q for which a factor is 1/q; 0 if there is none."""
    inverse = round(1 / factor) if abs(factor) > 1 / _DENOMINATOR**2 else 0
    return inverse if inverse and 1 / inverse == factor else 0


@lru_cache(maxsize=256)
def _common_factor(weights: tuple[float, ...]) -> tuple[float, tuple[float, ...]]:
    first = weights[0]
    as_one = (first, (1.0,) * len(weights)) if first > 0 and len(set(weights)) == 1 else None
    if as_one is not None and 1e-6 < first <= 1 and 1 / round(1 / first) == first:
        return as_one
    if not all(map(math.isfinite, weights)):
        return 1.0, weights
    slack = _ROUNDING * max(map(abs, weights))
    near = [Fraction(weight).limit_denominator(_DENOMINATOR) for weight in weights]
    q = math.lcm(*(fraction.denominator for fraction in near))
    whole = tuple(float(fraction * q) for fraction in near)
    is_exact = all(abs(n / q - weight) <= slack for n, weight in zip(whole, weights, strict=True))
    is_binary = q & (q - 1) == 0  # then so are the weights
    if not is_exact or is_binary or max(map(abs, whole)) > _GREATEST:
        return as_one or (1.0, weights)
    return 1 / q, whole
