r"""Exact order statistics of more numbers than fit in memory.

The $k$-th largest of $N$ numbers that stream by is found without sorting them, in as good as always one pass:

1. A sample (one run of 4,096 elements out of `_STRIDE`) gives a bracket $[l, h]$ in which the $k$-th largest lies
   almost surely: five standard deviations of the sample's rank to both sides.
2. One pass counts what lies above $h$ and collects what lies in $[l, h]$: about a hundredth of the numbers. More
   than a few million are kept as distinct values with their counts, so memory stays bounded.
3. The $k$-th largest is read off. Should it lie outside the bracket after all, the bracket is moved and the pass made
   again.

The result is one of the numbers, and depends on nothing but them. Cf. Floyd and Rivest, *Expected Time Bounds for
Selection*, CACM 1975.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from merganser.merging.methods._method import Part, Scan

if TYPE_CHECKING:
    from torch import Tensor

_STRIDE = 64
_SAMPLE = 1 << 22
_DEVIATIONS = 5.0
_HELD = 1 << 22

Numbers = Callable[[Part], "Sequence[Float[Tensor, ' elements']]"]
"""From a part to the rows of numbers to select from, always as many rows."""


class Wanted(NamedTuple):
    """One order statistic.

    Args:
        row: Of which row of numbers.
        rank: Which one, counted from the largest: 1 is the largest itself.
    """

    row: int
    rank: int


def magnitudes(part: Part) -> Sequence[Float[Tensor, " elements"]]:
    """Absolute values, model by model; overwrites the part's values."""
    return list(part.values.abs_())


def largest(scan: Scan, numbers: Numbers, wanted: Sequence[Wanted]) -> list[float]:
    """Order statistics over the scan's whole scope.

    Args:
        scan: Where the numbers come from.
        numbers: The numbers in a part.
        wanted: Which ones; a rank of 0 or less gives infinity, one beyond the number of elements minus infinity.

    Raises:
        ValueError: If a number is not finite.
    """
    total = scan.numel
    open_ones = {i: w for i, w in enumerate(wanted) if 1 <= w.rank <= total}
    found = {i: math.inf if w.rank < 1 else -math.inf for i, w in enumerate(wanted) if i not in open_ones}
    brackets = _brackets(scan, numbers, open_ones)
    while open_ones:
        tallies = _pass(scan, numbers, open_ones, brackets)
        for i, tally in tallies.items():
            rank = open_ones[i].rank - tally.above
            low, high = brackets[i]
            if rank < 1:
                brackets[i] = high, math.inf
            elif rank > tally.inside:
                brackets[i] = -math.inf, low
            else:
                found[i] = tally.largest(rank)
                del open_ones[i]
    return [found[i] for i in range(len(wanted))]


class _Tally:
    """How many numbers lie above a bracket, and which ones lie inside."""

    def __init__(self) -> None:
        self.above, self.inside, self._held = 0, 0, 0
        self._loose: list[np.ndarray] = []
        self._values, self._counts = np.empty(0), np.empty(0, np.int64)

    def add(self, above: int, inside: np.ndarray) -> None:
        self.above += above
        self.inside += len(inside)
        self._held += len(inside)
        self._loose.append(inside)
        if self._held > _HELD:
            self._compress()

    def largest(self, rank: int) -> float:
        if not len(self._values):
            loose = np.concatenate(self._loose)
            return float(np.partition(loose, len(loose) - rank)[len(loose) - rank])
        self._compress()
        at_least = np.cumsum(self._counts[::-1])  # values from the largest down
        return float(self._values[::-1][np.searchsorted(at_least, rank)])

    def _compress(self) -> None:
        if not self._loose:
            return
        values, counts = np.unique(np.concatenate(self._loose), return_counts=True)
        everything = np.concatenate([self._values, values])
        self._values, index = np.unique(everything, return_inverse=True)
        self._counts = np.bincount(index, np.concatenate([self._counts, counts])).astype(np.int64)
        self._loose, self._held = [], 0


def _brackets(scan: Scan, numbers: Numbers, wanted: dict[int, Wanted]) -> dict[int, tuple[float, float]]:
    if not wanted:
        return {}
    stride = max(_STRIDE, scan.numel // _SAMPLE)
    parts = list(scan(lambda part: [_host(row).copy() for row in numbers(part)], stride=stride))
    sample = [np.concatenate(rows) for rows in zip(*parts, strict=True)]
    for row in sample:
        row.sort()
    return {i: _bracket(sample[w.row], w.rank / scan.numel) for i, w in wanted.items()}


def _bracket(ascending: np.ndarray, fraction: float) -> tuple[float, float]:
    """Where the number lies that this fraction of the others is above; open where the sample cannot say."""
    size = len(ascending)
    # neighbours in a tensor are alike, so that a sample of runs is worth less than one of single elements
    margin = _DEVIATIONS * math.sqrt(max(fraction * (1 - fraction), 1 / size) / size) + 2 / size
    low, high = math.floor(size * (1 - fraction - margin)), math.ceil(size * (1 - fraction + margin))
    return (
        float(ascending[low]) if low > 0 else -math.inf,
        float(ascending[high]) if high < size else math.inf,
    )


def _pass(
    scan: Scan, numbers: Numbers, wanted: dict[int, Wanted], brackets: dict[int, tuple[float, float]]
) -> dict[int, _Tally]:
    def measure(part: Part) -> list[tuple[int, np.ndarray]]:
        rows = [_host(row) for row in numbers(part)]
        return [_split(rows[w.row], *brackets[i]) for i, w in wanted.items()]

    tallies = {i: _Tally() for i in wanted}
    for measured in scan(measure):
        for tally, (above, inside) in zip(tallies.values(), measured, strict=True):
            tally.add(above, inside)
    return tallies


def _split(row: np.ndarray, low: float, high: float) -> tuple[int, np.ndarray]:
    """How many numbers lie above a bracket, and those inside it."""
    is_above, is_inside = row > _not_above(high, row.dtype), row >= -_not_above(-low, row.dtype)
    above = int(np.count_nonzero(is_above))
    np.logical_xor(is_inside, is_above, out=is_inside)
    return above, row[is_inside]


def _not_above(value: float, dtype: np.dtype) -> np.floating:
    """The greatest number of a type that is not above a value: some tensors of a model may be wider than others."""
    with np.errstate(over="ignore"):
        nearest = dtype.type(value)
    return nearest if float(nearest) <= value else np.nextafter(nearest, dtype.type(-math.inf))


def _host(row: Float[Tensor, " elements"]) -> np.ndarray:
    array = row.cpu().numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum()
    if not np.isfinite(total) and not np.isfinite(array).all():
        raise ValueError("A model holds NaN or infinite numbers.")
    return array
