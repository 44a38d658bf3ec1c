r"""How sure a mean score is, and whether one model is better than another.

| question | answer | here |
| --- | --- | --- |
| where does an accuracy lie? | Wilson's score interval | [`mean_interval`][], binary scores |
| where does a mean score lie? | percentile bootstrap over samples | [`mean_interval`][], other scores |
| is A better than B on the same samples? | percentile bootstrap of the paired difference | [`difference_interval`][] |

All at 95 %. The bootstrap draws 2,000 resamples from a generator with a fixed key: the same scores give the same
interval.

**Weights.** Of several tasks a weighted mean is $\hat\theta = \sum_t c_t \hat\theta_t$, where $c_t$ is the share of all
weight that task $t$ has. How many samples each task has is no matter of chance, so each gets the interval
$[l_t, u_t]$ that it would have alone, and these are combined by their distances from the means (Zou and Donner, who
write the rule for a sum of two):

$$\hat\theta - \sqrt{\textstyle\sum_t c_t^2 (\hat\theta_t - l_t)^2} \quad \text{to} \quad
\hat\theta + \sqrt{\textstyle\sum_t c_t^2 (u_t - \hat\theta_t)^2}$$

Samples of equal weight count as of one task, so with equal weights this is what it is without any.

References:
    Wilson, *Probable Inference, the Law of Succession, and Statistical Inference*, JASA 1927.
    Efron, Tibshirani, *An Introduction to the Bootstrap*, 1993.
    Zou, Donner, *Construction of confidence limits about effect measures: A general approach*, Statistics in Medicine
    27, 2008.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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


def mean_interval(
    scores: Float[np.ndarray, " samples"], weights: Float[np.ndarray, " samples"] | None = None
) -> Interval:
    """Mean of the scores and where it lies with 95 % confidence.

    Args:
        scores: The scores.
        weights: Weight of each sample, positive; None if all count the same.

    Raises:
        ValueError: If there are no scores.

    Examples:
        >>> [round(x, 3) for x in mean_interval(np.array([1.0] * 8 + [0.0] * 2))]
        [0.8, 0.49, 0.943]
    """
    if not len(scores):
        raise ValueError("An interval needs at least one score, but there are none.")
    return _combined(_plain_interval, scores, weights)


def difference_interval(
    a: Float[np.ndarray, " samples"],
    b: Float[np.ndarray, " samples"],
    weights: Float[np.ndarray, " samples"] | None = None,
) -> Interval:
    """Mean of `a - b` over the same samples, with its interval.

    Args:
        a: Scores of one model.
        b: Scores of the other.
        weights: Weight of each sample, positive; None if all count the same.

    Raises:
        ValueError: If they are not scores on the same number of samples.
    """
    if a.shape != b.shape or not len(a):
        raise ValueError(
            f"A paired difference needs scores on the same samples, but there are {len(a)} and {len(b)}."
        )
    return _combined(lambda values: Interval(float(np.mean(values)), *_bootstrap(values)), a - b, weights)


def _combined(
    interval: Callable[[Float[np.ndarray, " samples"]], Interval],
    values: Float[np.ndarray, " samples"],
    weights: Float[np.ndarray, " samples"] | None,
) -> Interval:
    """The interval of a weighted mean, from those of the samples of each weight."""
    if weights is None or (weights == weights[0]).all():
        return interval(values)
    kinds = np.unique(weights)
    parts = [interval(values[weights == kind]) for kind in kinds]
    shares = [float(weights[weights == kind].sum() / weights.sum()) for kind in kinds]
    pairs = list(zip(shares, parts, strict=True))
    value = sum(share * part.value for share, part in pairs)
    below = math.hypot(*(share * (part.value - part.low) for share, part in pairs))
    above = math.hypot(*(share * (part.high - part.value) for share, part in pairs))
    return Interval(value, value - below, value + above)


def _plain_interval(scores: Float[np.ndarray, " samples"]) -> Interval:
    n, mean = len(scores), float(np.mean(scores))
    if not np.isin(scores, (0.0, 1.0)).all():
        return Interval(mean, *_bootstrap(scores))
    shrink = 1.0 / (1.0 + _Z**2 / n)
    centre = (mean + _Z**2 / (2 * n)) * shrink
    half = _Z * math.sqrt(mean * (1 - mean) / n + _Z**2 / (4 * n**2)) * shrink
    # at 0 and 1 the interval ends at the mean, which rounding may miss
    return Interval(mean, max(0.0, min(mean, centre - half)), min(1.0, max(mean, centre + half)))


def _bootstrap(values: Float[np.ndarray, " samples"]) -> tuple[float, float]:
    generator = np.random.Generator(np.random.Philox(key=len(values)))
    means = np.empty(_RESAMPLES)
    for i in range(_RESAMPLES):
        means[i] = values[generator.integers(0, len(values), len(values))].mean()
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
