r"""Which of several steps may be the best, judged on the same samples.

Let $m_s$ be the mean score of step $s$, and $m^*_s$ its mean on a resample of the samples, the same one for all steps.
Step $s$ may be the best if no other beats it by more than chance could make all others together seem to:

$$\max_r\ (m_r - m_s) \le d_s, \qquad
d_s = \text{the 95 % quantile of } \max_r\ \big[(m^*_r - m_r) - (m^*_s - m_s)\big].$$

For the step that is truly the best no true difference $\mu_r - \mu_s$ is positive, so it is kept with 95 % probability.
That the winner was picked on the same samples does not spoil this, as it would spoil comparing each step with it.

References:
    Hsu, *Constrained Simultaneous Confidence Intervals for Multiple Comparisons with the Best*, Annals of Statistics
    12, 1984 (the idea; here with a paired bootstrap in the place of a normal law).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_RESAMPLES = 2_000
_LEVEL = 0.95


def may_be_best(scores: Float[np.ndarray, "steps samples"]) -> tuple[int, ...]:
    """Positions of the steps that may be the best, in order; the one with the best mean is always among them.

    Args:
        scores: Score of every step on every sample.

    Raises:
        ValueError: If there are no scores.

    Examples:
        >>> sample = np.arange(200) % 10
        >>> may_be_best(np.stack([sample < 3, sample < 8, sample < 8, sample < 2]).astype(float))
        (1, 2)
    """
    if not scores.size:
        raise ValueError("Steps can be told apart by scores only, but there are none.")
    means, count = scores.mean(axis=1), scores.shape[1]
    generator = np.random.Generator(np.random.Philox(key=count))
    errors = np.empty((_RESAMPLES, len(scores)))
    for row in errors:
        row[:] = scores[:, generator.integers(0, count, count)].mean(axis=1) - means
    reach = np.quantile(errors.max(axis=1, keepdims=True) - errors, _LEVEL, axis=0)
    return tuple(np.flatnonzero(means.max() - means <= reach + 1e-12).tolist())
