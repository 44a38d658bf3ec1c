"""The best candidates seen so far, for searches that keep no population of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from merganser.evolution._archive import ArchiveMember


def weighted_means(
    scores: Float[np.ndarray, "models samples"],
    weights: Float[np.ndarray, " samples"],
    measured: Bool[np.ndarray, "models samples"] | None = None,
) -> Float[np.ndarray, " models"]:
    """Mean score of each model over samples, by their weights; what every search except the niches maximises.

    Args:
        scores: Score of every model on every sample; 0 where not measured.
        weights: Weight of each sample.
        measured: What was measured; None if everything was. Means are over what was; without anything they are 0.
    """
    if measured is None:
        return scores @ (weights / weights.sum())
    known = measured @ weights
    return scores @ weights / np.where(known > 0, known, 1.0)


def weighted_mean(
    scores: Float[np.ndarray, " samples"],
    weights: Float[np.ndarray, " samples"],
    measured: Bool[np.ndarray, " samples"] | None = None,
) -> float:
    """The same for one model."""
    if measured is None:
        return float(scores @ (weights / weights.sum()))
    return float(weighted_means(scores[None], weights, measured[None])[0])


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

    def on(
        self, weights: Float[np.ndarray, " samples"], scores: Mapping[int, Float[np.ndarray, " samples"]]
    ) -> Best:
        """The list on other samples, in the order of what is known now.

        Args:
            weights: Weight of each of the samples.
            scores: Scores of members there, by index; the others keep theirs, and their quality.
        """
        ranked = sorted(
            (
                (weighted_mean(scores[m.index], weights), replace(m, scores=scores[m.index]))
                if m.index in scores
                else (quality, m)
                for quality, m in zip(self.qualities, self.members, strict=True)
            ),
            key=lambda pair: (-pair[0], pair[1].index),
        )
        return Best(self.capacity, weights, tuple(m for _, m in ranked), tuple(q for q, _ in ranked))
