r"""Several tasks as one: their samples one after the other, each task with a weight of its own.

A plain sum over 1,319 questions and 100 shopping sessions would favour the questions 13 to 1. Here the weight of
a sample of task $t$ is $w_j = \frac{\omega_t}{N_t} \cdot \frac{N}{\sum_t \omega_t}$: tasks count by $\omega_t$, not by
size, and the weights average 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from merganser.evaluation._marks import Marks, marks_of
from merganser.evaluation._samples import Samples
from merganser.evaluation._task import Splits, Task


@dataclass(frozen=True)
class Mixture:
    """Tasks of one split, joined.

    Attributes:
        parts: The tasks, in order.
    """

    parts: tuple[Task, ...]

    @property
    def name(self) -> str:
        """Names of the parts."""
        return " + ".join(part.name for part in self.parts)

    @property
    def binary(self) -> bool:
        """Whether all parts score 0 or 1."""
        return all(part.binary for part in self.parts)

    @property
    def digest(self) -> str:
        """Hash over the parts in order."""
        return hashlib.blake2b(" ".join(p.digest for p in self.parts).encode(), digest_size=16).hexdigest()

    @property
    def samples(self) -> Samples:
        """All samples; labels only if every part has them."""
        return self._samples

    @cached_property
    def _samples(self) -> Samples:
        hashes = tuple(h for part in self.parts for h in part.samples.hashes)
        labels = [part.samples.labels for part in self.parts if part.samples.labels is not None]
        joined = np.concatenate(labels) if len(labels) == len(self.parts) else None
        return Samples(hashes, joined, self.parts[0].samples.split)

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.cumsum([0, *(len(part.samples) for part in self.parts)])

    def score(self, model: Any, ids: np.ndarray) -> Float[np.ndarray, " ids"]:
        """Scores on the samples at these positions of the joined order."""
        return self.mark(model, ids).scores

    def mark(self, model: Any, ids: np.ndarray) -> Marks:
        """The same with margins if any part has them; in the other parts a sample's margin is its score."""
        scores, margins, has_margins = np.empty(len(ids)), np.empty(len(ids)), False
        owner = np.searchsorted(self._starts, ids, side="right") - 1
        for t in np.unique(owner):
            mine = owner == t
            found = marks_of(self.parts[t], model, ids[mine] - self._starts[t])
            scores[mine] = found.scores
            margins[mine] = found.scores if found.margins is None else found.margins
            has_margins |= found.margins is not None
        return Marks(scores, margins if has_margins else None)


def sample_weights(sizes: Sequence[int], weights: Sequence[float]) -> Float[np.ndarray, " samples"]:
    """Weight of each sample of several tasks in a row; they average 1.

    Args:
        sizes: Number of samples of each task.
        weights: Weight of each task, positive.

    Raises:
        ValueError: If a weight is not positive.

    Examples:
        >>> sample_weights([1, 3], [1.0, 1.0]).round(3).tolist()
        [2.0, 0.667, 0.667, 0.667]
    """
    if not all(w > 0 for w in weights):
        raise ValueError(f"Task weights must be positive, but are {list(weights)}.")
    total, mass = sum(sizes), sum(weights)
    return np.concatenate([np.full(n, w / n * total / mass) for n, w in zip(sizes, weights, strict=True)])


def join_splits(splits: Sequence[Splits]) -> Splits:
    """Splits of several tasks as one; a split that any of them lacks is left out. One task stays as it is."""
    if len(splits) == 1:
        return splits[0]
    joined = {}
    for part in ("validation", "test"):
        tasks = [getattr(s, part) for s in splits]
        joined[part] = Mixture(tuple(tasks)) if all(t is not None for t in tasks) else None
    dropped, notes = sum(s.dropped for s in splits), tuple(note for s in splits for note in s.notes)
    return Splits(Mixture(tuple(s.search for s in splits)), dropped=dropped, notes=notes, **joined)
