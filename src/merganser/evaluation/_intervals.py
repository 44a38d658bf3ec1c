r"""How sure a mean score is, and whether one model is better than another.

| question | answer | here |
| --- | --- | --- |
| where does an accuracy lie? | Wilson's score interval | [`mean_interval`][], binary scores |
| where does a mean score lie? | percentile bootstrap over samples | [`mean_interval`][], other scores |
| is A better than B on the same samples? | percentile bootstrap of the paired difference | [`difference_interval`][] |

All at 95 %. The bootstrap draws 2,000 resamples from a generator with a fixed key: the same scores give the same
interval.

References:
    Wilson, *Probable Inference, the Law of Succession, and Statistical Inference*, JASA 1927.
    Efron, Tibshirani, *An Introduction to the Bootstrap*, 1993.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

_Z = 1.959963984540054
_RESAMPLES = 2_000


class Interval(NamedTuple):
    """A mean with its 95 % interval.

    Attributes:
        value: The mean, or the difference of two.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


def mean_interval(scores: Float[np.ndarray, " samples"]) -> Interval:
    """Mean of the scores and where it lies with 95 % confidence.

    Raises:
        ValueError: If there are no scores.

    Examples:
        >>> [round(x, 3) for x in mean_interval(np.array([1.0] * 8 + [0.0] * 2))]
        [0.8, 0.49, 0.943]
    """
    n = len(scores)
    if n == 0:
        raise ValueError("An interval needs at least one score, but there are none.")
    mean = float(np.mean(scores))
    if not np.isin(scores, (0.0, 1.0)).all():
        return Interval(mean, *_bootstrap(scores))
    shrink = 1.0 / (1.0 + _Z**2 / n)
    centre = (mean + _Z**2 / (2 * n)) * shrink
    half = _Z * math.sqrt(mean * (1 - mean) / n + _Z**2 / (4 * n**2)) * shrink
    # at 0 and 1 the interval ends at the mean, which rounding may miss
    return Interval(mean, max(0.0, min(mean, centre - half)), min(1.0, max(mean, centre + half)))


def difference_interval(a: Float[np.ndarray, " samples"], b: Float[np.ndarray, " samples"]) -> Interval:
    """Mean of `a - b` over the same samples, with its interval.

    Raises:
        ValueError: If they are not scores on the same number of samples.
    """
    if a.shape != b.shape or not len(a):
        raise ValueError(
            f"A paired difference needs scores on the same samples, but there are {len(a)} and {len(b)}."
        )
    return Interval(float(np.mean(a - b)), *_bootstrap(a - b))


def _bootstrap(values: Float[np.ndarray, " samples"]) -> tuple[float, float]:
    generator = np.random.Generator(np.random.Philox(key=len(values)))
    means = np.empty(_RESAMPLES)
    for i in range(_RESAMPLES):
        means[i] = values[generator.integers(0, len(values), len(values))].mean()
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
