r"""What is lost on the straight line between two models.

Let $s(t)$ be the score of $(1 - t)\,\theta_A + t\,\theta_B$. The barrier is the largest shortfall against the line
between the scores of the ends,

$$\max_t\ \big[(1 - t)\, s(0) + t\, s(1) - s(t)\big], \qquad t \in \{1/4, 1/2, 3/4\}.$$

Below zero, every one of these merges is better than the line. On loss rather than score, with the mean of the ends in
the place of the line, it is the error barrier of Frankle et al.; the line is that of Entezari et al.

Every shortfall has a paired 95 % interval over the samples. That of the barrier goes from the largest lower end to the
largest upper end: it holds for the largest shortfall, whichever it is, and is a little wide.

References:
    Frankle, Dziugaite, Roy, Carbin, *Linear Mode Connectivity and the Lottery Ticket Hypothesis*, ICML 2020,
    https://arxiv.org/abs/1912.05671
    Entezari, Sedghi, Saukh, Neyshabur, *The Role of Permutation Invariance in Linear Mode Connectivity of Neural
    Networks*, ICLR 2022, https://arxiv.org/abs/2110.06296
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from merganser._errors import CheckpointError
from merganser.comparison._tick import Tick, Watch
from merganser.evaluation import Chosen, Classification, Interval, Task, difference_interval, mean_interval
from merganser.merging import plan_merge
from merganser.models import LanguageModel, Perceptron
from merganser.weights import Checkpoint, check_aligned, flat_read

POINTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Where on the line models are scored."""

_MIDDLE = 0.5
_BLOCK = 64
"""Samples between two looks at the progress."""

_Line = Callable[[float], Any]
"""Brings the model at a point of the line to life, in the memory of the one before."""


@dataclass(frozen=True, eq=False)
class Barrier:
    """Scores on the line between two models.

    Args:
        scores: Score of each sample, in [0, 1], at every point of the line.
    """

    scores: Mapping[float, Float[np.ndarray, " samples"]]

    @cached_property
    def means(self) -> Mapping[float, Interval]:
        """Mean score at every point."""
        return {t: mean_interval(scores) for t, scores in self.scores.items()}

    @cached_property
    def shortfalls(self) -> Mapping[float, Interval]:
        """How far the merges stay below the line between the ends; negative where they are above it."""
        first, second = self.scores[0.0], self.scores[1.0]
        return {
            t: difference_interval((1 - t) * first + t * second, scores)
            for t, scores in self.scores.items()
            if 0 < t < 1
        }

    @property
    def height(self) -> Interval:
        """The largest shortfall."""
        value, low, high = (max(column) for column in zip(*self.shortfalls.values(), strict=True))
        return Interval(value, low, high)

    @property
    def gain(self) -> Interval:
        """What the average of the two scores beyond the better of them, on the same samples."""
        better = max((0.0, 1.0), key=lambda t: self.means[t].value)
        return difference_interval(self.scores[_MIDDLE], self.scores[better])

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        points = [{"t": t, **interval._asdict()} for t, interval in self.means.items()]
        return {"height": self.height._asdict(), "gain": self.gain._asdict(), "points": points}


def barrier(
    first: Checkpoint,
    second: Checkpoint,
    chosen: Chosen,
    *,
    dtype: str | None = None,
    device: str = "cpu",
    watch: Watch | None = None,
) -> Barrier:
    """Score the models on the line between two, one after the other in the memory of one.

    Args:
        first: The model at 0.
        second: The model at 1.
        chosen: The samples to score.
        dtype: Element type to compute in, for language models; by default that of the first.
        device: Where to compute, for language models.
        watch: Told about samples that were scored.

    Raises:
        CheckpointError: If they cannot be merged, are no models for the task, or a merge answers with NaN.
        ConfigError: If a library that they need is not installed.
        ValueError: If they do not fit the task.
    """
    scores: dict[float, list[np.ndarray]] = {t: [] for t in POINTS}
    spoken: _Line | None = None
    done, total = 0, len(POINTS) * len(chosen)
    for task, ids in chosen.parts:
        if isinstance(task, Classification):
            line = _flat_line(first, second, task.features)
        else:
            line = spoken = spoken or _language_line(first, second, dtype, device)
        for t in POINTS:
            model = line(t)
            for block in np.split(ids, range(_BLOCK, len(ids), _BLOCK)):
                scores[t].append(_scored(model, task, block, t))
                done += len(block)
                if watch is not None:
                    watch(Tick("scoring the line", done, total, "samples"))
    return Barrier({t: np.concatenate(parts) for t, parts in scores.items()})


def _scored(model: Any, task: Task, ids: np.ndarray, t: float) -> Float[np.ndarray, " samples"]:
    try:
        return np.asarray(task.score(model, ids), dtype=np.float64)
    except ArithmeticError as error:
        raise CheckpointError(
            f"Expected finite answers on the line between the models, but at {t:g} of the way: {error}."
        ) from error


def _flat_line(first: Checkpoint, second: Checkpoint, features: int) -> _Line:
    check_aligned([first, second])
    ends = [flat_read(model) for model in (first, second)]
    model = Perceptron.of(first, features)

    def at(t: float) -> Perceptron:
        # an end is itself: nothing of the other is in it, not even nothing times NaN
        mean = ends[int(t)] if t in (0, 1) else (1 - t) * ends[0] + t * ends[1]
        model.write(mean.astype(np.float32))
        return model

    return at


def _language_line(first: Checkpoint, second: Checkpoint, dtype: str | None, device: str) -> _Line:
    plans = {t: plan_merge([first, second], parameters={"weight": [1 - t, t]}) for t in POINTS if 0 < t < 1}
    alive = LanguageModel.of(first, dtype=dtype, device=device)

    def at(t: float) -> LanguageModel:
        alive.become(plans.get(t, first if t == 0 else second))
        return alive

    return at
