r"""MAP-Elites: the best candidate in each cell of a grid of behaviours.

A candidate's behaviour is its mean score on each of two groups of samples (for digits: the odd and the even
ones); the cell is $\min(\lfloor 10\,b \rfloor, 9)$ on each axis, its quality the mean score on all samples. Two
occupied cells, different ones, drawn in proportion to quality, are the parents; crossover and mutation are
those of the natural niches.

Where we differ from the authors' code: a perfect score lands in the last cell (theirs falls off the grid and
is dropped), and parents are drawn with replacement only if there is one cell (theirs: if qualities sum to
less than 2).

References:
    Mouret, Clune, *Illuminating Search Spaces by Mapping Elites*, 2015, https://arxiv.org/abs/1504.04909.
    Abrantes, Lange, Tang, GECCO 2025, https://arxiv.org/abs/2508.16204 (the baseline's settings).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float

from merganser.evolution._archive import ArchiveMember
from merganser.evolution._best import weighted_mean
from merganser.evolution._genomes import Space, drawn_cross
from merganser.evolution._random import KeyedUniforms
from merganser.evolution._search import Proposal, Row

Cell = tuple[int, int]


@dataclass(frozen=True)
class MapElites:
    """State of MAP-Elites. Begin with [`MapElites.start`][].

    Attributes:
        space: Where genomes live.
        uniforms: The run's random numbers, by child.
        weights: Weight of each search sample.
        groups: Which samples belong to each of the two behaviours.
        bins: Cells per axis.
        cells: The elite of each occupied cell.
        qualities: Its quality.
        elites: All elites, in the order of their cells.
        asked: Number of children handed out.
    """

    space: Space
    uniforms: KeyedUniforms
    weights: Float[np.ndarray, " samples"]
    groups: Bool[np.ndarray, "2 samples"]
    bins: int
    cells: Mapping[Cell, ArchiveMember] = field(default_factory=lambda: MappingProxyType({}))
    qualities: Mapping[Cell, float] = field(default_factory=lambda: MappingProxyType({}))
    elites: tuple[ArchiveMember, ...] = ()
    asked: int = 0

    @classmethod
    def start(
        cls,
        space: Space,
        weights: Float[np.ndarray, " samples"],
        *,
        seed: int,
        groups: Bool[np.ndarray, "2 samples"],
        bins: int = 10,
    ) -> MapElites:
        """A search that has not asked yet.

        Raises:
            ValueError: If a group holds no sample or `bins` is not positive.
        """
        if bins < 1 or not groups.any(axis=1).all():
            raise ValueError(
                f"MAP-Elites needs at least one bin and two groups of samples with at least one each, but got {bins} "
                f"bins and groups of {groups.sum(axis=1).tolist()} samples."
            )
        return cls(space, KeyedUniforms(seed, "map-elites"), weights, groups, bins)

    @property
    def members(self) -> Sequence[ArchiveMember]:
        """The elites, in the order of their cells."""
        return self.elites

    @property
    def exhausted(self) -> bool:
        """Never: there is always another child."""
        return False

    def cell(self, scores: Float[np.ndarray, " samples"]) -> Cell:
        """The cell a row of scores belongs to."""
        behaviour = [float(scores[group].mean()) for group in self.groups]
        low, high = (min(int(b * self.bins), self.bins - 1) for b in behaviour)
        return low, high

    def ask(self, n: int = 1) -> tuple[MapElites, list[Proposal]]:
        """The next `n` children of the present grid; only the seeds while it is empty."""
        last = self.asked + n
        if not self.cells:
            last = max(self.asked, min(last, len(self.space.seeds)))
        proposals = [self._propose(index) for index in range(self.asked, last)]
        return replace(self, asked=last), proposals

    def tell(self, proposals: Sequence[Proposal], rows: Sequence[Row]) -> MapElites:
        """Put each child into its cell if that is empty or it is better than who is there."""
        cells, qualities, changed = dict(self.cells), dict(self.qualities), False
        for proposal, row in zip(proposals, rows, strict=True):
            cell, quality = self.cell(row.scores), weighted_mean(row.scores, self.weights)
            if cell not in cells or quality > qualities[cell]:
                self.space.keep(proposal.genome)
                cells[cell] = ArchiveMember(proposal.index, proposal.genome, row.scores)
                qualities[cell] = quality
                changed = True
        if not changed:
            return self
        elites = tuple(cells[c] for c in sorted(cells))
        return replace(
            self, cells=MappingProxyType(cells), qualities=MappingProxyType(qualities), elites=elites
        )

    def screen(self, proposal: Proposal) -> None:
        """No early rejection: a bad child may found a cell."""

    def _propose(self, index: int) -> Proposal:
        seeds = self.space.seeds
        if index < len(seeds):
            return Proposal(index, seeds[index], "seed")
        u = self.uniforms(index).tolist()
        first, second = self._parents(u[0], u[1])
        cross = drawn_cross(self.space, u)
        child = self.space.child(first.genome, second.genome, cross)
        return Proposal(index, child, "cross", (first.index, second.index), cross)

    def _parents(self, u: float, v: float) -> tuple[ArchiveMember, ArchiveMember]:
        occupied = sorted(self.cells)
        shares = np.array([self.qualities[c] for c in occupied])
        first = _draw(shares, u)
        if len(occupied) > 1:
            shares[first] = 0.0
            if not shares.any():
                shares[:] = 1.0
                shares[first] = 0.0
        second = _draw(shares, v)
        return self.cells[occupied[first]], self.cells[occupied[second]]


def _draw(shares: Float[np.ndarray, " cells"], u: float) -> int:
    wheel = np.cumsum(shares if shares.any() else np.ones_like(shares))
    return min(int(wheel.searchsorted(u * wheel[-1], side="right")), len(wheel) - 1)
