"""The shortest way through a maze, as moves from pixel to pixel.

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, sections 4.2 and F, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from merganser._errors import ConfigError
from merganser.thinking._config import CTMConfig
from merganser.thinking.mazes import FAMILIES, MOVES, Mazes, draw_mazes, pictures, routes
from merganser.thinking.training._task import TEST, VALIDATION, Samples

_LOOK_AHEAD = 5
_LOOKED_AT, _TESTED = 512, 2_048
_SMALL = 15
"""Largest mazes for which the small model is meant."""
_PUBLISHED = 39


@dataclass(frozen=True, slots=True)
class MazeRoutes:
    """From the picture of a maze to the route from start to goal: at each step up, down, left, right or wait.

    Mazes are drawn anew for each step; 512 are looked at and 2,048 tested, the same for all trainings. Training begins
    with the first steps of a route and goes on as they are right (see
    [`thought_loss`][merganser.thinking.thought_loss]).

    Args:
        size: Pixels of a side, odd and at least 5.
        length: Steps of a route that are asked for; longer routes are cut off there.
        family: How mazes are drawn; one of [`FAMILIES`][merganser.thinking.mazes.FAMILIES].

    Raises:
        ConfigError: If there are no such mazes, or no steps.

    Examples:
        >>> samples = MazeRoutes(size=5, length=6).test()
        >>> samples.inputs.shape, samples.targets[0].tolist()
        (torch.Size([2048, 3, 5, 5]), [0, 0, 2, 2, 4, 4])
    """

    size: int = 9
    length: int = 30
    family: str = "depth-first"

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ConfigError(f"Expected routes of at least one step, found a length of {self.length}.")
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
        return _LOOK_AHEAD

    def config(self, **changes: Any) -> CTMConfig:
        """A model of 256 neurons that thinks for 16 ticks; for mazes of more than 15 pixels the paper's.

        Raises:
            ConfigError: If a field is unknown or its value wrong.
        """
        answers = {"outputs": self.classes * self.length, "positions": self.length, "channels": 3}
        if self.size > _SMALL:
            name = "maze-39"
            return CTMConfig.preset(name, **{**changes, **answers})
        fields = {
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
        return CTMConfig.from_dict({**fields, **changes, **answers})

    def mazes(self, number: int, *key: int) -> Mazes:
        """Mazes that follow from a key.

        Args:
            number: How many.
            key: Numbers that are not negative.
        """
        family = list(FAMILIES).index(self.family)
        return draw_mazes(
            number, self.size, family=self.family, rng=np.random.default_rng([self.size, family, *key])
        )

    def batch(self, size: int, *, seed: int, step: int) -> Samples:
        """Mazes drawn for one step."""
        return self.samples(self.mazes(size, seed, 0, step))

    def validation(self) -> Samples:
        """Mazes that are the same for all trainings."""
        return _held_out(self, _LOOKED_AT, VALIDATION)

    def test(self) -> Samples:
        """Others than [`MazeRoutes.validation`][]'s."""
        return _held_out(self, _TESTED, TEST)

    def samples(self, mazes: Mazes) -> Samples:
        """Pictures of mazes, and their routes.

        Args:
            mazes: The mazes, of any size.

        Raises:
            TaskError: If no way leads from a start to its goal.
        """
        targets = routes(mazes, self.length)
        return Samples(torch.from_numpy(pictures(mazes)), torch.from_numpy(targets))


@lru_cache(maxsize=4)
def _held_out(task: MazeRoutes, number: int, purpose: int) -> Samples:
    return task.samples(task.mazes(number, 0, purpose))
