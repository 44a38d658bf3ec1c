"""Mazes as pictures that a model sees, and back; the same mazes turned and mirrored.

Walls are black, passages white, the start red, the goal green, each channel from 0 to 1. The published pictures draw
the solution in blue, which counts as a passage.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from merganser._errors import TaskError
from merganser.thinking.mazes._mazes import DOWN, LEFT, RIGHT, UP, WAIT, Mazes, joined

_RED, _GREEN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
_TURNED = np.array([LEFT, RIGHT, DOWN, UP, WAIT])
"""What each move becomes when a maze is turned by 90° against the clock."""
_MIRRORED = np.array([UP, DOWN, RIGHT, LEFT, WAIT])
"""What each move becomes when left and right are exchanged."""


def pictures(mazes: Mazes) -> Float[np.ndarray, "mazes 3 rows columns"]:
    """Mazes as a model sees them.

    Args:
        mazes: The mazes.
    """
    drawn = np.repeat(mazes.passages[:, None].astype(np.float32), 3, axis=1)
    every = np.arange(len(mazes))
    for places, colour in ((mazes.starts, _RED), (mazes.goals, _GREEN)):
        drawn[every, :, places[:, 0], places[:, 1]] = colour
    return drawn


def mazes_of(
    drawn: Float[np.ndarray, "mazes 3 rows columns"], *, names: Sequence[str] | None = None
) -> Mazes:
    """Mazes from pictures.

    Args:
        drawn: Channels from 0 to 1; black is a wall, red the start, green the goal, all else a passage.
        names: What errors call each maze; None for its number.

    Raises:
        TaskError: If they are no such pictures, or one has not one start and one goal.
    """
    if drawn.ndim != 4 or drawn.shape[1] != 3:
        raise TaskError(f"Expected pictures of three colours (mazes, 3, rows, columns), found {drawn.shape}.")
    bright = drawn > 0.5
    places = []
    for name, colour in (("start (red)", _RED), ("goal (green)", _GREEN)):
        found = (bright == np.array(colour, dtype=bool)[:, None, None]).all(axis=1)
        counts = found.sum(axis=(1, 2))
        if (counts != 1).any():
            k = int((counts != 1).argmax())
            said = f"maze {k}" if names is None else names[k]
            raise TaskError(f"Expected one {name} in every maze, found {counts[k]} in {said}.")
        places.append(np.argwhere(found)[:, 1:])
    return Mazes(np.asarray(bright.any(axis=1)), *places)


def turned(mazes: Mazes, *, quarters: int = 0, mirrored: bool = False) -> Mazes:
    """The same mazes, mirrored if asked to, then turned against the clock.

    Args:
        mazes: The mazes.
        quarters: Turns of 90°.
        mirrored: Whether to exchange left and right first.
    """
    passages, ends = mazes.passages, np.stack([mazes.starts, mazes.goals], axis=1)
    if mirrored:
        passages, ends = passages[:, :, ::-1], _mirrored(ends, passages.shape[2])
    for _ in range(quarters % 4):
        rows, columns = ends[..., 0], ends[..., 1]
        ends = np.stack([passages.shape[2] - 1 - columns, rows], axis=-1)
        passages = np.rot90(passages, axes=(1, 2))
    return Mazes(np.ascontiguousarray(passages), ends[:, 0], ends[:, 1])


def turned_moves(
    moves: Int[np.ndarray, "mazes moves"], *, quarters: int = 0, mirrored: bool = False
) -> Int[np.ndarray, "mazes moves"]:
    """Moves as they are in mazes that were [`turned`][]."""
    moves = _MIRRORED[moves] if mirrored else moves
    for _ in range(quarters % 4):
        moves = _TURNED[moves]
    return moves


def augmented(
    mazes: Mazes, moves: Int[np.ndarray, "mazes moves"], rng: np.random.Generator
) -> tuple[Mazes, Int[np.ndarray, "mazes moves"]]:
    """Square mazes and their moves, each in one of its eight positions; the order is another one.

    Args:
        mazes: The mazes.
        moves: A route through each.
        rng: What draws the positions.
    """
    drawn = rng.integers(8, size=len(mazes))
    kinds = [(kind, np.flatnonzero(drawn == kind)) for kind in range(8)]
    parts = [
        (
            turned(mazes.rows(rows), quarters=kind % 4, mirrored=kind >= 4),
            turned_moves(moves[rows], quarters=kind % 4, mirrored=kind >= 4),
        )
        for kind, rows in kinds
    ]
    return joined([part for part, _ in parts]), np.concatenate([part for _, part in parts])


def _mirrored(places: Int[np.ndarray, "mazes ends 2"], columns: int) -> Int[np.ndarray, "mazes ends 2"]:
    return np.stack([places[..., 0], columns - 1 - places[..., 1]], axis=-1)
