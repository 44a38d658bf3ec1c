"""The population of a niche search: members, their scores, and what follows from them.

An archive is a value. Whatever is derived from it (fitness, prices, the order in which a child meets the
samples) is computed once and lives as long as this archive does; only few children change it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from merganser.evolution._niches import Niches, attraction, capacities, prices

TIE = 1e-10
"""Niche fitnesses closer than this are equal, as a share of the largest where that is below 1; sums of at most 20
different unit fractions differ by more."""


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """A candidate in a population.

    Attributes:
        index: Number of the child in its run.
        genome: The candidate.
        scores: Its score on every sample that it competes on, in [0, 1].
    """

    index: int
    genome: Any
    scores: Float[np.ndarray, " samples"]


@dataclass(frozen=True)
class Archive:
    """At most `capacity` members that compete for the samples.

    Attributes:
        capacity: Population size P.
        members: The members by slot; a child that replaces one takes its slot.
        scores: Score of every member on every sample, float64.
        niches: How they compete.
        weights: Weight of each sample.
    """

    capacity: int
    members: tuple[ArchiveMember, ...]
    scores: Float[np.ndarray, "members samples"]
    niches: Niches
    weights: Float[np.ndarray, " samples"]

    @classmethod
    def empty(cls, capacity: int, weights: Float[np.ndarray, " samples"], niches: Niches) -> Archive:
        """An archive without members."""
        if capacity < 1:
            raise ValueError(f"A population needs at least 1 member, but capacity is {capacity}.")
        return cls(capacity, (), np.empty((0, len(weights))), niches, np.asarray(weights, dtype=np.float64))

    @property
    def full(self) -> bool:
        """Whether a child has to displace somebody to get in."""
        return len(self.members) >= self.capacity

    @cached_property
    def demand(self) -> Float[np.ndarray, " samples"]:
        """Summed scores $z_j$ of the members."""
        return self.scores.sum(axis=0)

    @cached_property
    def capacity_of_samples(self) -> Float[np.ndarray, " samples"]:
        """Units of fitness $w_j c_j$ that each sample hands out."""
        return capacities(self.scores, self.niches, self.weights)

    @cached_property
    def price(self) -> Float[np.ndarray, " samples"]:
        """Worth $p_j$ of one unit of score on each sample."""
        return prices(self.demand, self.capacity_of_samples, self.niches)

    @cached_property
    def fitness(self) -> Float[np.ndarray, " members"]:
        """Niche fitness of the members among themselves (eq. 5)."""
        return self.scores @ self.price

    @cached_property
    def _parent_wheel(self) -> Float[np.ndarray, " members"]:
        return _wheel(self.fitness)

    @cached_property
    def _mate_wheels(self) -> dict[int, np.ndarray]:
        return {}

    def draw_parent(self, u: float) -> int:
        """Slot of a member drawn in proportion to its fitness; uniformly if nobody has any.

        Args:
            u: A uniform number in [0, 1).
        """
        return _spin(self._parent_wheel, u)

    def draw_mate(self, first: int, u: float) -> int:
        """Slot of a mate for the member in slot `first`, drawn in proportion to its attraction (eq. 4).

        If nobody adds anything to `first`, the mate is drawn by fitness among the others; a lone member
        mates with itself.

        Args:
            first: Slot of the first parent.
            u: A uniform number in [0, 1).
        """
        if first not in self._mate_wheels:
            pull = attraction(self.scores, first, self.price)
            if not pull.any() and len(self.members) > 1:
                pull = self.fitness.copy()
                pull[first] = 0.0
                if not pull.any():
                    pull = np.ones(len(self.members))
                    pull[first] = 0.0
            self._mate_wheels[first] = _wheel(pull)
        return _spin(self._mate_wheels[first], u)

    def on(
        self, weights: Float[np.ndarray, " others"], scores: Mapping[int, Float[np.ndarray, " others"]]
    ) -> Archive:
        """The same members on other samples.

        Args:
            weights: Weight of each of the samples.
            scores: Scores of every member there, by index.
        """
        members = tuple(replace(m, scores=scores[m.index]) for m in self.members)
        rows = np.array([m.scores for m in members], dtype=np.float64).reshape(len(members), len(weights))
        return replace(self, members=members, scores=rows, weights=weights)

    def insert(self, child: ArchiveMember) -> Archive:
        """The archive after a child asked to join.

        The child is counted in the demand; whoever then has the least niche fitness leaves. Ties remove
        the lowest slot, so an incumbent loses a tie to the child. If the child itself is the worst, this
        very archive is returned. An archive that is not full takes everybody.
        """
        scores = np.asarray(child.scores, dtype=np.float64)
        if not self.full:
            return replace(self, members=(*self.members, child), scores=np.vstack([self.scores, scores]))
        worst = self._worst_with(scores)
        if worst == len(self.members):
            return self
        members = (*self.members[:worst], child, *self.members[worst + 1 :])
        rows = self.scores.copy()
        rows[worst] = scores
        return replace(self, members=members, scores=rows)

    def _worst_with(self, scores: Float[np.ndarray, " samples"]) -> int:
        capacity = self.capacity_of_samples
        if not self.niches.binary:
            capacity = np.maximum(capacity, scores * self.weights)
        price = prices(self.demand + scores, capacity, self.niches)
        fitness = np.append(self.scores @ price, scores @ price)
        tie = TIE * min(1.0, float(fitness.max()))
        return int(np.flatnonzero(fitness <= fitness.min() + tie)[0])


def _wheel(shares: Float[np.ndarray, " members"]) -> Float[np.ndarray, " members"]:
    """Cumulated probabilities of a roulette wheel; equal parts if all shares are zero."""
    if not shares.any():
        shares = np.ones_like(shares)
    wheel = np.cumsum(shares)
    return wheel / wheel[-1]


def _spin(wheel: Float[np.ndarray, " members"], u: float) -> int:
    return min(int(wheel.searchsorted(u, side="right")), len(wheel) - 1)
