"""What a training of a thought machine made: how it thinks about test samples, as figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    open_thinker,
    split_positions,
)
from merganser.thinking.training import Samples, ThinkingTrained

_LOOKED_INTO, _NEURONS = 3, 6


@dataclass(frozen=True, slots=True)
class Inside:
    """What happened inside while one sample was thought about.

    Attributes:
        said: The sample and the answer, in words.
        attention: Shares of tokens at each tick, mean over heads; None without attention.
        neurons: Post-activations of the neurons that move most, by their number.
    """

    said: str
    attention: Float[np.ndarray, "tokens ticks"] | None
    neurons: dict[int, Float[np.ndarray, " ticks"]]


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
        inside: A few samples, where there are several ticks.
    """

    samples: int
    ticks: int
    accuracy: dict[str, list[float]]
    certainties: dict[str, list[float]]
    halting: tuple[HaltingPoint, ...]
    calibrations: dict[str, Calibration]
    inside: tuple[Inside, ...]


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
        inside=_inside(model, samples) if model.config.ticks > 1 else (),
    )


def _certainties(answers: Answers) -> dict[str, list[float]]:
    right = answers.scores(whole=True)[:, -1] == 1
    groups = {"answered right": right, "not all right": ~right}
    return {
        name: answers.certainties[chosen].mean(dim=0).tolist()
        for name, chosen in groups.items()
        if chosen.any()
    }


def _inside(model: Thinker[Any], samples: Samples) -> tuple[Inside, ...]:
    """Samples spread evenly over the test set."""
    rows = torch.linspace(0, len(samples.inputs) - 1, min(_LOOKED_INTO + 2, len(samples.inputs))).long()[1:-1]
    inputs, targets = samples.inputs[rows], samples.targets[rows]
    with evaluating(model), torch.no_grad():
        thought = model(inputs, trace=True)
    trace = thought.trace
    assert trace is not None
    logits = split_positions(thought.predictions, thought.positions)
    found = Answers(logits, thought.certainties, targets, thought.readout)
    right = found.right()[:, :, -1]
    attention = None if trace.attention is None else trace.attention.mean(dim=2)
    made = []
    for row in range(len(rows)):
        moved = trace.activations[:, row].std(dim=0).topk(min(_NEURONS, model.config.neurons)).indices
        neurons = {int(n): trace.activations[:, row, n].double().numpy() for n in moved.sort().values}
        seen = None if attention is None else attention[:, row].T.double().numpy()
        said = _said(inputs[row], targets[row], int(right[row].sum()))
        made.append(Inside(said, seen, neurons))
    return tuple(made)


def _said(inputs: torch.Tensor, targets: torch.Tensor, right: int) -> str:
    if inputs.ndim == 1:
        signs = " ".join("+" if value > 0 else "−" for value in inputs.tolist())
        return f"{signs}: {right} of {len(targets)} positions right"
    return f"a picture of {int(targets[0])}, {'recognised' if right else 'mistaken'}"
