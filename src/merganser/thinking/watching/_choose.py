"""Which samples are worth watching: easy and hard ones, and some that fail."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from merganser.thinking._answers import Answers
from merganser.thinking.mazes import WAIT
from merganser.thinking.training import Samples, ThinkingTask

MAZES = ("maze", "maze-files")
"""Names of the tasks whose answers are routes through mazes."""


class Difficulty(NamedTuple):
    """How hard samples are by themselves, whatever a model makes of them.

    Attributes:
        name: What is counted, such as `steps`.
        values: Of each sample.
    """

    name: str
    values: Int[Tensor, " samples"]


def difficulty_of(task: ThinkingTask, samples: Samples) -> Difficulty | None:
    """How hard samples are: routes by their steps, as far as they are asked for; None for tasks of one difficulty.

    Args:
        task: What they are samples of.
        samples: The samples.
    """
    if task.name not in MAZES:
        return None
    return Difficulty("steps of the route", (samples.targets != WAIT).sum(dim=1))


def chosen_samples(
    answers: Answers, number: int, hardness: Float[Tensor, " samples"] | Int[Tensor, " samples"] | None = None
) -> list[int]:
    """Samples to watch, from easy to hard; about a third of them such as are not answered right throughout.

    Args:
        answers: What the model answers.
        number: How many; fewer if there are fewer.
        hardness: How hard each sample is; None to take those for hard that the model is unsure of.

    Raises:
        ValueError: If the number is not positive.
    """
    if number < 1:
        raise ValueError(f"Expected a number of samples of at least 1, found {number}.")
    hard = -answers.certainties.amax(dim=1) if hardness is None else hardness
    order = hard.argsort(stable=True)
    is_right = answers.scores(whole=True)[order, -1] == 1
    right, wrong = order[is_right], order[~is_right]
    fails = min(len(wrong), max((number + 1) // 3, number - len(right)))
    chosen = {*_spread(right, number - fails), *_spread(wrong, fails)}
    return [row for row in order.tolist() if row in chosen]


def _spread(rows: Int[Tensor, " rows"], number: int) -> list[int]:
    """Some of the rows, evenly from the first to the last; of one, that in the middle."""
    if number >= len(rows):
        return rows.tolist()
    places = torch.linspace(0, len(rows) - 1, number + 2)[1:-1] if number == 1 else None
    return rows[(torch.linspace(0, len(rows) - 1, number) if places is None else places).long()].tolist()
