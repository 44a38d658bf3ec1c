r"""M2N2: model merging of natural niches. With α = 0 and without attraction, the genetic algorithm.

A steady state, one child at a time:

| step | rule |
| --- | --- |
| 1 | parent A by roulette on niche fitness $f$ |
| 2 | parent B by roulette on attraction $g(A, \cdot)$, or on $f$ without attraction |
| 3 | $w_s$ uniform on $[0, P)$, $w_m \sim U[0, 1)$ |
| 4 | child = SLERP of A and B with weight $w_m$ before $w_s$ and $1 - w_m$ after it |
| 5 | from scratch only: noise on every coordinate |
| 6 | score the child, and insert it if it is not the worst of the P + 1 |

Where we decide what the paper leaves open: if nobody adds anything to A, B is drawn by fitness among the
others; if nobody has any fitness, uniformly; without a second member the child is a (mutated) copy.
The seeds are the first children, and `warmup` random seed-with-seed merges may follow.

References:
    Abrantes, Lange, Tang, *Competition and Attraction Improve Model Fusion*, GECCO 2025,
    https://arxiv.org/abs/2508.16204.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float

from merganser.evolution._archive import Archive, ArchiveMember
from merganser.evolution._genomes import Cross, Space, drawn_cross
from merganser.evolution._niches import Niches
from merganser.evolution._random import KeyedUniforms, two_of
from merganser.evolution._rejection import NicheScreening, VisitingPlan, applies
from merganser.evolution._search import Proposal, Row


@dataclass(frozen=True, slots=True)
class Variation:
    """Which parts of the algorithm are on; all of them are, in M2N2.

    Attributes:
        attraction: Choose mates by what they add, instead of by fitness.
        split_point: Other weights on each side of a random split, instead of one for the whole model.
        crossover: Two parents, instead of mutated copies of one.
        early_rejection: Stop scoring children whose fate is certain; changes nothing but the time.
        warmup: Number of random seed-with-seed merges before the search proper.
    """

    attraction: bool = True
    split_point: bool = True
    crossover: bool = True
    early_rejection: bool = True
    warmup: int = 0


@dataclass(frozen=True)
class NaturalNiches:
    """State of a niche search. Begin with [`NaturalNiches.start`][].

    Attributes:
        space: Where genomes live.
        uniforms: The run's random numbers, by child.
        variation: Which parts of the algorithm are on.
        archive: The population.
        asked: Number of children handed out.
    """

    space: Space
    uniforms: KeyedUniforms
    variation: Variation
    archive: Archive
    asked: int = 0

    @classmethod
    def start(
        cls,
        space: Space,
        weights: Float[np.ndarray, " samples"],
        *,
        seed: int,
        population: int = 20,
        niches: Niches = Niches(),
        variation: Variation = Variation(),
    ) -> NaturalNiches:
        """A search that has not asked yet.

        Args:
            space: Where genomes live, with the seeds.
            weights: Weight of each search sample.
            seed: Seed of the run.
            population: Size P of the archive.
            niches: α, ε and whether scores are binary.
            variation: Which parts of the algorithm are on.

        Raises:
            ValueError: If children could never differ from their parents.
        """
        if not variation.crossover and not space.mutates:
            raise ValueError(
                "Without crossover and without mutation every child is a copy of its parent. "
                "Leave crossover on, or evolve dense genomes with mutation."
            )
        archive = Archive.empty(population, weights, niches)
        return cls(space, KeyedUniforms(seed, "niches"), variation, archive)

    @property
    def members(self) -> Sequence[ArchiveMember]:
        """The population."""
        return self.archive.members

    @property
    def exhausted(self) -> bool:
        """Never: there is always another child."""
        return False

    def ask(self, n: int = 1) -> tuple[NaturalNiches, list[Proposal]]:
        """The next `n` children of the present archive; only the first ones while it is empty."""
        last = self.asked + n
        if not self.members:
            last = max(self.asked, min(last, len(self.space.seeds) + self.variation.warmup))
        proposals = [self._propose(index) for index in range(self.asked, last)]
        return self._with(self.archive, last), proposals

    def tell(self, proposals: Sequence[Proposal], rows: Sequence[Row]) -> NaturalNiches:
        """Insert the children that were scored in full; a rejected one leaves no trace."""
        archive = self.archive
        for proposal, row in zip(proposals, rows, strict=True):
            if not row.complete:
                continue
            member = ArchiveMember(proposal.index, proposal.genome, row.scores)
            joined = archive.insert(member)
            if joined is not archive:
                self.space.keep(proposal.genome)
                archive = joined
        return self if archive is self.archive else self._with(archive, self.asked)

    def screen(self, proposal: Proposal) -> NicheScreening | None:
        """Early rejection against the present archive; None where it is off or would not be exact."""
        if not self.variation.early_rejection or proposal.kind == "seed" or not applies(self.archive):
            return None
        return NicheScreening(self._plan)

    @property
    def rivals(self) -> Sequence[ArchiveMember]:
        """The population: it competes for samples."""
        return self.members

    def on(
        self, weights: Float[np.ndarray, " samples"], scores: Mapping[int, Float[np.ndarray, " samples"]]
    ) -> NaturalNiches:
        """The same population competing for other samples."""
        return self._with(self.archive.on(weights, scores), self.asked)

    @cached_property
    def _plan(self) -> VisitingPlan:
        return VisitingPlan.of(self.archive)

    def _with(self, archive: Archive, asked: int) -> NaturalNiches:
        state = replace(self, archive=archive, asked=asked)
        if archive is self.archive and "_plan" in self.__dict__:
            state.__dict__["_plan"] = self._plan
        return state

    def _propose(self, index: int) -> Proposal:
        seeds = self.space.seeds
        if index < len(seeds):
            return Proposal(index, seeds[index], "seed")
        u = self.uniforms(index).tolist()
        if index < len(seeds) + self.variation.warmup:
            first, second = two_of(len(seeds), u[0], u[1])
            return self._child(index, "warm-up", (first, seeds[first]), (second, seeds[second]), u)
        return self._offspring(index, u)

    def _offspring(self, index: int, u: list[float]) -> Proposal:
        archive = self.archive
        slot = archive.draw_parent(u[0])
        first = archive.members[slot]
        if not self.variation.crossover:
            return self._child(index, "copy", (first.index, first.genome), None, u)
        mate = archive.draw_mate(slot, u[1]) if self.variation.attraction else archive.draw_parent(u[1])
        second = archive.members[mate]
        return self._child(index, "cross", (first.index, first.genome), (second.index, second.genome), u)

    def _child(
        self,
        index: int,
        kind: str,
        first: tuple[int, object],
        second: tuple[int, object] | None,
        u: list[float],
    ) -> Proposal:
        space = self.space
        if second is None:
            cross = Cross(0.0, 0, (u[4], u[5]) if space.mutates else None)
            return Proposal(index, space.child(first[1], None, cross), kind, (first[0],), cross)
        cross = drawn_cross(space, u, split_point=self.variation.split_point)
        return Proposal(index, space.child(first[1], second[1], cross), kind, (first[0], second[0]), cross)
