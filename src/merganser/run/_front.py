"""The members that no other dominates: what a run for several objectives found beside its winner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from merganser.evaluation import Task
from merganser.evolution import Member, Objectives, front
from merganser.run._objectives import objectives_of

if TYPE_CHECKING:
    from merganser.run._loop import Evolution


@dataclass(frozen=True, slots=True)
class FrontMember:
    """One trade-off between the objectives.

    Attributes:
        recipe: Digest of its recipe, under which it can be exported.
        index: Number of the child in its run.
        search: Mean score on the search samples of each objective, by name.
        validation: The same on validation samples; None without such a split, or if they could not be scored.
    """

    recipe: str
    index: int
    search: Mapping[str, float]
    validation: Mapping[str, float] | None

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        validation = None if self.validation is None else dict(self.validation)
        return {
            "recipe": self.recipe,
            "index": self.index,
            "search": dict(self.search),
            "validation": validation,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> FrontMember:
        """Read the plain form."""
        return cls(**data)


def front_members(evolution: Evolution) -> tuple[FrontMember, ...]:
    """The members of a run that no other dominates on the search samples, by index; none without objectives.

    Of several at the same point the eldest stands for all.
    """
    objectives, members = evolution.plan.objectives, evolution.search.members
    if objectives is None or not members:
        return ()
    members = sorted(members, key=lambda member: member.index)
    points = objectives.points(np.stack([member.scores for member in members]))
    first = set(np.unique(points, axis=0, return_index=True)[1].tolist())
    chosen = [i for i in np.flatnonzero(front(points)).tolist() if i in first]
    held_out = evolution.plan.splits.validation
    return tuple(
        FrontMember(
            members[i].genome.digest,
            members[i].index,
            _by_name(objectives, points[i]),
            None if held_out is None else _scores_on(held_out, evolution, members[i]),
        )
        for i in chosen
    )


def _scores_on(task: Task, evolution: Evolution, member: Member) -> dict[str, float] | None:
    row = evolution.row_on(task, member.genome)
    try:
        objectives = objectives_of(task)
    except ValueError:  # of a small split all classes may be odd
        return None
    return None if row.failed or objectives is None else _by_name(objectives, objectives.points(row.scores))


def _by_name(objectives: Objectives, point: np.ndarray) -> dict[str, float]:
    return dict(zip(objectives.names, point.tolist(), strict=True))
