r"""Where the winner comes from: its ancestors in the event log, back to the seeds.

A child takes from its second parent the share $\frac{s}{P} w + (1 - \frac{s}{P})(1 - w)$ of its parameters,
with $w$ the weight and $s$ the split point, and the rest from its first. Followed back from the winner
(share 1), this gives what passed through each ancestor. Where there are too many to draw, those with the
largest share are kept; gaps are bridged along the line of strongest descent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from merganser.report._run_info import RunInfo
from merganser.run import Child

MOST_ANCESTORS = 150


class Ancestor(NamedTuple):
    """A candidate that the winner descends from, or the winner itself.

    Attributes:
        event: Its entry in the log.
        name: Name of the parent it is; None unless it is a seed.
        generation: Longest line of descent to it from a seed.
        share: Share of the winner's parameters that passed through it, in [0, 1].
    """

    event: Child
    name: str | None
    generation: int
    share: float


class Descent(NamedTuple):
    """A line of descent; `direct` is False where ancestors between the two are not shown."""

    parent: int
    child: int
    direct: bool


@dataclass(frozen=True, slots=True)
class LineageInfo:
    """The ancestry of one candidate.

    Attributes:
        index: The candidate.
        ancestors: It and its ancestors, by index; at most [`MOST_ANCESTORS`][] and the seeds.
        descents: Who descends from whom among them.
        hidden: Ancestors that are not shown.
        generations: Longest line of descent from a seed.
    """

    index: int
    ancestors: tuple[Ancestor, ...]
    descents: tuple[Descent, ...]
    hidden: int
    generations: int


def lineage_info(info: RunInfo, *, most: int = MOST_ANCESTORS) -> LineageInfo | None:
    """Ancestry of the winner, or of the best member so far; None if there is neither.

    Args:
        info: The run.
        most: How many ancestors to keep, seeds not counted.
    """
    if info.leader is None:
        return None
    family = _family(info.events, info.leader)
    share = _shares(family, info.size, info.leader)
    generation = _generations(family)
    seeds = {i for i, event in family.items() if event.kind == "seed"}
    strongest = sorted(family.keys() - seeds - {info.leader}, key=lambda i: (-share[i], -i))
    kept = seeds | {info.leader} | set(strongest[:most])
    names = {k: parent.name for k, parent in enumerate(info.parents)}
    return LineageInfo(
        index=info.leader,
        ancestors=tuple(
            Ancestor(family[i], names.get(i) if i in seeds else None, generation[i], share[i])
            for i in sorted(kept)
        ),
        descents=_descents(family, kept, share, info.leader),
        hidden=len(family) - len(kept),
        generations=generation[info.leader],
    )


def _family(events: Mapping[int, Child], index: int) -> dict[int, Child]:
    """The candidate and all its ancestors, youngest first: parents are always older than their children."""
    found, waiting = {index}, [index]
    while waiting:
        new = {p for p in events[waiting.pop()].parents if p in events} - found
        found |= new
        waiting.extend(new)
    return {i: events[i] for i in sorted(found, reverse=True)}


def _shares(family: Mapping[int, Child], size: int, index: int) -> dict[int, float]:
    share = dict.fromkeys(family, 0.0)
    share[index] = 1.0
    for i, event in family.items():
        for parent, part in _parts(event, size):
            if parent in share:
                share[parent] += part * share[i]
    return share


def _parts(event: Child, size: int) -> list[tuple[int, float]]:
    """What a child takes from each of its parents."""
    if len(event.parents) < 2 or event.weight is None:
        return [(parent, 1.0) for parent in event.parents]
    before = (event.split or 0) / size
    second = before * event.weight + (1 - before) * (1 - event.weight)
    return [(event.parents[0], 1 - second), (event.parents[1], second)]


def _generations(family: Mapping[int, Child]) -> dict[int, int]:
    generation: dict[int, int] = {}
    for i in sorted(family):
        generation[i] = 1 + max((generation[p] for p in family[i].parents if p in family), default=-1)
    return generation


def _descents(
    family: Mapping[int, Child], kept: set[int], share: Mapping[int, float], index: int
) -> tuple[Descent, ...]:
    parents = {i: [p for p in family[i].parents if p in family] for i in family}
    children: dict[int, list[int]] = {i: [] for i in family}
    for i, older in parents.items():
        for parent in older:
            children[parent].append(i)
    lines: set[Descent] = set()
    for i in kept:
        for parent in parents[i]:
            lines.add(Descent(_follow(parent, parents, kept, share), i, parent in kept))
        if i != index and not kept.intersection(children[i]):
            lines.add(Descent(i, _follow(i, children, kept - {i}, share), False))
    return tuple(sorted(lines))


def _follow(start: int, steps: Mapping[int, list[int]], kept: set[int], share: Mapping[int, float]) -> int:
    """The first kept candidate from here along the strongest line."""
    here = start
    while here not in kept:
        here = max(steps[here], key=lambda i: (share[i], i))
    return here
