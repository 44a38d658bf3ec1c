"""A given number of a tensor's entries, by their order: never more than that number, even where many are equal.

mergekit sorts a tensor and takes so many entries from one end. Where entries are equal, as they often are in models
that were stored in bfloat16, an unstable sort decides which of them are taken. Here the first in the tensor are, as by
a stable sort: as many as there, but not always the same.

Nothing is sorted: the last entry taken is found by its value (see `_select`); then one pass counts its equals, and
another finds its place if not all of them are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float

from merganser.merging.methods._method import Part, Scan
from merganser.merging.methods._select import Numbers, Wanted, largest

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Take:
    """So many entries from one end of the order.

    Args:
        row: Of which row of numbers.
        count: How many.
        smallest: Whether from the lower end.
    """

    row: int
    count: int
    smallest: bool = False


@dataclass(frozen=True, slots=True)
class Border:
    """The last entry taken; of those equal to it, the ones before it are taken too.

    Args:
        value: Its number.
        index: Its place in the tensor.
        smallest: Whether what is below it is taken, rather than what is above.
    """

    value: float
    index: int
    smallest: bool


def borders(scan: Scan, numbers: Numbers, takes: Sequence[Take]) -> list[Border]:
    """The last entry of each take.

    Args:
        scan: Over one tensor.
        numbers: The numbers in a part; none below zero, and which zeros are taken does not matter.
        takes: What is taken.
    """
    ranks = [take.count if not take.smallest else scan.numel + 1 - take.count for take in takes]
    values = largest(scan, numbers, [Wanted(take.row, rank) for take, rank in zip(takes, ranks, strict=True)])
    places = _places(scan, numbers, takes, values)
    return [
        Border(value, places.get(i, scan.numel), take.smallest)
        for i, (take, value) in enumerate(zip(takes, values, strict=True))
    ]


def taken_(row: Float[Tensor, " elements"], border: Border, begin: int) -> Float[Tensor, " elements"]:
    """One for each entry that is taken and zero for the others, in the place of their numbers.

    Args:
        row: Numbers of a part.
        border: The last entry taken.
        begin: The part's first element.
    """
    split = min(max(border.index + 1 - begin, 0), len(row))
    before, after = row[:split], row[split:]
    if border.smallest:
        before.le_(border.value)
        after.lt_(border.value)
    else:
        before.ge_(border.value)
        after.gt_(border.value)
    return row


def _places(scan: Scan, numbers: Numbers, takes: Sequence[Take], values: Sequence[float]) -> dict[int, int]:
    """Where the last entry of a take is, by the number of the take, if not all that equal it are taken."""

    def count(part: Part) -> tuple[int, list[tuple[int, int]]]:
        rows = list(numbers(part))
        pairs = zip(takes, values, strict=True)
        return part.begin, [_counts(rows[take.row], value, take.smallest) for take, value in pairs]

    counted = list(scan(count))
    sought: dict[int, tuple[int, int]] = {}
    for i, (take, value) in enumerate(zip(takes, values, strict=True)):
        nth = take.count - sum(counts[i][0] for _, counts in counted)
        if value > 0 and 0 < nth < sum(counts[i][1] for _, counts in counted):
            sought[i] = _part_of(nth, [(begin, counts[i][1]) for begin, counts in counted])

    def place(part: Part) -> dict[int, int]:
        here = {i: nth for i, (begin, nth) in sought.items() if begin == part.begin}
        rows = list(numbers(part)) if here else []
        equals = {i: rows[takes[i].row].eq(values[i]).nonzero() for i in here}
        return {i: part.begin + int(equals[i][nth - 1].item()) for i, nth in here.items()}

    return {i: at for found in scan(place) for i, at in found.items()} if sought else {}


def _counts(row: Float[Tensor, " elements"], value: float, smallest: bool) -> tuple[int, int]:
    """How many entries are taken before any with this value, and how many have it."""
    beyond = row.lt(value) if smallest else row.gt(value)
    return int(beyond.count_nonzero()), int(row.eq(value).count_nonzero())


def _part_of(nth: int, parts: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Where the part begins that has the n-th of what is counted in each, and which one it is there."""
    for begin, count in parts:
        if nth <= count:
            return begin, nth
        nth -= count
    raise AssertionError("There are fewer than were counted.")
