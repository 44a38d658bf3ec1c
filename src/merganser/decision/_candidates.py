"""Which merges the verdicts of a comparison suggest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from merganser.comparison import Verdict

AVERAGE = "linear"
_MOST = 3


class Candidate(NamedTuple):
    """A merge that is worth trying.

    Attributes:
        members: Places of its models.
        method: By which method.
    """

    members: tuple[int, ...]
    method: str


def candidates_of(count: int, verdicts: Mapping[tuple[int, int], Verdict]) -> list[Candidate]:
    """Merges of models whose verdicts name methods, by those methods and by the average.

    Verdicts to route name methods too where models could be merged: what is lost by it is worth knowing.

    Args:
        count: How many models there are.
        verdicts: What to do with every two of them, by their places.

    Examples:
        >>> merge = Verdict("merge", ("ties",), "likely", ())
        >>> apart = Verdict("keep apart", (), "likely", ())
        >>> candidates_of(3, {(0, 1): merge, (0, 2): apart, (1, 2): apart})
        [Candidate(members=(0, 1), method='linear'), Candidate(members=(0, 1), method='ties')]
    """
    pairs = [pair for pair, verdict in verdicts.items() if verdict.methods]
    found = []
    for members in connected(count, pairs):
        if len(members) > 1:
            named = Counter(
                method for i, j in pairs if {i, j} <= set(members) for method in verdicts[i, j].methods
            )
            methods = dict.fromkeys([AVERAGE, *(method for method, _ in named.most_common(_MOST))])
            found += [Candidate(members, method) for method in methods]
    return found


def connected(count: int, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Sets of places that pairs connect, each in order.

    Examples:
        >>> connected(4, [(2, 0), (2, 3)])
        [(0, 2, 3), (1,)]
    """
    homes = list(range(count))
    for i, j in pairs:
        first, second = homes[i], homes[j]
        homes = [first if home == second else home for home in homes]
    return [tuple(k for k in range(count) if homes[k] == home) for home in dict.fromkeys(homes)]
