"""What a training of a thought machine made: how it thinks about test samples, as figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from merganser.models import evaluating
from merganser.thinking import (
    READOUTS,
    Answers,
    Calibration,
    HaltingPoint,
    Thinker,
    answers_of,
    calibration,
    halting_curve,
    halting_ticks,
    open_thinker,
)
from merganser.thinking.training import Samples, ThinkingTask, ThinkingTrained
from merganser.thinking.watching import ENOUGH, Watched, chosen_samples, difficulty_of, watch_thoughts

_PLAYED, _BESIDE, _FEW, _LOOKED_AT = 3, 12, 5, 256


class HardnessPoint(NamedTuple):
    """Samples of one difficulty.

    Attributes:
        value: How hard they are.
        samples: How many.
        ticks: How many each takes until it is certain enough, on average.
        right: Share that is answered right throughout, in [0, 1].
    """

    value: int
    samples: int
    ticks: float
    right: float


@dataclass(frozen=True, slots=True)
class ThinkingInfo:
    """How a trained model thinks about its task's test samples.

    Attributes:
        samples: How many they are.
        ticks: How long a thought is.
        accuracy: After each tick, by readout: share of positions that are right, in [0, 1].
        certainties: Mean certainty at each tick, of samples that end right throughout and of the others.
        halting: What stopping at a certainty saves and costs; last, all ticks.
        calibrations: By readout, the model's own and the average, after the last tick.
        hardness: How long samples of each difficulty take; empty for tasks of one difficulty.
        watched: A few samples, for the player; None where there is one tick.
        looks: Shares of tokens at each tick, mean over heads and test samples; None where tokens do not stand in a
            line.
    """

    samples: int
    ticks: int
    accuracy: dict[str, list[float]]
    certainties: dict[str, list[float]]
    halting: tuple[HaltingPoint, ...]
    calibrations: dict[str, Calibration]
    hardness: tuple[HardnessPoint, ...]
    watched: Watched | None
    looks: Float[np.ndarray, "tokens ticks"] | None


def thinking_info(trained: ThinkingTrained) -> ThinkingInfo:
    """Let a trained model think about its task's test samples.

    Args:
        trained: The training.

    Raises:
        CheckpointError: If the model is damaged.
    """
    model, samples = open_thinker(trained.path), trained.task.test()
    answers = answers_of(model, *samples)
    targets = samples.targets.flatten()
    return ThinkingInfo(
        samples=len(samples.inputs),
        ticks=model.config.ticks,
        accuracy={name: answers.scores(name).mean(dim=0).tolist() for name in READOUTS},
        certainties=_certainties(answers),
        halting=halting_curve(answers.scores(), answers.certainties),
        calibrations={
            name: calibration(answers.probabilities(name)[..., -1].flatten(0, 1), targets)
            for name in (model.readout, "average")
        },
        hardness=_hardness(trained.task, samples, answers),
        watched=_watched(model, trained.task, samples, answers) if model.config.ticks > 1 else None,
        looks=_looks(model, samples.inputs[:_LOOKED_AT]),
    )


def _certainties(answers: Answers) -> dict[str, list[float]]:
    right = answers.scores(whole=True)[:, -1] == 1
    groups = {"answered right": right, "not all right": ~right}
    return {
        name: answers.certainties[chosen].mean(dim=0).tolist()
        for name, chosen in groups.items()
        if chosen.any()
    }


def _hardness(task: ThinkingTask, samples: Samples, answers: Answers) -> tuple[HardnessPoint, ...]:
    """Samples by how hard they are, where there are a few of them."""
    difficulty = difficulty_of(task, samples)
    if difficulty is None:
        return ()
    ticks = halting_ticks(answers.certainties, ENOUGH).double() + 1
    right = answers.scores(whole=True)[:, -1].double()
    points = []
    for value in difficulty.values.unique().tolist():
        those = difficulty.values == value
        if (count := int(those.sum())) >= _FEW:
            points.append(HardnessPoint(value, count, float(ticks[those].mean()), float(right[those].mean())))
    return tuple(points)


def _watched(model: Thinker[Any], task: ThinkingTask, samples: Samples, answers: Answers) -> Watched:
    difficulty = difficulty_of(task, samples)
    rows = chosen_samples(answers, _PLAYED, None if difficulty is None else difficulty.values)
    chosen = Samples(*(part[rows] for part in samples))
    return watch_thoughts(model, task, chosen, numbers=rows, beside=samples.inputs[:_BESIDE])


def _looks(model: Thinker[Any], inputs: torch.Tensor) -> Float[np.ndarray, "tokens ticks"] | None:
    with evaluating(model), torch.no_grad():
        trace = model(inputs, trace=True).trace
    if trace is None or trace.attention is None or trace.grid is not None:
        return None
    return trace.attention.mean(dim=(1, 2)).T.double().numpy()
