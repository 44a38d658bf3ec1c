"""Routes through a maze as a model names them at every tick: where they lead, and which walls they run into."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from merganser.thinking.mazes import Mazes, Walk, mazes_of, walk
from merganser.thinking.mazes._mazes import STEPS
from merganser.thinking.watching._watched import WatchedThought


class Wandering(NamedTuple):
    """A maze, and where the routes lead that are answered.

    Attributes:
        maze: One maze.
        right: Places of the right route, as far as it is asked for.
        places: Places of the answer at every tick; the walker stays where it is when it meets a wall.
        walls: The pixels that the answer runs into at every tick.
        solved: Whether the answer reaches the goal without running into a wall.
    """

    maze: Mazes
    right: Int[np.ndarray, "steps+1 2"]
    places: Int[np.ndarray, "ticks steps+1 2"]
    walls: tuple[Int[np.ndarray, "hits 2"], ...]
    solved: Bool[np.ndarray, " ticks"]


def wandering_of(thought: WatchedThought) -> Wandering:
    """Where the routes of a thought about a maze lead.

    Args:
        thought: Its input is the picture of a maze.

    Raises:
        TaskError: If it is not.
    """
    maze = mazes_of(thought.input[None])
    answers = thought.answers
    found = walk(maze.rows(np.zeros(len(answers), dtype=np.int64)), answers)
    right = walk(maze, thought.targets[None]).places[0]
    return Wandering(maze, right, found.places, _walls(found, answers), found.solved)


def _walls(found: Walk, moves: Int[np.ndarray, "ticks steps"]) -> tuple[Int[np.ndarray, "hits 2"], ...]:
    hits = np.diff(found.faults, axis=1) > 0
    ahead = found.places[:, :-1] + STEPS[moves]
    return tuple(places[hit] for places, hit in zip(ahead, hits, strict=True))
