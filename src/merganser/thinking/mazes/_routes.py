"""Shortest routes through mazes, and where a list of moves leads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from merganser._errors import TaskError
from merganser.thinking.mazes._mazes import STEPS, WAIT, Mazes

_BACK = (1, 0, 3, 2)
"""The move that takes each move back."""


def routes(mazes: Mazes, length: int | None = None) -> Int[np.ndarray, "mazes length"]:
    """The shortest way from start to goal as moves, then waiting.

    Of several that are equally short it is the one that, seen from the goal, was found first; no chance is in it.

    Args:
        mazes: The mazes.
        length: Moves of each route: longer ones are cut off. None for as many as the longest has.

    Raises:
        TaskError: If no way leads from a start to its goal.

    Examples:
        >>> passages = np.zeros((1, 3, 5), dtype=bool)
        >>> passages[0, 1, 1:4] = True
        >>> routes(Mazes(passages, starts=np.array([[1, 1]]), goals=np.array([[1, 3]])), 4).tolist()
        [[3, 3, 4, 4]]
    """
    toward, steps = _toward(mazes)
    places = _flat(mazes, mazes.starts)
    lost = toward[places] < 0
    if lost.any():
        raise TaskError(
            f"No way leads from start to goal in maze {int(lost.argmax())} ({int(lost.sum())} of {len(mazes)} mazes "
            "are so). Open a wall, or leave it out."
        )
    moves = []
    while length is None or len(moves) < length:
        move = toward[places]
        if (move == WAIT).all():
            break
        moves.append(move)
        places = places + steps[move]
    found = np.full((len(mazes), len(moves) if length is None else length), WAIT, dtype=np.int64)
    if moves:
        found[:, : len(moves)] = np.stack(moves, axis=1)
    return found


class Walk(NamedTuple):
    """Where lists of moves lead. Moves into walls are faults, and the walker stays where it is.

    Attributes:
        places: Row and column after each move, the start before them.
        faults: Faults so far after each move, 0 before them.
        solved: Whether the goal is passed before there are more faults than are tolerated.
    """

    places: Int[np.ndarray, "mazes moves+1 2"]
    faults: Int[np.ndarray, "mazes moves+1"]
    solved: Bool[np.ndarray, " mazes"]


def walk(mazes: Mazes, moves: Int[np.ndarray, "mazes moves"], *, tolerated: int = 0) -> Walk:
    """Follow moves through mazes.

    Args:
        mazes: The mazes.
        moves: From 0 to 4, as [`MOVES`][] names them.
        tolerated: Moves into walls after which reaching the goal still counts.
    """
    every, now = np.arange(len(mazes)), mazes.starts.copy()
    places, faults = [now], [np.zeros(len(mazes), dtype=np.int64)]
    for move in moves.T:
        ahead = now + STEPS[move]
        inside = np.asarray(((ahead >= 0) & (ahead < mazes.shape)).all(axis=1))
        clear = inside.copy()
        clear[inside] = mazes.passages[every[inside], *ahead[inside].T]
        now = np.where(clear[:, None], ahead, now)
        places.append(now)
        faults.append(faults[-1] + ~clear)
    passed, wrong = np.stack(places, axis=1), np.stack(faults, axis=1)
    at_goal = (passed == mazes.goals[:, None]).all(axis=2)
    return Walk(passed, wrong, (at_goal & (wrong <= tolerated)).any(axis=1))


def _toward(mazes: Mazes) -> tuple[Int[np.ndarray, " pixels"], Int[np.ndarray, " 5"]]:
    """At each pixel of the bordered mazes, laid out flat, the first move to the goal; -1 where there is none.

    All pixels that are equally far from their goals are found together.
    """
    new = np.pad(mazes.passages, ((0, 0), (1, 1), (1, 1))).reshape(-1)
    wide = mazes.shape[1] + 2
    steps = STEPS @ np.array([wide, 1])
    toward = np.full(len(new), -1, dtype=np.int8)
    edge = _flat(mazes, mazes.goals)
    new[edge], toward[edge] = False, WAIT
    while len(edge):
        found = []
        for move, back in enumerate(_BACK):
            ahead = edge + steps[move]
            ahead = ahead[new[ahead]]
            new[ahead], toward[ahead] = False, back
            found.append(ahead)
        edge = np.concatenate(found)
    return toward, steps


def _flat(mazes: Mazes, places: Int[np.ndarray, "mazes 2"]) -> Int[np.ndarray, " mazes"]:
    """Places in the bordered mazes laid out flat."""
    tall, wide = mazes.shape[0] + 2, mazes.shape[1] + 2
    return (np.arange(len(mazes)) * tall + places[:, 0] + 1) * wide + places[:, 1] + 1
