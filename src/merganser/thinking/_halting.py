r"""When to stop thinking: at the first tick whose certainty reaches a threshold, sample by sample.

With certainties $c_{bt}$ and a threshold $\theta$, sample $b$ stops at $\min \{t : c_{bt} \ge \theta\}$, or at the last
tick if there is none. Of several positions the mean certainty counts, or the least: see [`certainty`][].
[`think_until`][] does that: samples that are done leave the batch. [`halting_curve`][] says of thoughts that were
thought to the end what thresholds would have saved, and cost.

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, section 4.1, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from merganser.models import evaluating
from merganser.thinking._readout import readout_named
from merganser.thinking._thought import certainty, split_positions

if TYPE_CHECKING:
    from merganser.thinking._thinker import Thinker

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
        certainties: In [0, 1]; for the least certain position those of [`Answers.certainties_by`][].
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
        certainties: In [0, 1]; for the least certain position those of [`Answers.certainties_by`][].
        thresholds: Certainties that are enough.
    """
    return tuple(halting_point(scores, certainties, threshold) for threshold in (*thresholds, None))


class Stopped(NamedTuple):
    """Answers of a model that stopped when it was sure enough.

    Attributes:
        probabilities: Of each class.
        ticks: How many each sample took.
        certainties: How sure the model was at the tick where it stopped, in [0, 1]; by what made it stop.
    """

    probabilities: Float[Tensor, "batch positions classes"]
    ticks: Int[Tensor, " batch"]
    certainties: Float[Tensor, " batch"]


def think_until(
    model: Thinker[Any],
    inputs: Float[Tensor, "batch ..."],
    *,
    threshold: float = 0.8,
    by: str = "mean",
    readout: str | None = None,
    ticks: int | None = None,
) -> Stopped:
    """Think about each sample until the model is sure enough; samples that are done cost nothing more.

    Args:
        model: The model, which is left in the mode it was in.
        inputs: What it takes.
        threshold: The certainty that is enough, in [0, 1].
        by: Whether the mean certainty of all positions has to be that high, or the least; one of [`CERTAINTIES`][].
        readout: How the answer is made of the ticks so far; one of [`READOUTS`][], None for
            the model's own.
        ticks: How many at most; None for what the configuration says.

    Raises:
        ValueError: If there is no such readout or `by`, or the model cannot think tick by tick.
    """
    read, found, sure, enough = readout_named(readout or model.readout), [], [], []
    used = torch.zeros(len(inputs), dtype=torch.long, device=inputs.device)
    with evaluating(model), torch.no_grad():
        thinking = model.think(inputs, ticks=ticks)
        for tick in thinking:
            found.append(_spread(tick.predictions, tick.rows, len(inputs)))
            sure.append(_spread(tick.certainties, tick.rows, len(inputs)))
            used[tick.rows] += 1
            reached = certainty(tick.predictions, model.config.positions, by=by)
            enough.append(_spread(reached, tick.rows, len(inputs)))
            thinking.keep(reached < threshold)
    logits = split_positions(torch.stack(found, dim=-1), model.config.positions)
    rows, last = torch.arange(len(inputs), device=inputs.device), used - 1
    probabilities = read(logits, torch.stack(sure, dim=-1))[rows, :, :, last]
    return Stopped(probabilities, used, torch.stack(enough, dim=-1)[rows, last])


def _spread(values: Tensor, rows: Tensor, batch: int) -> Tensor:
    """Values of some rows in their places; what is said of the others is not read: no readout looks ahead."""
    return values.new_zeros(batch, *values.shape[1:]).index_copy_(0, rows, values)
