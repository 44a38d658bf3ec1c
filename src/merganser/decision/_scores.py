"""Scores of models on all samples of some tasks, kept in files, one for each model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from jaxtyping import Float, Int

from merganser._errors import RunError
from merganser.evaluation import (
    Chosen,
    Interval,
    Splits,
    Stage,
    Task,
    TextTask,
    choose,
    difference_interval,
    evaluate,
    mean_interval,
)
from merganser.weights import atomic_write_text

Split: TypeAlias = Literal["search", "validation", "test"]
Row: TypeAlias = Float[np.ndarray, " samples"]


@dataclass(frozen=True, eq=False)
class Asked:
    """The samples of one split of all tasks, in a fixed order.

    Attributes:
        split: Which.
        parts: What of each task.
        names: Names of the tasks.
        weights: Of each sample, so that every task counts as much as it is to.
    """

    split: Split
    parts: tuple[Chosen, ...]
    names: tuple[str, ...]
    weights: Row

    @classmethod
    def of(cls, tasks: Sequence[Splits], split: Split, *, limit: int | None, seed: int) -> Asked:
        """The samples of a split.

        Raises:
            TaskError: If a task has no such split.
        """
        parts = tuple(choose(task, split, limit=limit, seed=seed) for task in tasks)
        weights = [np.full(len(c), t.weight / len(c)) for c, t in zip(parts, tasks, strict=True)]
        return cls(split, parts, tuple(task.search.name for task in tasks), np.concatenate(weights))

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def tasks(self) -> Int[np.ndarray, " samples"]:
        """Which task each sample belongs to."""
        return np.repeat(np.arange(len(self.parts)), [len(part) for part in self.parts])

    @property
    def texts(self) -> tuple[str, ...] | None:
        """What is asked, as a router sees it; None if a task asks in no words."""
        found: list[str] = []
        for task, ids in (each for part in self.parts for each in part.parts):
            if not isinstance(task, TextTask):
                return None
            found += [task.questions[i].text for i in ids]
        return tuple(found)

    def mean(self, scores: Row) -> Interval:
        """Mean score with its interval."""
        return mean_interval(scores, self.weights)

    def difference(self, scores: Row, other: Row) -> Interval:
        """How much better one is than the other, paired."""
        return difference_interval(scores, other, self.weights)

    def by_task(self, scores: Row) -> tuple[float, ...]:
        """Mean score on each task."""
        return tuple(float(scores[self.tasks == t].mean()) for t in range(len(self.parts)))


class Scored(NamedTuple):
    """One model on all samples.

    Attributes:
        rows: Scores by split; empty if it failed.
        failed: Why it failed, if it did.
    """

    rows: Mapping[Split, Row]
    failed: str | None = None


def score(
    name: str,
    asked: Mapping[Split, Asked],
    open_model: Callable[[str, Task], Any],
    path: Path,
    *,
    watch: Callable[[Stage], None] | None = None,
) -> Scored:
    """Score a model, or read what was found when it was scored before.

    Args:
        name: The model's name.
        asked: What it is asked, by split.
        open_model: Brings a model to life by its name.
        path: Where its scores are kept.
        watch: Called with every block of samples.

    Raises:
        RunError: If the file is there and holds something else.
        OutputError: If it cannot be written.
    """
    if path.is_file():
        return _read(path, asked)
    parts = [part for each in asked.values() for part in each.parts]
    found = evaluate([name], parts, open_model, watch=watch).results
    failed = next((result.failed for result in found if result.failed), None)
    rows: dict[Split, Row] = {}
    if failed is None:
        rest = list(found)
        for split, each in asked.items():
            rows[split] = np.concatenate([rest.pop(0).scores for _ in each.parts])
    facts = {"model": name, "failed": failed, "scores": {split: row.tolist() for split, row in rows.items()}}
    atomic_write_text(path, json.dumps(facts) + "\n")
    return Scored(rows, failed)


def _read(path: Path, asked: Mapping[Split, Asked]) -> Scored:
    try:
        facts = json.loads(path.read_text())
        failed, scores = facts["failed"], facts["scores"]
        rows: dict[Split, Row] = {}
        if failed is None:
            rows = {split: np.array(scores[split], dtype=np.float64) for split in asked}
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} is damaged: {type(error).__name__} {error}. Delete it to score anew."
        ) from error
    for split, row in rows.items():
        if len(row) != len(asked[split]):
            raise RunError(
                f"{path}: expected {len(asked[split])} {split} scores, found {len(row)}. Delete it to score anew."
            )
    return Scored(rows, failed)


def asked_of(tasks: Sequence[Splits], *, limit: int | None, seed: int) -> dict[Split, Asked]:
    """The samples of all splits.

    Raises:
        TaskError: If a task has no validation or no test split.
    """
    return {split: Asked.of(tasks, split, limit=limit, seed=seed) for split in get_args(Split)}
