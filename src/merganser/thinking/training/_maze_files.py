"""Routes through mazes that lie in files, as the published data sets do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from merganser.thinking._config import CTMConfig
from merganser.thinking.mazes import Mazes, augmented, read_mazes, routes
from merganser.thinking.training._route_task import RouteTask, maze_samples
from merganser.thinking.training._task import VALIDATION, Samples

_LOOKED_AT = 512
"""Training mazes that are looked at and not trained on, but no more than a tenth of them."""


@dataclass(frozen=True, slots=True)
class MazeFiles(RouteTask):
    """The task [`MazeRoutes`][] on mazes in files: `train` and `test` below one folder, one PNG a maze.

    Each maze of a batch is turned or mirrored at random. Needs `pip install 'merganser[film]'`.

    Args:
        folder: What holds both folders.
        length: Steps of a route that are asked for; longer routes are cut off there.

    Raises:
        ConfigError: If there are no steps.
        TaskError: If mazes cannot be read.
    """

    folder: str
    length: int = 100

    @property
    def name(self) -> str:
        """`maze-files`."""
        return "maze-files"

    def config(self, **changes: Any) -> CTMConfig:
        """The model that [`MazeRoutes.config`][] gives for mazes of this size.

        Raises:
            ConfigError: If a field is unknown or its value wrong.
        """
        return self.model_for(max(self._mazes("test").shape), changes)

    def batch(self, size: int, *, seed: int, step: int) -> Samples:
        """Mazes drawn from the training files for one step."""
        rng = np.random.default_rng([seed, 0, step])
        mazes, moves = _solved(self.folder, "train", self.length)
        rows = rng.choice(self._split()[1], size)
        return maze_samples(*augmented(mazes.rows(rows), moves[rows], rng))

    def validation(self) -> Samples:
        """Training files that are held back."""
        mazes, moves = _solved(self.folder, "train", self.length)
        rows = self._split()[0]
        return maze_samples(mazes.rows(rows), moves[rows])

    def test(self) -> Samples:
        """The test files."""
        return maze_samples(*_solved(self.folder, "test", self.length))

    def _mazes(self, part: str) -> Mazes:
        return _solved(self.folder, part, self.length)[0]

    def _split(self) -> tuple[np.ndarray, np.ndarray]:
        """Training mazes that are looked at, and those that are trained on."""
        number = len(self._mazes("train"))
        held_back = min(_LOOKED_AT, -(-number // 10))
        order = np.random.default_rng([VALIDATION]).permutation(number)
        return order[:held_back], order[held_back:]


@lru_cache(maxsize=4)
def _solved(folder: str, part: str, length: int) -> tuple[Mazes, np.ndarray]:
    mazes = read_mazes(Path(folder).expanduser() / part)
    return mazes, routes(mazes, length)
