"""What all tasks on mazes have in common: a move is asked for at each step of a route."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from merganser._errors import ConfigError
from merganser.thinking._config import CTMConfig
from merganser.thinking.mazes import MOVES, Mazes, pictures
from merganser.thinking.training._task import Samples

_LOOK_AHEAD = 5
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


class RouteTask:
    """What is answered to the picture of a maze.

    Attributes:
        length: Steps of a route that are asked for.

    Raises:
        ConfigError: If there are none.
    """

    __slots__ = ()
    length: int

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ConfigError(f"Expected routes of at least one step, found a length of {self.length}.")

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

    def model_for(self, size: int, changes: Mapping[str, Any]) -> CTMConfig:
        """A model for mazes of a size, with some fields changed.

        Args:
            size: Pixels of a side.
            changes: Fields that shall be others.

        Raises:
            ConfigError: If a field is unknown or its value wrong.
        """
        answers = {"outputs": self.classes * self.positions, "positions": self.positions, "channels": 3}
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
