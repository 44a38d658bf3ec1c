"""Ways through mazes that are longer than a model's route: it is asked again from where its route led.

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, section 4.2, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int

from merganser._errors import TaskError
from merganser.models import evaluating
from merganser.thinking._thought import split_positions
from merganser.thinking.mazes import MOVES, Mazes, pictures, walk

if TYPE_CHECKING:
    from merganser.thinking._thinker import Thinker


class Ways(NamedTuple):
    """What a model made of mazes, asked again and again.

    Attributes:
        solved: Whether a route passed the goal before there were more faults than are tolerated.
        asked: How often the model was asked, at least 1.
        ends: Row and column where the last route led, the goal where it is solved.
    """

    solved: Bool[np.ndarray, " mazes"]
    asked: Int[np.ndarray, " mazes"]
    ends: Int[np.ndarray, "mazes 2"]


def find_ways(
    model: Thinker[Any],
    mazes: Mazes,
    *,
    most: int = 20,
    tolerated: int = 2,
    ticks: int | None = None,
    batch: int = 64,
) -> Ways:
    """Let a model find ways through mazes of any size: the start moves to where its route led, and it is asked again.

    A route is the model's answer, that of the surest tick. Moves into walls are faults and lead nowhere; a route leads
    to the last place before there are more of them than are tolerated. Where a route led nowhere its start is no end of
    a later one.

    Args:
        model: A model that answers routes. Its backbone takes pictures of any size.
        mazes: The mazes.
        most: How often it is asked at most.
        tolerated: Moves into walls that each route may have.
        ticks: How long it thinks; None for what its configuration says.
        batch: Mazes at once.

    Raises:
        TaskError: If the model's answers are no routes.
        ValueError: If it may not be asked once.
    """
    if model.config.classes != len(MOVES):
        raise TaskError(
            f"Expected a model whose answers are routes of {len(MOVES)} moves, found {model.config.classes} classes. "
            "Name a training of the task maze."
        )
    if most < 1:
        raise ValueError(f"Expected to ask at least once, found {most}.")
    now = Mazes(mazes.passages, mazes.starts.copy(), mazes.goals)
    solved, asked = np.zeros(len(mazes), dtype=bool), np.zeros(len(mazes), dtype=np.int64)
    barred = np.zeros(mazes.passages.shape, dtype=bool)
    for _ in range(most):
        open_ = np.flatnonzero(~solved)
        if not len(open_):
            break
        here = now.rows(open_)
        asked[open_] += 1
        found = walk(here, _answers(model, here, ticks, batch), tolerated=tolerated)
        solved[open_] = found.solved
        allowed = found.faults <= tolerated
        allowed[:, 1:] &= ~barred[open_[:, None], found.places[:, 1:, 0], found.places[:, 1:, 1]]
        last = allowed.shape[1] - 1 - allowed[:, ::-1].argmax(axis=1)
        ends = found.places[np.arange(len(open_)), last]
        ends[found.solved] = here.goals[found.solved]
        stuck = open_[(ends == here.starts).all(axis=1)]
        barred[stuck, now.starts[stuck, 0], now.starts[stuck, 1]] = True
        now.starts[open_] = ends
    return Ways(solved, asked, now.starts)


def _answers(
    model: Thinker[Any], mazes: Mazes, ticks: int | None, batch: int
) -> Int[np.ndarray, "mazes moves"]:
    """Moves at the surest tick of each maze."""
    device = next(model.parameters()).device
    with evaluating(model), torch.no_grad():
        parts = [
            split_positions(model(part.to(device), ticks=ticks).answer(), model.config.positions).argmax(2)
            for part in torch.from_numpy(pictures(mazes)).split(batch)
        ]
    return torch.cat(parts).cpu().numpy()
