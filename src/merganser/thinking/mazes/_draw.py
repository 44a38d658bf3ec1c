"""Mazes drawn at random, many at once: every step of an algorithm is taken in all of them together.

| family | how | what it is like |
| --- | --- | --- |
| `depth-first` | go on to a random new neighbour; back where there is none | few long, winding corridors; one way |
| `prim` | from all that was reached, join a random neighbour | many short dead ends; one way |
| `loops` | depth first, then one in ten of the walls that are left opens | several ways, the shortest counts |

The paper's mazes are of the first family, which is the default of the program that drew them.

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, section 4.2, https://arxiv.org/abs/2505.05522
    Prim, *Shortest connection networks and some generalizations*, Bell System Technical Journal 36, 1957
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Int

from merganser._errors import ConfigError
from merganser.thinking.mazes._mazes import Mazes

_AT_ONCE = 1024
"""Mazes whose algorithm runs together; more would not fit into the cache."""
_OPENED = 0.1
_LEAST = np.float32(1e-30)
"""A drawn number may be 0; a neighbour that is there must be likelier than one that is not."""
_SMALLEST = 5

Grids = Bool[np.ndarray, "mazes rows columns"]


def draw_mazes(number: int, size: int, *, family: str = "depth-first", rng: np.random.Generator) -> Mazes:
    """Draw mazes; start and goal are two cells drawn evenly.

    Args:
        number: How many.
        size: Pixels of a side, odd and at least 5: a maze of n×n cells has 2n + 1.
        family: One of [`FAMILIES`][].
        rng: What they follow from.

    Raises:
        ConfigError: If there is no such family, or no mazes of this size.

    Examples:
        >>> mazes = draw_mazes(2, 9, rng=np.random.default_rng(0))
        >>> mazes.passages.sum(axis=(1, 2)).tolist()  # 16 cells, 15 passages between them
        [31, 31]
    """
    if family not in FAMILIES:
        raise ConfigError(f"Expected a family of mazes among {', '.join(FAMILIES)}, found {family!r}.")
    if size < _SMALLEST or size % 2 == 0:
        raise ConfigError(f"Expected mazes of an odd size of at least {_SMALLEST} pixels, found {size}.")
    if number < 0:
        raise ConfigError(f"Expected a number of mazes that is not negative, found {number}.")
    side = size // 2
    parts = [
        FAMILIES[family](min(_AT_ONCE, number - k), side, rng) for k in range(0, max(number, 1), _AT_ONCE)
    ]
    ends = _two_cells(number, side, rng)
    return Mazes(np.concatenate(parts), ends[:, 0], ends[:, 1])


def _two_cells(number: int, side: int, rng: np.random.Generator) -> Int[np.ndarray, "mazes 2 2"]:
    """Two different cells of each maze, as pixels."""
    first = rng.integers(side * side, size=number)
    second = (first + rng.integers(1, side * side, size=number)) % (side * side)
    cells = np.stack([first, second], axis=1)
    return 2 * np.stack([cells // side, cells % side], axis=2) + 1


class _Grid:
    """Cells of many mazes as one flat array, with a border that is never new, and the pixels they make.

    Attributes:
        steps: From a cell to its neighbours.
        new: Cells that are not reached yet.
    """

    def __init__(self, number: int, side: int) -> None:
        self._number, self._side, self._wide = number, side, side + 2
        self.steps = np.array([-self._wide, self._wide, -1, 1])
        new = np.zeros((number, self._wide, self._wide), dtype=bool)
        new[:, 1:-1, 1:-1] = True
        self.new = new.reshape(-1)
        pixels = np.zeros((number, 2 * self._wide, 2 * self._wide), dtype=bool)
        self._pixels, self._flat = pixels, pixels.reshape(-1)
        self._pixel_steps = np.array([-2 * self._wide, 2 * self._wide, -1, 1])

    def begin(self, rng: np.random.Generator) -> Int[np.ndarray, " mazes"]:
        """A cell of each maze, which is reached."""
        rows, columns = rng.integers(1, self._side + 1, size=(2, self._number))
        cells = (np.arange(self._number) * self._wide + rows) * self._wide + columns
        self._reach(cells)
        return cells

    def join(self, cells: Int[np.ndarray, " n"], directions: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Open the wall between cells and their neighbours, which are reached by it."""
        self._flat[self._pixel(cells) + self._pixel_steps[directions]] = True
        reached = cells + self.steps[directions]
        self._reach(reached)
        return reached

    def passages(self) -> Grids:
        """Pixels where one can walk, without the border but its inner line, which is a wall."""
        return self._pixels[:, 1 : 2 * self._side + 2, 1 : 2 * self._side + 2].copy()

    def _reach(self, cells: Int[np.ndarray, " n"]) -> None:
        self.new[cells] = False
        self._flat[self._pixel(cells)] = True

    def _pixel(self, cells: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        rows, columns = np.divmod(cells, self._wide)  # rows of all mazes, one below the other
        return 4 * self._wide * rows + 2 * columns


def _depth_first(number: int, side: int, rng: np.random.Generator) -> Grids:
    grid, every = _Grid(number, side), np.arange(number)
    stacks = np.zeros((number, side * side), dtype=np.int64)
    stacks[:, 0] = now = grid.begin(rng)
    depths, left = np.zeros(number, dtype=np.int64), np.full(number, side * side - 1)
    while len(every):
        new = grid.new[now[:, None] + grid.steps]
        chances = np.maximum(rng.random(new.shape, dtype=np.float32), _LEAST)
        directions = (new * chances).argmax(axis=1)
        goes = new.any(axis=1)
        on, back = np.flatnonzero(goes), np.flatnonzero(~goes)
        now[on] = grid.join(now[on], directions[on])
        depths[on] += 1
        stacks[every[on], depths[on]] = now[on]
        depths[back] -= 1
        now[back] = stacks[every[back], depths[back]]
        left[on] -= 1
        if not left.all():
            going = left > 0
            every, now, depths, left = every[going], now[going], depths[going], left[going]
    return grid.passages()


def _prim(number: int, side: int, rng: np.random.Generator) -> Grids:
    """Of all ways from a reached cell to a new one, each is as likely to be taken next."""
    grid, every = _Grid(number, side), np.arange(number)
    ways = np.zeros(
        (number, 4 * side * side), dtype=np.int64
    )  # cells and directions; no more than `counts` of them
    counts, left = np.zeros(number, dtype=np.int64), np.full(number, side * side - 1)

    def add(chosen: Int[np.ndarray, " n"], cells: Int[np.ndarray, " n"]) -> None:
        new = grid.new[cells[:, None] + grid.steps]
        rows, directions = np.nonzero(new)
        places = (counts[chosen, None] + new.cumsum(axis=1) - 1)[rows, directions]
        ways[every[chosen][rows], places] = 4 * cells[rows] + directions
        counts[chosen] += new.sum(axis=1)

    add(every, grid.begin(rng))
    while len(every):
        chosen = (rng.random(len(every)) * counts).astype(np.int64)
        cells, directions = np.divmod(ways[every, chosen], 4)
        counts -= 1
        ways[every, chosen] = ways[every, counts]  # the last one takes the place
        on = np.flatnonzero(grid.new[cells + grid.steps[directions]])  # others were reached on another way
        left[on] -= 1
        add(on, grid.join(cells[on], directions[on]))
        if not left.all():
            going = left > 0
            every, counts, left = every[going], counts[going], left[going]
    return grid.passages()


def _loops(number: int, side: int, rng: np.random.Generator) -> Grids:
    passages = _depth_first(number, side, rng)
    inner = np.zeros(passages.shape[1:], dtype=bool)
    inner[1:-1:2, 2:-1:2] = inner[2:-1:2, 1:-1:2] = True
    return passages | (inner & (rng.random(passages.shape, dtype=np.float32) < _OPENED))


FAMILIES: Mapping[str, Callable[[int, int, np.random.Generator], Grids]] = MappingProxyType(
    {"depth-first": _depth_first, "prim": _prim, "loops": _loops}
)
"""How mazes are drawn, by name."""
