"""The winner of a search for paths: through whose blocks it goes, as a value and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from merganser.merging import LayerPath
from merganser.report._run_info import RunInfo
from merganser.report._words import counted, listed
from merganser.run import RunDirectory

_TIMES = {1: "once", 2: "twice"}
_MOST = 5
"""Blocks, or ranges of them, that are named; more are counted, and the picture shows which."""


@dataclass(frozen=True, slots=True)
class PathInfo:
    """A path and the models that it goes through.

    Attributes:
        path: The path.
        names: What people call its models, in its order.
        blocks: How many blocks each of them has.

    Raises:
        ValueError: If there are not as many names and numbers of blocks as models, or a hop goes through a block that
            its model does not have.
    """

    path: LayerPath
    names: tuple[str, ...]
    blocks: tuple[int, ...]

    def __post_init__(self) -> None:
        models = len(self.path.seeds)
        if (len(self.names), len(self.blocks)) != (models, models):
            raise ValueError(
                f"Expected a name and a number of blocks for each of {models} models, found {len(self.names)} and "
                f"{len(self.blocks)}."
            )
        for t, hop in enumerate(self.path.hops):
            if hop.block >= self.blocks[hop.model]:
                raise ValueError(
                    f"Hop {t} goes through block {hop.block} of {self.names[hop.model]!r}, which has "
                    f"{counted(self.blocks[hop.model], 'block')}, numbered from 0."
                )

    @property
    def times(self) -> Counter[tuple[int, int]]:
        """How often each block is on the path, by its model and its number."""
        return Counter((hop.model, hop.block) for hop in self.path.hops)


def path_info(info: RunInfo) -> PathInfo | None:
    """The winner's path; None if the run is not finished, or its winner is no path.

    Raises:
        ValueError: If the path is of a format that this release does not know.
    """
    with RunDirectory(info.path).journal() as journal:
        outcome, parents = journal.outcome() or {}, journal.meta()["parents"]
    if not outcome.get("path"):
        return None
    path = LayerPath.from_json(outcome["path"])
    known = {entry["digest"]: entry for entry in parents}
    names, blocks = [], []
    for number, digest in enumerate(path.seeds):
        entry = known.get(digest, {"name": digest[:8], "config": {}})
        highest = max((hop.block for hop in path.hops if hop.model == number), default=-1)
        names.append(entry["name"])
        blocks.append(max(int(entry["config"].get("num_hidden_layers", 0)), highest + 1))
    return PathInfo(path, tuple(names), tuple(blocks))


def path_words(info: PathInfo) -> str:
    """A path in one sentence.

    Examples:
        >>> from merganser.merging import Hop
        >>> hops = (Hop(0, 0), Hop(1, 1), Hop(0, 2, 0.9), Hop(1, 1), Hop(0, 3))
        >>> path_words(PathInfo(LayerPath(("a", "b"), hops), ("A", "B"), (4, 4)))
        "5 hops: all of A's blocks but 1, and block 1 of B; B's block 1 twice; back once; scales from 0.9 to 1."
    """
    times, hops = info.times, info.path.hops
    taken = [
        _taken({block for model, block in times if model == number}, name, count)
        for number, (name, count) in enumerate(zip(info.names, info.blocks, strict=True))
        if any(model == number for model, _ in times)
    ]
    parts = [f"{counted(len(hops), 'hop')}: {', and '.join(taken)}"]
    again = [(f"{info.names[m]}'s block {b}", n) for (m, b), n in sorted(times.items()) if n > 1]
    if len(again) > _MOST:
        parts.append(f"{len(again)} blocks more than once")
    elif again:
        parts.append(listed([f"{block} {_often(n)}" for block, n in again], most=_MOST))
    back = sum(after.block < before.block for before, after in pairwise(hops))
    if back:
        parts.append(f"back {_often(back)}")
    return f"{'; '.join([*parts, _scales([hop.scale for hop in hops])])}."


def _taken(blocks: set[int], name: str, count: int) -> str:
    """Which blocks of a model are on a path, named by what is fewer: those that are or those that are not."""
    left = set(range(count)) - blocks
    if not left:
        return f"all {count} blocks of {name}" if count > 1 else f"the only block of {name}"
    named = _ranges(left if len(left) < len(blocks) else blocks)
    if len(named) > _MOST:
        return f"{len(blocks)} of {name}'s {count} blocks"
    if len(left) < len(blocks):
        return f"all of {name}'s blocks but {listed(named, most=_MOST)}"
    return f"{'block' if len(blocks) == 1 else 'blocks'} {listed(named, most=_MOST)} of {name}"


def _ranges(numbers: Iterable[int]) -> list[str]:
    """Numbers in order, three neighbours and more as a range."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [
        part
        for run in runs
        for part in ([f"{run[0]} to {run[-1]}"] if len(run) > 2 else [str(number) for number in run])
    ]


def _often(number: int) -> str:
    return _TIMES.get(number, f"{number} times")


def _scales(scales: Sequence[float]) -> str:
    low, high = f"{min(scales):.3g}", f"{max(scales):.3g}"
    return f"all scales {low}" if low == high else f"scales from {low} to {high}"
