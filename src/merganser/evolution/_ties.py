r"""Losses of a generation, with ties between equal scores broken by margins.

A strategy that ranks a generation learns nothing from candidates of equal score, and with few questions, each right
or wrong, whole generations tie. A task that compares probabilities knows more: its margins. Of candidate $i$ with mean
score $s_i$ and mean margin $m_i \in [0, 1]$ the strategy is told

$$ \ell_i = 1 - s_i + c \, \delta \, (1 - m_i), \qquad c = 0.49, $$

where $\delta$ is the smallest positive difference between the generation's losses $1 - s_i$, or 1 if they are all the
same. As $c \delta < \delta / 2$, the order by score stays what it is; among equals the larger margin is the better one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from merganser.evolution._best import weighted_mean
from merganser.evolution._search import Row

_SHARE = 0.49
"""How much of the smallest difference margins may move a loss; below a half."""
_DIGITS = 12
"""Decimals in which means of scores are compared: what lies beyond is rounding, and would hide a tie."""


class Loss(NamedTuple):
    """What one candidate of a generation lost.

    Args:
        value: 1 less its mean score.
        margin: Mean of its margins, 0 if it failed; None where the task has none.
    """

    value: float
    margin: float | None


def loss_of(row: Row, weights: Float[np.ndarray, " samples"]) -> Loss:
    """Loss of a candidate by the weights of the samples."""
    margin = None if row.margins is None else weighted_mean(row.margins, weights)
    return Loss(1.0 - weighted_mean(row.scores, weights), 0.0 if row.failed is not None else margin)


def told_losses(losses: Sequence[Loss], *, tie_breaker: bool) -> list[float]:
    """What a strategy is told of a generation.

    Args:
        losses: Its candidates, in order.
        tie_breaker: Whether margins break ties; they do only where every candidate has one, and not all are 0.
    """
    values = [loss.value for loss in losses]
    margins = [loss.margin for loss in losses if loss.margin is not None]
    if not tie_breaker or len(margins) < len(losses) or not any(margins):
        return values
    distinct, places = np.unique(np.round(values, _DIGITS), return_inverse=True)
    gap = np.diff(distinct).min() if len(distinct) > 1 else 1.0
    return (distinct[places] + _SHARE * gap * (1.0 - np.array(margins))).tolist()
