"""Searches without memory: random candidates, and all weights between two seeds.

| search | candidate |
| --- | --- |
| [`RandomSearch`][] | two seeds, random weight and split point; or what random numbers stand for |
| [`BruteForce`][] | plain SLERP of two seeds, the weight on an even grid over [0, 1] |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from jaxtyping import Float

from merganser.evolution._archive import ArchiveMember
from merganser.evolution._best import Best
from merganser.evolution._genomes import (
    Cross,
    DenseSpace,
    Seeded,
    Space,
    dense_genome,
    drawn_cross,
    random_start,
)
from merganser.evolution._paths import PathSpace
from merganser.evolution._random import KeyedUniforms, keyed_generator, two_of
from merganser.evolution._recipes import RecipeSpace
from merganser.evolution._search import Proposal, Row


@dataclass(frozen=True)
class RandomSearch:
    """State of a random search. Begin with [`RandomSearch.start`][].

    Attributes:
        space: Where genomes live.
        seed: Seed of the run.
        uniforms: The run's random numbers, by child.
        best: The best candidates so far.
        asked: Number of children handed out.
    """

    space: Space | RecipeSpace | PathSpace
    seed: int
    uniforms: KeyedUniforms
    best: Best
    asked: int = 0

    @classmethod
    def start(
        cls,
        space: Space | RecipeSpace | PathSpace,
        weights: Float[np.ndarray, " samples"],
        *,
        seed: int,
        population: int = 20,
    ) -> RandomSearch:
        """A search that has not asked yet; it keeps the best `population` candidates."""
        return cls(space, seed, KeyedUniforms(seed, "random"), Best(population, weights))

    @property
    def members(self) -> Sequence[ArchiveMember]:
        """The best candidates so far."""
        return self.best.members

    @property
    def exhausted(self) -> bool:
        """Never: there is always another candidate."""
        return False

    def ask(self, n: int = 1) -> tuple[RandomSearch, list[Proposal]]:
        """The next `n` candidates."""
        proposals = [self._propose(index) for index in range(self.asked, self.asked + n)]
        return replace(self, asked=self.asked + n), proposals

    def tell(self, proposals: Sequence[Proposal], rows: Sequence[Row]) -> RandomSearch:
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
    ) -> RandomSearch:
        """The same search on other samples; who is not named keeps the mean of its own."""
        return replace(self, best=self.best.on(weights, scores))

    def _propose(self, index: int) -> Proposal:
        seeds = self.space.seeds
        if index < len(seeds):
            return Proposal(index, seeds[index], "seed")
        if isinstance(self.space, DenseSpace) and not self.space.is_around_starts:
            vector = random_start(self.seed, index, self.space.size)
            return Proposal(index, dense_genome(vector), "sample")
        if isinstance(self.space, RecipeSpace):
            genes = keyed_generator(self.seed, "random genes", index).random(len(self.space.genes))
            return Proposal(index, self.space.decode(genes), "sample")
        if isinstance(self.space, PathSpace):
            drawn = keyed_generator(self.seed, "random path", index).standard_normal(len(self.space.start))
            return Proposal(index, self.space.decode(self.space.start + self.space.step * drawn), "sample")
        space, u = cast("Space", self.space), self.uniforms(index).tolist()
        first, second = two_of(len(seeds), u[0], u[1])
        cross = drawn_cross(space, u)
        child = space.child(seeds[first], seeds[second], cross)
        return Proposal(index, child, "sample", (first, second), cross)


@dataclass(frozen=True)
class BruteForce:
    """State of the walk along the arc between two seeds. Begin with [`BruteForce.start`][].

    Attributes:
        space: Where genomes live; it has exactly two seeds.
        steps: Number of weights on the grid, both ends included.
        best: The best candidates so far.
        asked: Number of candidates handed out.
    """

    space: Space
    steps: int
    best: Best
    asked: int = 0

    @classmethod
    def start(
        cls, space: Space, weights: Float[np.ndarray, " samples"], *, steps: int = 1001, population: int = 20
    ) -> BruteForce:
        """A walk that has not begun.

        Raises:
            ValueError: If there are not exactly two seeds, or children would be mutated.
        """
        if len(space.seeds) != 2 or space.mutates:
            raise ValueError(
                f"Brute force walks between exactly two pre-trained seeds, but there are {len(space.seeds)}"
                f"{' and children are mutated' if space.mutates else ''}. Give two models, or use another search."
            )
        if steps < 2:
            raise ValueError(f"A grid over [0, 1] needs at least 2 steps, but has {steps}.")
        return cls(space, steps, Best(population, weights))

    @property
    def members(self) -> Sequence[ArchiveMember]:
        """The best candidates so far."""
        return self.best.members

    @property
    def exhausted(self) -> bool:
        """Whether the whole grid was handed out."""
        return self.asked >= self.steps

    def ask(self, n: int = 1) -> tuple[BruteForce, list[Proposal]]:
        """The next `n` weights, fewer at the end of the grid."""
        last = min(self.asked + n, self.steps)
        return replace(self, asked=last), [self._propose(index) for index in range(self.asked, last)]

    def tell(self, proposals: Sequence[Proposal], rows: Sequence[Row]) -> BruteForce:
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
    ) -> BruteForce:
        """The same search on other samples; who is not named keeps the mean of its own."""
        return replace(self, best=self.best.on(weights, scores))

    def _propose(self, index: int) -> Proposal:
        """The ends of the arc are the seeds themselves, asked for first, so that parents come first here too."""
        first, second = self.space.seeds
        if index < 2:
            return Proposal(index, self.space.seeds[index], "seed")
        cross = Cross(
            (self.steps - index) / (self.steps - 1), 0
        )  # split 0: weight 1 - w of the second parent
        return Proposal(index, self.space.child(first, second, cross), "sample", (0, 1), cross)


def best_with(best: Best, space: Seeded, proposals: Sequence[Proposal], rows: Sequence[Row]) -> Best:
    """The best candidates after these were scored."""
    for proposal, row in zip(proposals, rows, strict=True):
        joined = best.insert(ArchiveMember(proposal.index, proposal.genome, row.scores))
        if joined is not best:
            space.keep(proposal.genome)
        best = joined
    return best
