"""Mazes: drawn many at once, with their shortest routes, as pictures and back.

| names | what |
| --- | --- |
| [`Mazes`][] | where one can walk, starts, goals |
| [`draw_mazes`][], [`FAMILIES`][] | mazes at random |
| [`routes`][], [`MOVES`][], [`WAIT`][] | the shortest way, as moves |
| [`walk`][], [`Walk`][] | where moves lead |
| [`pictures`][], [`mazes_of`][], [`read_mazes`][] | what a model sees, and back; a maze that somebody drew |
| [`turned`][], [`turned_moves`][] | rotations and reflections |

Nothing here needs torch.
"""

from merganser.thinking.mazes._draw import FAMILIES, draw_mazes
from merganser.thinking.mazes._files import read_mazes
from merganser.thinking.mazes._mazes import MOVES, WAIT, Mazes
from merganser.thinking.mazes._pictures import mazes_of, pictures, turned, turned_moves
from merganser.thinking.mazes._routes import Walk, routes, walk

__all__ = [
    "FAMILIES",
    "MOVES",
    "WAIT",
    "Mazes",
    "Walk",
    "draw_mazes",
    "mazes_of",
    "pictures",
    "read_mazes",
    "routes",
    "turned",
    "turned_moves",
    "walk",
]
