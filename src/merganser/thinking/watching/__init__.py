"""Thoughts as one can watch them: what a model looks at, answers and does inside at every tick, as plain arrays.

| names | what |
| --- | --- |
| [`watch_thoughts`][], [`Watched`][], [`WatchedThought`][] | some samples, thought about for all ticks |
| [`chosen_samples`][], [`Difficulty`][], [`difficulty_of`][] | which samples are worth watching |
| [`Wandering`][], [`wandering_of`][] | routes through a maze as places, tick by tick |
| [`MAZES`][] | the tasks that are watched as mazes |
| [`ENOUGH`][] | the certainty at which pictures mark that thinking could stop |
| [`sort_alike`][], [`together`][] | neurons in order of what they do, and how they go together |

Pages and films of them are made by `merganser.report`.
"""

from merganser.thinking.training._train import ENOUGH
from merganser.thinking.watching._choose import MAZES, Difficulty, chosen_samples, difficulty_of
from merganser.thinking.watching._together import sort_alike, together
from merganser.thinking.watching._wandering import Wandering, wandering_of
from merganser.thinking.watching._watch import watch_thoughts
from merganser.thinking.watching._watched import Watched, WatchedThought

__all__ = [
    "ENOUGH",
    "MAZES",
    "Difficulty",
    "Wandering",
    "Watched",
    "WatchedThought",
    "chosen_samples",
    "difficulty_of",
    "sort_alike",
    "together",
    "wandering_of",
    "watch_thoughts",
]
