r"""NSGA-II as a steady state: every task is an objective, and the population spreads along the Pareto front.

One child at a time:

| step | rule |
| --- | --- |
| 1 | each parent wins a tournament of two: lower rank, then greater crowding distance |
| 2 | child: crossover of the natural niches for models, simulated binary crossover and mutation for genes |
| 3 | score it: one point of objectives, the mean score on each task |
| 4 | it joins; of the μ + 1 the last in the crowded order leaves |

Where we differ from the paper: it makes N children, pools them with their N parents and keeps half; here children enter
one by one, so that none waits for the end of a generation and each has the latest parents (Durillo et al. compare the
two). The parents of a child are two different members. A child that is a member already does not enter, and a member
whose point another has too comes after everybody whose point is its own, so that copies do not crowd out the front.

Seeds are the first members. Genes of recipes have no parents among the models, which are no merges: the middle of all
bounds and random vectors follow, until there would be a population of them.

References:
    Deb, Pratap, Agarwal, Meyarivan, *A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II*, IEEE
    Transactions on Evolutionary Computation 6(2), 2002, https://doi.org/10.1109/4235.996017.
    Durillo, Nebro, Luna, Alba, *On the Effect of the Steady-State Selection Scheme in Multi-Objective Genetic
    Algorithms*, EMO 2009, https://doi.org/10.1007/978-3-642-01020-0_18.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from merganser.evolution._archive import ArchiveMember
from merganser.evolution._gene_variation import varied
from merganser.evolution._genomes import Space, drawn_cross
from merganser.evolution._objectives import Objectives
from merganser.evolution._pareto import crowded_order
from merganser.evolution._random import KeyedUniforms, keyed_generator, two_of
from merganser.evolution._recipes import RecipeGenome, RecipeSpace
from merganser.evolution._search import Proposal, Row


@dataclass(frozen=True)
class Nsga2:
    """State of NSGA-II. Begin with [`Nsga2.start`][].

    Attributes:
        space: Where genomes live.
        seed: Seed of the run.
        crosses: The run's random numbers for crossover, by child.
        tournaments: Those for the choice of parents.
        objectives: What is aimed at.
        capacity: Population size μ.
        members: The population, in order of age.
        points: The objectives of each member.
        asked: Number of children handed out.
    """

    space: Space | RecipeSpace
    seed: int
    crosses: KeyedUniforms
    tournaments: KeyedUniforms
    objectives: Objectives
    capacity: int
    members: tuple[ArchiveMember, ...]
    points: Float[np.ndarray, "members objectives"]
    asked: int = 0

    @classmethod
    def start(
        cls, space: Space | RecipeSpace, objectives: Objectives, *, seed: int, population: int = 20
    ) -> Nsga2:
        """A search that has not asked yet.

        Args:
            space: Where genomes live, with the seeds.
            objectives: What is aimed at.
            seed: Seed of the run.
            population: Size μ of the population.

        Raises:
            ValueError: If the population has fewer than two members.
        """
        if population < 2:
            raise ValueError(f"NSGA-II needs a population of at least 2, but `population` is {population}.")
        crosses, tournaments = KeyedUniforms(seed, "nsga2"), KeyedUniforms(seed, "nsga2 tournaments")
        points = np.empty((0, len(objectives.names)))
        return cls(space, seed, crosses, tournaments, objectives, population, (), points)

    @property
    def exhausted(self) -> bool:
        """Never: there is always another child."""
        return False

    def ask(self, n: int = 1) -> tuple[Nsga2, list[Proposal]]:
        """The next `n` children of the present population; only those without parents while there are none."""
        last = self.asked + n
        if not self.members:
            last = max(self.asked, min(last, self._without_parents))
        proposals = [self._propose(index) for index in range(self.asked, last)]
        return replace(self, asked=last), proposals

    def tell(self, proposals: Sequence[Proposal], rows: Sequence[Row]) -> Nsga2:
        """Let the children join one after the other."""
        state = self
        for proposal, row in zip(proposals, rows, strict=True):
            state = state._with(ArchiveMember(proposal.index, proposal.genome, row.scores))
        return state

    def screen(self, proposal: Proposal) -> None:
        """No early rejection: every child is scored in full."""

    def _with(self, child: ArchiveMember) -> Nsga2:
        if any(child.genome.digest == member.genome.digest for member in self.members):
            return self
        members = (*self.members, child)
        points = np.vstack([self.points, self.objectives.points(child.scores)])
        if len(members) > self.capacity:
            last = int(crowded_order(points)[-1])
            if last == self.capacity:
                return self
            members, points = (*members[:last], *members[last + 1 :]), np.delete(points, last, axis=0)
        self.space.keep(child.genome)
        return replace(self, members=members, points=points)

    @property
    def _without_parents(self) -> int:
        """Number of children that come first and have no parents: seeds, and first vectors of genes."""
        return len(self.space.seeds) + (self.capacity if isinstance(self.space, RecipeSpace) else 0)

    @cached_property
    def _able(self) -> Int[np.ndarray, " parents"]:
        """Members that can be parents, the best first; models cannot, where genes of merges are searched."""
        order = crowded_order(self.points)
        if not isinstance(self.space, RecipeSpace):
            return order
        return np.array([i for i in order if _genes(self.members[i]).size], dtype=int)

    def _propose(self, index: int) -> Proposal:
        seeds = self.space.seeds
        if index < len(seeds):
            return Proposal(index, seeds[index], "seed")
        if isinstance(self.space, RecipeSpace):
            return self._recipe(index, self.space)
        first, second = self._parents(index)
        cross = drawn_cross(self.space, self.crosses(index).tolist())
        child = self.space.child(first.genome, second.genome, cross)
        return Proposal(index, child, "cross", (first.index, second.index), cross)

    def _recipe(self, index: int, space: RecipeSpace) -> Proposal:
        generator = keyed_generator(self.seed, "nsga2 genes", index)
        if index == len(space.seeds):
            return Proposal(index, space.decode(space.start), "sample")
        if index < self._without_parents or not len(self._able):
            return Proposal(index, space.decode(generator.random(len(space.genes))), "sample")
        first, second = self._parents(index)
        genes = varied(_genes(first), _genes(second), generator)
        return Proposal(index, space.decode(genes), "cross", (first.index, second.index))

    def _parents(self, index: int) -> tuple[ArchiveMember, ArchiveMember]:
        """Winners of two tournaments; the second is held without the first winner, unless nobody else is there."""
        u = self.tournaments(index).tolist()
        able = self._able
        first = min(two_of(len(able), u[0], u[1]))
        others = np.delete(able, first) if len(able) > 1 else able
        second = min(two_of(len(others), u[2], u[3]))
        return self.members[able[first]], self.members[others[second]]


def _genes(member: ArchiveMember) -> Float[np.ndarray, " genes"]:
    """The coordinates a member was decoded from; none for a model."""
    return np.array(member.genome.genes if isinstance(member.genome, RecipeGenome) else ())
