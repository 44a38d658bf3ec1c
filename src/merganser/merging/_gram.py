r"""Inner products of descendants without touching their weights.

For descendants $A$ and $B$ (see `_combination`), on any stretch of the flat parameters that is a union of
segments $s$,

$$\langle A, B\rangle = \sum_s \big(C^A_s\big)^{\!\top} G_s\, C^B_s,
\qquad G_s = \Big(\sum_{x \in s} \theta^{(k)}_x \theta^{(l)}_x\Big)_{kl}.$$

The $G_s$ are differences of prefix sums. One pass over the seeds stores the prefix sums of the
$K(K+1)/2$ products at every multiple of `block`; a position inside a block costs one partial read of
that block, and is remembered. Everything accumulates in float64: near-parallel fine-tunes have cosines above
0.9995, where float32 destroys the angle.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from merganser.merging._combination import Combination, merged_breaks
from merganser.merging._products import BlockSums, stored_sums, summed
from merganser.weights import Checkpoint, Execution, check_aligned, flat_read

DEFAULT_BLOCK = 64 * 1024
"""Positions between two stored prefix sums; models below a million parameters store every position."""

_SMALL = 1_000_000
_PASS = 1 << 20

FlatReader = Callable[[int, int], Float[np.ndarray, " positions"]]
"""Reads positions [begin, end) of one seed's flat parameters as float64."""


class Gram:
    """Prefix sums of the seeds' pairwise products along the flat order.

    Args:
        readers: One reader per seed.
        size: Number of positions P.
        block: Positions between stored sums; by default 1 for small models and 65,536 for others.
        execution: How the first pass is made; the result does not depend on it.
        sums: What makes the first pass faster than the readers would, with the same result.

    Examples:
        >>> seeds = np.array([[3.0, 0.0, 4.0], [0.0, 1.0, 1.0]])
        >>> gram = Gram.of(seeds)
        >>> gram.segments(np.array([0, 1, 3])).tolist()
        [[[9.0, 0.0], [0.0, 0.0]], [[16.0, 4.0], [4.0, 2.0]]]
    """

    def __init__(
        self,
        readers: Sequence[FlatReader],
        size: int,
        block: int | None = None,
        execution: Execution | None = None,
        *,
        sums: BlockSums | None = None,
    ) -> None:
        self.size, self.seeds = size, len(readers)
        self.block = block or _usual_block(size)
        self._readers = tuple(readers)
        self._rows, self._cols = np.triu_indices(self.seeds)
        self._inside: dict[int, np.ndarray] = {}
        self._prefix = self._first_pass(execution or Execution(), sums or self._block_sums)

    @classmethod
    def of(cls, seeds: Float[np.ndarray, "seeds positions"], block: int | None = None) -> Gram:
        """Gram sums of seeds that lie in memory."""
        readers = [lambda begin, end, row=row: row[begin:end].astype(np.float64) for row in seeds]
        return cls(readers, seeds.shape[1], block)

    @classmethod
    def over(
        cls, seeds: Sequence[Checkpoint], block: int | None = None, execution: Execution | None = None
    ) -> Gram:
        """Gram sums of checkpoints, read once, a stretch at a time, whatever their size.

        Raises:
            ValueError: If the seeds do not align.
        """
        size = check_aligned(seeds).size
        block = block or _usual_block(size)
        readers = [partial(flat_read, seed) for seed in seeds]
        return cls(readers, size, block, execution, sums=stored_sums(seeds, block))

    def _products(self, begin: int, end: int) -> Float[np.ndarray, "products positions"]:
        values = np.stack([read(begin, end) for read in self._readers])
        return values[self._rows] * values[self._cols]

    def _block_sums(self, begin: int, end: int, block: int) -> Float[np.ndarray, "blocks products"]:
        return summed(self._products(begin, end), block)

    def _first_pass(self, execution: Execution, sums: BlockSums) -> Float[np.ndarray, "blocks products"]:
        step = max(self.block, _PASS // self.block * self.block)
        prefix = np.zeros((-(-self.size // self.block) + 1, len(self._rows)))

        def found_from(begin: int) -> Float[np.ndarray, "blocks products"]:
            return sums(begin, min(begin + step, self.size), self.block)

        first = 0
        for found in execution.map(found_from, range(0, self.size, step)):
            prefix[first + 1 : first + 1 + len(found)] = prefix[first] + np.cumsum(found, axis=0)
            first += len(found)
        return prefix

    def _at(self, position: int) -> Float[np.ndarray, " products"]:
        block, rest = divmod(position, self.block)
        if rest == 0 or position == self.size:
            return self._prefix[-1 if position == self.size else block]
        if position not in self._inside:
            inside = self._products(block * self.block, position).sum(axis=1)
            self._inside[position] = self._prefix[block] + inside
        return self._inside[position]

    def _sums(self, breaks: Int[np.ndarray, " breaks"]) -> Float[np.ndarray, "segments products"]:
        """The products summed over each segment between consecutive breaks."""
        at_breaks = self._prefix[breaks] if self.block == 1 else np.stack([self._at(int(b)) for b in breaks])
        return at_breaks[1:] - at_breaks[:-1]

    def segments(self, breaks: Int[np.ndarray, " breaks"]) -> Float[np.ndarray, "segments seeds seeds"]:
        """The seeds' Gram matrix on each segment between consecutive breaks."""
        sums = self._sums(breaks)
        gram = np.empty((len(sums), self.seeds, self.seeds))
        gram[:, self._rows, self._cols] = sums
        gram[:, self._cols, self._rows] = sums
        return gram

    def angle(self, a: Combination, b: Combination, begin: int = 0, end: int | None = None) -> float | None:
        """Angle in radians between two descendants on positions [begin, end); None where one of them is zero."""
        end = self.size if end is None else end
        if begin >= end:
            return None
        breaks = merged_breaks(a.breaks, b.breaks)
        if begin > 0 or end < self.size:
            inner = breaks[(breaks > begin) & (breaks < end)]
            breaks = np.concatenate([[begin], inner, [end]])
        sums = self._sums(breaks)
        # the two factors of each product of seeds, in each parent
        a1, a2 = (a.refined(breaks).take(index, axis=1) for index in (self._rows, self._cols))
        b1, b2 = (b.refined(breaks).take(index, axis=1) for index in (self._rows, self._cols))
        # a seed with itself stands once among the products, two different ones stand for both orders
        once = np.where(self._rows == self._cols, 0.5, 1.0)
        ab, aa, bb = (float(np.vdot(w, sums * once)) for w in (a1 * b2 + a2 * b1, 2 * a1 * a2, 2 * b1 * b2))
        if aa <= 0 or bb <= 0:
            return None
        return math.acos(min(1.0, max(-1.0, ab / math.sqrt(aa * bb))))


def _usual_block(size: int) -> int:
    return 1 if size <= _SMALL else DEFAULT_BLOCK
