"""Skills kept and lost: what became of each of several tasks, beside the parent that is best at it.

A mean over tasks hides that a winner may gain on one what it loses on another. Here each task of the test split stands
for itself. The best parent of a task is the one with the highest mean on the very test samples, which flatters it:
of equally good parents the luckiest is taken, so that a winner as good as they are seems to lose a little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from merganser.evaluation import Interval, Mixture, ScoreMatrix, Task


@dataclass(frozen=True, slots=True)
class Skill:
    """One task: how good the winner is at it, and how good it might have stayed.

    Attributes:
        task: Name of the task.
        winner: The winner's mean score with its interval.
        parents: Those of the parents, by name.
        baselines: Those of merges by rule, by name.
        best: The parent with the highest mean on this task.
        change: Winner minus that parent, paired by sample.
        watched: Whether it is a task that nothing was selected on.
    """

    task: str
    winner: Interval
    parents: Mapping[str, Interval]
    baselines: Mapping[str, Interval]
    best: str
    change: Interval
    watched: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        return {
            "task": self.task,
            "winner": self.winner._asdict(),
            "parents": {name: interval._asdict() for name, interval in self.parents.items()},
            "baselines": {name: interval._asdict() for name, interval in self.baselines.items()},
            "best": self.best,
            "change": self.change._asdict(),
            "watched": self.watched,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Skill:
        """Read the plain form."""
        parents = {name: Interval(**interval) for name, interval in data["parents"].items()}
        baselines = {name: Interval(**interval) for name, interval in data["baselines"].items()}
        change = Interval(**data["change"])
        winner = Interval(**data["winner"])
        return cls(data["task"], winner, parents, baselines, data["best"], change, data["watched"])


def skills_of(
    task: Task,
    winner: Float[np.ndarray, " samples"],
    parents: Mapping[str, Float[np.ndarray, " samples"]],
    baselines: Mapping[str, Float[np.ndarray, " samples"]],
) -> tuple[Skill, ...]:
    """What became of each of several tasks; nothing where there is one task only.

    Args:
        task: The test split.
        winner: The winner's scores on all its samples.
        parents: Those of the parents, by name.
        baselines: Those of merges by rule, by name.
    """
    if not isinstance(task, Mixture):
        return ()
    skills, start = [], 0
    for part in task.parts:
        mine = slice(start, start + len(part.samples))
        start = mine.stop
        skills.append(_skill(part, winner[mine], _cut(parents, mine), _cut(baselines, mine)))
    return tuple(skills)


def _skill(
    task: Task, winner: np.ndarray, parents: dict[str, np.ndarray], baselines: dict[str, np.ndarray]
) -> Skill:
    hashes = task.samples.hashes
    ours, theirs = ScoreMatrix.of(parents, hashes), ScoreMatrix.of(baselines, hashes)
    best = max(parents, key=ours.mean)
    both = ScoreMatrix.of({"winner": winner, "parent": parents[best]}, hashes)
    return Skill(
        task.name,
        both.interval("winner"),
        {name: ours.interval(name) for name in parents},
        {name: theirs.interval(name) for name in baselines},
        best,
        both.difference("winner", "parent"),
    )


def _cut(rows: Mapping[str, np.ndarray], mine: slice) -> dict[str, np.ndarray]:
    return {name: row[mine] for name, row in rows.items()}
