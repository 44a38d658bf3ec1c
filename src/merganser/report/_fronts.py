"""What a run for several objectives could trade for what: Pareto fronts as the search went on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from merganser.evolution import Objectives, front
from merganser.report._run_info import RunInfo
from merganser.run import Journal, RunDirectory, read_objectives

_SHARES = (1 / 64, 1 / 16, 1 / 4, 1)
"""Parts of the evaluations after which a front is shown: most happens early."""


class Stage(NamedTuple):
    """The front of everybody who was a member in the first evaluations, by the first objective."""

    evaluations: int
    points: Float[np.ndarray, "points objectives"]


class Marked(NamedTuple):
    """A model that stands out: a `parent`, a `baseline`, the `winner`, or while there is none the `best so far`."""

    kind: str
    name: str
    point: Float[np.ndarray, " objectives"]


@dataclass(frozen=True, slots=True)
class FrontsInfo:
    """Fronts of a run.

    Attributes:
        objectives: Names of the objectives.
        stages: Fronts after more and more evaluations; the last one is that of the whole run.
        marked: Parents, baselines, and the winner or the best member so far, which comes last.
    """

    objectives: tuple[str, ...]
    stages: tuple[Stage, ...]
    marked: tuple[Marked, ...]


def fronts_info(info: RunInfo) -> FrontsInfo | None:
    """The fronts of a run on the search samples; None where there are no objectives, or no member yet."""
    with RunDirectory(info.path).journal() as journal:
        objectives = read_objectives(journal.meta())
        if objectives is None:
            return None
        reader = _Reader(journal, info, objectives)
        points = {index: reader.point(event.recipe) for index, event in info.events.items()}
        marked = reader.marked()
    known = {index: point for index, point in points.items() if point is not None}
    if not known:
        return None
    ends = sorted({max(round(info.evaluations * share), len(info.parents), 1) for share in _SHARES})
    stages = tuple(_stage(end, [p for index, p in known.items() if index < end]) for end in ends)
    return FrontsInfo(objectives.names, stages, marked)


def _stage(evaluations: int, points: Sequence[np.ndarray]) -> Stage:
    met = np.unique(np.stack(points), axis=0)
    return Stage(evaluations, met[front(met)])


class _Reader(NamedTuple):
    journal: Journal
    info: RunInfo
    objectives: Objectives

    def point(self, recipe: str) -> Float[np.ndarray, " objectives"] | None:
        """Objectives of a model; None if it was not scored on every search sample."""
        row = self.journal.row(recipe, self.info.search.digest, self.info.search.samples)
        return None if row is None or not row.complete else self.objectives.points(row.scores)

    def marked(self) -> tuple[Marked, ...]:
        info = self.info
        models = [("parent", model.name, model.digest) for model in info.parents]
        models += [("baseline", model.name, model.digest) for model in info.baselines]
        if info.winner is not None:
            models.append(("winner", "winner", info.winner.digest))
        elif info.leader is not None:
            models.append(("best so far", "best so far", info.events[info.leader].recipe))
        points = ((kind, name, self.point(digest)) for kind, name, digest in models)
        return tuple(Marked(kind, name, point) for kind, name, point in points if point is not None)
