"""All values of a recipe's genes, one after the other.

Numbers share the points of the grid: one gene has them all, of two each has the square root. A word or flag is tried
with every value that it may have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from merganser.evolution._archive import ArchiveMember
from merganser.evolution._best import Best
from merganser.evolution._recipes import RecipeSpace
from merganser.evolution._sampling import best_with
from merganser.evolution._search import Proposal, Row

_MOST_NUMBERS = 2


@dataclass(frozen=True)
class Grid:
    """State of a walk over the grid. Begin with [`Grid.start`][].

    Attributes:
        space: The genes.
        axes: Coordinates of each gene.
        best: The best candidates so far.
        asked: Number of candidates handed out, seeds included.
    """

    space: RecipeSpace
    axes: tuple[Float[np.ndarray, " values"], ...]
    best: Best
    asked: int = 0

    @classmethod
    def start(
        cls,
        space: RecipeSpace,
        weights: Float[np.ndarray, " samples"],
        *,
        steps: int = 1001,
        population: int = 20,
    ) -> Grid:
        """A walk that has not begun.

        Args:
            space: The genes; at most two of them numbers.
            weights: Weight of each search sample.
            steps: Points of the grid, about; at least 2.
            population: How many of the best candidates to keep.

        Raises:
            ValueError: If more than two genes are numbers.
        """
        numbers = sum(not gene.domain.choices for gene in space.genes)
        if numbers > _MOST_NUMBERS:
            raise ValueError(
                f"Brute force tries all values of one gene or two, but there are {numbers} numbers to search. "
                "Use cma-es, or search fewer parameters."
            )
        each = steps if numbers < _MOST_NUMBERS else max(math.isqrt(steps), 2)
        return cls(space, tuple(gene.domain.axis(each) for gene in space.genes), Best(population, weights))

    @property
    def size(self) -> int:
        """Number of points of the grid."""
        return math.prod(map(len, self.axes))

    @property
    def members(self) -> Sequence[ArchiveMember]:
        """The best candidates so far."""
        return self.best.members

    @property
    def exhausted(self) -> bool:
        """Whether the whole grid was handed out."""
        return self.asked >= len(self.space.seeds) + self.size

    def ask(self, n: int = 1) -> tuple[Grid, list[Proposal]]:
        """The next `n` points, fewer at the end of the grid."""
        last = min(self.asked + n, len(self.space.seeds) + self.size)
        return replace(self, asked=last), [self._propose(index) for index in range(self.asked, last)]

    def tell(self, proposals: Sequence[Proposal], rows: Sequence[Row]) -> Grid:
        """Remember the best."""
        return replace(self, best=best_with(self.best, self.space, proposals, rows))

    def screen(self, proposal: Proposal) -> None:
        """No early rejection: every candidate is scored in full."""

    @property
    def rivals(self) -> Sequence[ArchiveMember]:
        """Nobody: candidates are compared by their means, which are estimates on a subset."""
        return ()

    def on(
        self, weights: Float[np.ndarray, " samples"], scores: Mapping[int, Float[np.ndarray, " samples"]]
    ) -> Grid:
        """The same search on other samples; who is not named keeps the mean of its own."""
        return replace(self, best=self.best.on(weights, scores))

    def _propose(self, index: int) -> Proposal:
        seeds = self.space.seeds
        if index < len(seeds):
            return Proposal(index, seeds[index], "seed")
        places = np.unravel_index(index - len(seeds), [len(axis) for axis in self.axes])
        point = np.array([axis[place] for axis, place in zip(self.axes, places, strict=True)])
        return Proposal(index, self.space.decode(point), "sample")
