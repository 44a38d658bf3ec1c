"""The shortest way through a maze, as moves from pixel to pixel.

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, sections 4.2 and F, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from merganser._errors import ConfigError
from merganser.thinking._config import CTMConfig
from merganser.thinking.mazes import FAMILIES, MOVES, Mazes, draw_mazes, joined, pictures, routes, wall_codes
from merganser.thinking.training._task import Samples, ThinkingTask

LOOK_AHEAD = 5
"""Steps beyond those that are right which are trained, as in the paper."""
_LOOKED_AT, _TESTED = 512, 2_048
_PARTS = {"validation": 0, "test": 1}
"""Of eight parts of all walls, those that are held out; the others are trained on."""
_ALL_PARTS = 8
_SMALLEST = 9
_SMALL = 15
"""Largest mazes for which the small model is meant."""
_SMALL_MODEL = {
    "ticks": 16,
    "neurons": 256,
    "width": 64,
    "heads": 4,
    "memory": 8,
    "hidden": 8,
    "synapse_depth": 3,
    "output_neurons": 128,
    "action_neurons": 128,
    "self_pairs": 16,
    "backbone": "resnet18-1",
    "positional": "fourier",
}


@dataclass(frozen=True, slots=True)
class MazeRoutes:
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
        if self.length < 1:
            raise ConfigError(f"Expected routes of at least one step, found a length of {self.length}.")
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

    @property
    def positions(self) -> int:
        """One for each step."""
        return self.length

    @property
    def classes(self) -> int:
        """Four moves, and waiting."""
        return len(MOVES)

    @property
    def look_ahead(self) -> int:
        """The paper's five steps."""
        return LOOK_AHEAD

    def config(self, **changes: Any) -> CTMConfig:
        """A model of 256 neurons that thinks for 16 ticks; for mazes of more than 15 pixels the paper's.

        Raises:
            ConfigError: If a field is unknown or its value wrong.
        """
        return maze_config(self, self.size, changes)

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


def maze_config(task: ThinkingTask, size: int, changes: Mapping[str, Any]) -> CTMConfig:
    """A model for mazes of a size, with some fields changed.

    Args:
        task: What it answers.
        size: Pixels of a side.
        changes: Fields that shall be others.

    Raises:
        ConfigError: If a field is unknown or its value wrong.
    """
    answers = {"outputs": task.classes * task.positions, "positions": task.positions, "channels": 3}
    if size > _SMALL:
        return CTMConfig.preset("maze-39", **{**changes, **answers})
    return CTMConfig.from_dict({**_SMALL_MODEL, **changes, **answers})


def maze_samples(mazes: Mazes, moves: Int[np.ndarray, "mazes length"]) -> Samples:
    """What a model sees of mazes, and what it shall answer.

    Args:
        mazes: The mazes.
        moves: The right routes.
    """
    return Samples(torch.from_numpy(pictures(mazes)), torch.from_numpy(moves))


@lru_cache(maxsize=4)
def _held_out(task: MazeRoutes, number: int, part: str) -> Samples:
    return task.samples(task.mazes(number, part))
