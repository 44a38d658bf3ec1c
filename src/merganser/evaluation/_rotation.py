r"""A rotation: the samples of a task in subsets that take turns.

With at most $k$ of $N$ samples at a time, $M = \lceil N / k \rceil$ subsets make a *cycle*: together they hold every
sample once, and their sizes differ by one at most. The next cycle divides the samples anew.

| step | rule |
| --- | --- |
| 1 | samples in order of their strata; within each in a random order, keyed by (seed, cycle) |
| 2 | subset $m$ of the cycle takes the places $m, m + M, m + 2M, \dots$ |

So a subset has $\lfloor n/M \rfloor$ or $\lceil n/M \rceil$ samples of a stratum of $n$; and of a task of a mixture,
because the strata of a task are neighbours. This is systematic sampling of an ordered frame. The random order follows
from the samples' contents and not from their places in a file.

References:
    Cochran, *Sampling Techniques*, 1977, chapter 8 (systematic sampling).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int

from merganser.evaluation._mixture import Mixture
from merganser.evaluation._task import Task


@dataclass(frozen=True)
class Rotation:
    """Which samples are in which subset.

    Attributes:
        hashes: Hash of each sample's content.
        strata: Number of each sample's stratum; every subset has its share of each.
        size: Most samples of a subset, at least 1.
        seed: Another seed divides differently.

    Raises:
        ValueError: If `size` is not between 1 and the number of samples.

    Examples:
        >>> rotation = Rotation(("a", "b", "c", "d"), np.array([0, 0, 1, 1]), size=2)
        >>> rotation.rounds, sorted(int(i) for r in (0, 1) for i in rotation.ids(r))
        (2, [0, 1, 2, 3])
    """

    hashes: tuple[str, ...]
    strata: Int[np.ndarray, " samples"]
    size: int
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.size <= len(self.hashes):
            raise ValueError(
                f"A subset must hold at least 1 and at most all of the {len(self.hashes):,} samples, but is to hold "
                f"{self.size:,}."
            )

    @classmethod
    def of(cls, task: Task, size: int, *, seed: int = 0) -> Rotation:
        """The rotation of a task's samples; strata are the tasks of a mixture, and the classes where there are some.

        Raises:
            ValueError: If `size` is not between 1 and the number of samples.
        """
        return cls(task.samples.hashes, strata_of(task), size, seed)

    @property
    def rounds(self) -> int:
        """Subsets of a cycle M."""
        return -(-len(self.hashes) // self.size)

    @property
    def smallest(self) -> int:
        """Samples of the smallest subset."""
        return len(self.hashes) // self.rounds

    def ids(self, turn: int) -> Int[np.ndarray, " subset"]:
        """Positions of the samples of a turn, ascending.

        Args:
            turn: Number of the turn, from 0; turns from c M on belong to cycle c.
        """
        cycle, place = divmod(turn, self.rounds)
        lots = np.random.default_rng([self.seed, cycle]).random(len(self.hashes))[self._rank]
        return np.sort(np.lexsort((lots, self.strata))[place :: self.rounds])

    @cached_property
    def _rank(self) -> Int[np.ndarray, " samples"]:
        """Place of each sample in the order of hashes."""
        rank = np.empty(len(self.hashes), dtype=np.int64)
        rank[np.argsort(np.array(self.hashes), kind="stable")] = np.arange(len(self.hashes))
        return rank


def strata_of(task: Task) -> Int[np.ndarray, " samples"]:
    """Number of each sample's stratum, ascending over the tasks of a mixture: its class in its task, if it has one."""
    if isinstance(task, Mixture):
        parts = [strata_of(part) for part in task.parts]
        starts = np.cumsum([0, *(int(part.max()) + 1 for part in parts)])
        return np.concatenate([part + start for part, start in zip(parts, starts[:-1], strict=True)])
    labels = task.samples.labels
    if labels is None:
        return np.zeros(len(task.samples), dtype=np.int64)
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)
