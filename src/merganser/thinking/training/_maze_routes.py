"""The shortest way through a maze, as moves from pixel to pixel.

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, sections 4.2 and F, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from merganser._errors import ConfigError
from merganser.thinking._config import CTMConfig
from merganser.thinking.mazes import FAMILIES, Mazes, draw_mazes, joined, routes, wall_codes
from merganser.thinking.training._route_task import RouteTask, maze_samples
from merganser.thinking.training._task import Samples

_LOOKED_AT, _TESTED = 512, 2_048
_PARTS = {"validation": 0, "test": 1}
"""Of eight parts of all walls, those that are held out; the others are trained on."""
_ALL_PARTS = 8
_SMALLEST = 9


@dataclass(frozen=True, slots=True)
class MazeRoutes(RouteTask):
    """From the picture of a maze to the route from start to goal: at each step up, down, left, right or wait.

    Mazes are drawn anew for each step; 512 are looked at and 2,048 tested, the same for all trainings. Of all walls an
    eighth is kept for each of these, in every position: small mazes are soon all seen, and would be remembered.
    Training begins with the first steps of a route and goes on as they are right (see
    [`thought_loss`][merganser.thinking.thought_loss]).

    Args:
        size: Pixels of a side, odd and at least 9.
        length: Steps of a route that are asked for; longer routes are cut off there.
        family: How mazes are drawn; one of [`FAMILIES`][merganser.thinking.mazes.FAMILIES].

    Raises:
        ConfigError: If there are no such mazes, or no steps.

    Examples:
        >>> samples = MazeRoutes(size=9, length=6).test()
        >>> samples.inputs.shape, samples.targets[0].tolist()
        (torch.Size([2048, 3, 9, 9]), [0, 0, 0, 0, 0, 0])
    """

    size: int = 9
    length: int = 30
    family: str = "depth-first"

    def __post_init__(self) -> None:
        RouteTask.__post_init__(self)
        if self.size < _SMALLEST:
            raise ConfigError(
                f"Expected mazes of at least {_SMALLEST} pixels, found {self.size}: smaller ones have too few walls to "
                "keep some apart for a test."
            )
        draw_mazes(0, self.size, family=self.family, rng=np.random.default_rng(0))

    @property
    def name(self) -> str:
        """`maze`."""
        return "maze"

    def config(self, **changes: Any) -> CTMConfig:
        """A model of 256 neurons that thinks for 16 ticks; for mazes of more than 15 pixels the paper's.

        Raises:
            ConfigError: If a field is unknown or its value wrong.
        """
        return self.model_for(self.size, changes)

    def mazes(self, number: int, part: str, *key: int) -> Mazes:
        """Mazes that follow from a key.

        Args:
            number: How many.
            part: `training`, `validation` or `test`: none has walls that another has.
            key: Numbers that are not negative.
        """
        family, found, left = list(FAMILIES).index(self.family), [], number
        rng = np.random.default_rng([self.size, family, _PARTS.get(part, len(_PARTS)), *key])
        while left > 0:
            drawn = draw_mazes(2 * left + _ALL_PARTS, self.size, family=self.family, rng=rng)
            parts = wall_codes(drawn) % _ALL_PARTS
            fitting = parts == _PARTS[part] if part in _PARTS else parts >= len(_PARTS)
            found.append(drawn.rows(np.flatnonzero(fitting)[:left]))
            left -= len(found[-1])
        return joined(found)

    def batch(self, size: int, *, seed: int, step: int) -> Samples:
        """Mazes drawn for one step."""
        return self.samples(self.mazes(size, "training", seed, step))

    def validation(self) -> Samples:
        """Mazes that are the same for all trainings, with walls that none is trained on."""
        return _held_out(self, _LOOKED_AT, "validation")

    def test(self) -> Samples:
        """The same, with other walls."""
        return _held_out(self, _TESTED, "test")

    def samples(self, mazes: Mazes) -> Samples:
        """Pictures of mazes of any size, and their routes.

        Args:
            mazes: The mazes.

        Raises:
            TaskError: If no way leads from a start to its goal.
        """
        return maze_samples(mazes, routes(mazes, self.length))


@lru_cache(maxsize=4)
def _held_out(task: MazeRoutes, number: int, part: str) -> Samples:
    return task.samples(task.mazes(number, part))
