"""Mazes as arrays: where one can walk, where the way begins, and where it shall end.

A maze is a grid of pixels. Those that are drawn here have cells at odd rows and columns, and walls or passages between
them; those that are read may be any. A route is a list of moves from pixel to pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from merganser._errors import TaskError

UP, DOWN, LEFT, RIGHT, WAIT = range(5)
"""Moves by number; a route that is shorter than others waits at its end."""
MOVES = ("up", "down", "left", "right", "wait")
"""Names of the moves."""
STEPS = np.array([[-1, 0], [1, 0], [0, -1], [0, 1], [0, 0]])
"""Rows and columns that each move goes."""
_SMALLEST = 3


@dataclass(frozen=True, slots=True)
class Mazes:
    """Mazes of one size.

    Args:
        passages: Where one can walk.
        starts: Row and column where each way begins.
        goals: Row and column where it shall end.

    Raises:
        TaskError: If arrays do not fit each other, or a start or goal is outside the maze or on a wall.

    Examples:
        >>> passages = np.zeros((1, 3, 5), dtype=bool)
        >>> passages[0, 1, 1:4] = True
        >>> Mazes(passages, starts=np.array([[1, 1]]), goals=np.array([[1, 3]])).shape
        (3, 5)
    """

    passages: Bool[np.ndarray, "mazes rows columns"]
    starts: Int[np.ndarray, "mazes 2"]
    goals: Int[np.ndarray, "mazes 2"]

    def __post_init__(self) -> None:
        shape = self.passages.shape
        if self.passages.dtype != np.bool_ or len(shape) != 3 or min(shape[1:]) < _SMALLEST:
            raise TaskError(
                f"Expected passages as truth values (mazes, rows, columns) of at least {_SMALLEST}×{_SMALLEST} pixels, "
                f"found {self.passages.dtype} {shape}."
            )
        for name, places in (("start", self.starts), ("goal", self.goals)):
            self._check(name, places)

    def __len__(self) -> int:
        return len(self.passages)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of each maze."""
        return self.passages.shape[1], self.passages.shape[2]

    def rows(self, chosen: Int[np.ndarray, " chosen"] | Bool[np.ndarray, " mazes"] | slice) -> Mazes:
        """These mazes alone."""
        return Mazes(self.passages[chosen], self.starts[chosen], self.goals[chosen])

    def _check(self, name: str, places: Int[np.ndarray, "mazes 2"]) -> None:
        if places.shape != (len(self), 2) or not np.issubdtype(places.dtype, np.integer):
            raise TaskError(
                f"Expected a {name} as row and column for each of {len(self)} mazes, found {places.dtype} "
                f"{places.shape}."
            )
        outside = ((places < 0) | (places >= self.shape)).any(axis=1)
        if outside.any():
            k = int(outside.argmax())
            raise TaskError(
                f"The {name} of maze {k} is at {_said(places[k])}, outside its {self.shape[0]}×{self.shape[1]} pixels."
            )
        on_wall = ~self.passages[np.arange(len(self)), places[:, 0], places[:, 1]]
        if on_wall.any():
            k = int(on_wall.argmax())
            raise TaskError(
                f"The {name} of maze {k}, at {_said(places[k])}, is on a wall. Put it on a passage."
            )


def joined(parts: Sequence[Mazes]) -> Mazes:
    """Mazes of one size, one after the other.

    Args:
        parts: At least one.
    """
    names = ("passages", "starts", "goals")
    return Mazes(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _said(place: Int[np.ndarray, " 2"]) -> str:
    return f"row {place[0]}, column {place[1]}"
