r"""When to stop thinking: at the first tick whose certainty reaches a threshold, sample by sample.

With certainties $c_{bt}$ and a threshold $\theta$, sample $b$ stops at $\min \{t : c_{bt} \ge \theta\}$, or at the last
tick if there is none. A curve over thresholds says what that saves, and what it costs.

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, section 4.1, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Certainties at which a curve looks unless told otherwise."""


class HaltingPoint(NamedTuple):
    """What thinking costs and brings when it stops at a certainty.

    Attributes:
        threshold: The certainty; None for all ticks.
        accuracy: Mean score, in [0, 1].
        ticks: Ticks used, mean over samples.
        saved: Share of the ticks that are not used, in [0, 1).
        reached: Share of the samples that reach the threshold, in [0, 1].
    """

    threshold: float | None
    accuracy: float
    ticks: float
    saved: float
    reached: float


def halting_ticks(certainties: Float[Tensor, "batch ticks"], threshold: float) -> Int[Tensor, " batch"]:
    """The tick at which each sample stops, from 0.

    Args:
        certainties: In [0, 1].
        threshold: The certainty that is enough.

    Examples:
        >>> import torch
        >>> halting_ticks(torch.tensor([[0.1, 0.8, 0.9], [0.1, 0.2, 0.3]]), 0.8)
        tensor([1, 2])
    """
    enough = certainties >= threshold
    enough[:, -1] = True
    return enough.int().argmax(dim=1)


def halting_point(
    scores: Float[Tensor, "batch ticks"], certainties: Float[Tensor, "batch ticks"], threshold: float | None
) -> HaltingPoint:
    """What stopping at one threshold costs and brings.

    Args:
        scores: How good the answer after each tick is, in [0, 1].
        certainties: In [0, 1].
        threshold: The certainty that is enough; None to use all ticks.
    """
    ticks = certainties.shape[1]
    if threshold is None:
        return HaltingPoint(None, float(scores[:, -1].double().mean()), float(ticks), 0.0, 0.0)
    stops = halting_ticks(certainties, threshold)
    used = float((stops + 1).double().mean())
    accuracy = float(scores.gather(1, stops[:, None]).double().mean())
    reached = float((certainties >= threshold).any(dim=1).double().mean())
    return HaltingPoint(threshold, accuracy, used, 1 - used / ticks, reached)


def halting_curve(
    scores: Float[Tensor, "batch ticks"],
    certainties: Float[Tensor, "batch ticks"],
    thresholds: Sequence[float] = THRESHOLDS,
) -> tuple[HaltingPoint, ...]:
    """The same for several thresholds; the last point is that of all ticks.

    Args:
        scores: How good the answer after each tick is, in [0, 1].
        certainties: In [0, 1].
        thresholds: Certainties that are enough.
    """
    return tuple(halting_point(scores, certainties, threshold) for threshold in (*thresholds, None))
