"""Mazes: drawn many at once, with their shortest routes, as pictures and back.

| names | what |
| --- | --- |
| [`Mazes`][], [`joined`][] | where one can walk, starts, goals |
| [`draw_mazes`][], [`FAMILIES`][] | mazes at random |
| [`routes`][], [`MOVES`][], [`STEPS`][], [`WAIT`][] | the shortest way, as moves |
| [`walk`][], [`Walk`][] | where moves lead |
| [`pictures`][], [`mazes_of`][] | what a model sees, and back |
| [`turned`][], [`turned_moves`][], [`augmented`][] | rotations and reflections |
| [`wall_codes`][] | which mazes are alike but for their position |
| [`read_mazes`][], [`write_mazes`][] | pictures in files |

Nothing here needs torch.
"""

from merganser.thinking.mazes._draw import FAMILIES, draw_mazes
from merganser.thinking.mazes._files import read_mazes, write_mazes
from merganser.thinking.mazes._kinds import wall_codes
from merganser.thinking.mazes._mazes import MOVES, STEPS, WAIT, Mazes, joined
from merganser.thinking.mazes._pictures import augmented, mazes_of, pictures, turned, turned_moves
from merganser.thinking.mazes._routes import Walk, routes, walk

__all__ = [
    "FAMILIES",
    "MOVES",
    "STEPS",
    "WAIT",
    "Mazes",
    "Walk",
    "augmented",
    "draw_mazes",
    "joined",
    "mazes_of",
    "pictures",
    "read_mazes",
    "routes",
    "turned",
    "turned_moves",
    "walk",
    "wall_codes",
    "write_mazes",
]
