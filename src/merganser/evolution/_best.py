"""The best candidates seen so far, for searches that keep no population of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from merganser.evolution._archive import ArchiveMember


def weighted_means(
    scores: Float[np.ndarray, "models samples"], weights: Float[np.ndarray, " samples"]
) -> Float[np.ndarray, " models"]:
    """Mean score of each model over samples, by their weights; what every search except the niches maximises."""
    return scores @ (weights / weights.sum())


def weighted_mean(scores: Float[np.ndarray, " samples"], weights: Float[np.ndarray, " samples"]) -> float:
    """The same for one model."""
    return float(scores @ (weights / weights.sum()))


@dataclass(frozen=True)
class Best:
    """At most `capacity` members with the highest weighted mean score; among equals the earlier one.

    Attributes:
        capacity: How many to keep.
        weights: Weight of each sample.
        members: The members, best first.
        qualities: Their weighted mean scores.
    """

    capacity: int
    weights: Float[np.ndarray, " samples"]
    members: tuple[ArchiveMember, ...] = ()
    qualities: tuple[float, ...] = ()

    def insert(self, child: ArchiveMember) -> Best:
        """The list after one more candidate."""
        quality = weighted_mean(child.scores, self.weights)
        place = sum(q >= quality for q in self.qualities)
        if place >= self.capacity:
            return self
        members = (*self.members[:place], child, *self.members[place:])
        qualities = (*self.qualities[:place], quality, *self.qualities[place:])
        return Best(self.capacity, self.weights, members[: self.capacity], qualities[: self.capacity])
