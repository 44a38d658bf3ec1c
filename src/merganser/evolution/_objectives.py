"""Several aims instead of one: which samples belong to which objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

MOST_OBJECTIVES = 255


@dataclass(frozen=True)
class Objectives:
    """A partition of the search samples; an objective is the mean score on its part.

    Attributes:
        names: What people call the objectives.
        owner: Place among the names that each sample belongs to.

    Raises:
        ValueError: If there are fewer than two or more than 255 objectives, or one has no sample.

    Examples:
        >>> Objectives(("odd", "even"), np.array([1, 0, 1])).points(np.array([1.0, 0.0, 0.0])).tolist()
        [0.0, 0.5]
    """

    names: tuple[str, ...]
    owner: Int[np.ndarray, " samples"]

    def __post_init__(self) -> None:
        """Check that every objective can be measured."""
        if not 2 <= len(self.names) <= MOST_OBJECTIVES:
            raise ValueError(
                f"A search for several things needs 2 to {MOST_OBJECTIVES} objectives, but has {len(self.names)}."
            )
        empty = next((name for name, count in zip(self.names, self._counts, strict=True) if not count), None)
        if empty is not None:
            raise ValueError(f"The objective `{empty}` has no sample to be measured on.")

    @classmethod
    def of_sizes(cls, names: Sequence[str], sizes: Sequence[int]) -> Objectives:
        """Objectives whose samples follow one another.

        Args:
            names: Their names; equal ones are numbered.
            sizes: Number of samples of each.
        """
        given = list(names)
        told_apart = (n if given.count(n) == 1 else f"{n} {i}" for i, n in enumerate(given, start=1))
        return cls(tuple(told_apart), np.repeat(np.arange(len(sizes)), sizes))

    @cached_property
    def groups(self) -> Bool[np.ndarray, "objectives samples"]:
        """Which samples belong to each objective."""
        return self.owner == np.arange(len(self.names))[:, None]

    @cached_property
    def _counts(self) -> Int[np.ndarray, " objectives"]:
        return np.bincount(self.owner, minlength=len(self.names))

    @cached_property
    def _columns(self) -> Float[np.ndarray, "samples objectives"]:
        return self.groups.T.astype(np.float64)

    def points(self, scores: Float[np.ndarray, "*models samples"]) -> Float[np.ndarray, "*models objectives"]:
        """Mean score of each model on each objective, in [0, 1].

        Sums come before the division, so that models with equally many right answers have equal points.
        """
        return (scores @ self._columns) / self._counts
