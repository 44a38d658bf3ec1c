"""Episodes to read: what the winner and its parents did about the same test goals."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from merganser.evaluation import EnvironmentTask, Graded
from merganser.run._loop import Evolution

_GOALS, _PARENTS = 3, 3


@dataclass(frozen=True, slots=True)
class ToldEpisode:
    """What one model did.

    Attributes:
        model: `winner`, or the name of a parent.
        score: In [0, 1].
        reason: Why it is not 1; empty where it is.
        turns: Observation and action of each turn.
        last: What was shown at the end.
    """

    model: str
    score: float
    reason: str
    turns: tuple[tuple[str, str], ...]
    last: str

    @classmethod
    def of(cls, model: str, graded: Graded) -> ToldEpisode:
        """From what a task says about it."""
        turns = tuple((turn["observation"], turn["action"]) for turn in graded.record["turns"])
        return cls(model, graded.score, graded.reason, turns, graded.record["last"])

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        return {
            "model": self.model,
            "score": self.score,
            "reason": self.reason,
            "turns": self.turns,
            "last": self.last,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ToldEpisode:
        """Read the plain form."""
        return cls(**{**data, "turns": tuple((shown, done) for shown, done in data["turns"])})


@dataclass(frozen=True, slots=True)
class ToldGoal:
    """One goal, and what each model did about it.

    Attributes:
        goal: The goal in words.
        episodes: Those of the winner and of the parents.
    """

    goal: str
    episodes: tuple[ToldEpisode, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        return {"goal": self.goal, "episodes": [episode.to_json() for episode in self.episodes]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ToldGoal:
        """Read the plain form."""
        return cls(data["goal"], tuple(map(ToldEpisode.from_json, data["episodes"])))


def told_goals(evolution: Evolution, winner: Any) -> tuple[ToldGoal, ...]:
    """Three test goals at most, those first on which winner and parents differ most, played once more.

    They are played in this process, so there are none where children are scored in workers. A model that fails here
    is left out.

    Args:
        evolution: A run at its end.
        winner: The winner's genome.
    """
    found = _environment(evolution)
    if found is None or evolution.plan.settings.uses_workers:
        return ()
    task, first = found
    plan, test = evolution.plan, evolution.plan.splits.test
    assert test is not None
    seeds = zip((parent.name for parent in plan.parents), plan.space.seeds, strict=False)
    genomes = [("winner", winner), *list(seeds)[:_PARENTS]]
    rows = np.stack([evolution.row_on(test, genome).scores for _, genome in genomes])
    ids = _telling(rows[:, first : first + len(task.samples)])
    told: list[list[ToldEpisode]] = [[] for _ in ids]
    for name, genome in genomes:
        with suppress(Exception):  # its score is in the journal; only the transcript is missing
            model: Any = plan.bring_to_life(genome)
            for episodes, graded in zip(told, task.details(model, ids), strict=True):
                episodes.append(ToldEpisode.of(name, graded))
    goals = [task.questions[i].text for i in ids]
    return tuple(ToldGoal(goal, tuple(each)) for goal, each in zip(goals, told, strict=True) if each)


def _environment(evolution: Evolution) -> tuple[EnvironmentTask, int] | None:
    """The first part of the test that is played in an environment, and where its samples begin."""
    test: Any = evolution.plan.splits.test
    parts: Sequence[Any] = getattr(test, "parts", (test,))
    first = 0
    for part in parts:
        if isinstance(part, EnvironmentTask):
            return part, first
        first += 0 if part is None else len(part.samples)
    return None


def _telling(rows: np.ndarray) -> np.ndarray:
    """Positions of the samples on which the rows differ most, of equals the first."""
    return np.sort(np.argsort(-np.ptp(rows, axis=0), kind="stable")[:_GOALS])
