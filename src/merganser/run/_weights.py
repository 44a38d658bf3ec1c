"""What a sample counts on every split of several tasks: each task by its weight, as in the search.

The weights of a split follow from the weights of the tasks and from how many samples each has there, see
[`sample_weights`][]; they are noted when a run begins, so that whoever reads its directory weighs as it did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from merganser.evaluation import Mixture, Splits, sample_weights
from merganser.evolution import Row, weighted_mean


@dataclass(frozen=True, slots=True)
class SplitWeights:
    """Weights of several tasks, and how many samples each has.

    Attributes:
        tasks: Weight of each task, positive; empty for a single one.
        sizes: Number of samples of each task, by name of the split.

    Examples:
        >>> weights = SplitWeights((3.0, 1.0), {"test": (1, 1), "search": (3, 1)})
        >>> weights.on("test").tolist(), weights.on("search"), weights.on("watch")
        ([1.5, 0.5], None, None)
    """

    tasks: tuple[float, ...] = ()
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, splits: Splits, tasks: Sequence[float]) -> SplitWeights:
        """The weights on the splits of some tasks.

        Args:
            splits: The tasks' splits, joined.
            tasks: Weight of each task.
        """
        named = {"search": splits.search, "validation": splits.validation, "test": splits.test}
        sizes = {
            name: tuple(len(part.samples) for part in split.parts)
            for name, split in named.items()
            if isinstance(split, Mixture)
        }
        return cls(tuple(tasks), sizes) if sizes else cls()

    def on(self, split: str) -> Float[np.ndarray, " samples"] | None:
        """Weight of each sample of a split, 1 on average; None where all count the same."""
        if split not in self.sizes:
            return None
        weights = sample_weights(self.sizes[split], self.tasks)
        return None if (weights == weights[0]).all() else weights

    def mean(self, row: Row, split: str, ids: Int[np.ndarray, " subset"] | None = None) -> float:
        """Mean of what was measured of a model on a split, by weight; 0 if nothing was.

        Args:
            row: Its scores.
            split: Name of the split.
            ids: Positions of the samples that the row is of; None for all.
        """
        weights = self.on(split)
        if weights is None:
            return row.mean
        return weighted_mean(row.scores, weights if ids is None else weights[ids], row.measured)

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        return {"tasks": list(self.tasks), "sizes": {name: list(sizes) for name, sizes in self.sizes.items()}}


def read_weights(meta: Mapping[str, Any]) -> SplitWeights:
    """The weights that a journal's meta data hold; none where a run began before they were noted."""
    noted = meta.get("weights")
    if noted is None:
        return SplitWeights()
    return SplitWeights(tuple(noted["tasks"]), {name: tuple(sizes) for name, sizes in noted["sizes"].items()})
