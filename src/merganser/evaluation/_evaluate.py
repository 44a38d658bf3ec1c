"""Scoring models on tasks: which samples, in what blocks, and what happens to a model that fails."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from merganser._errors import CheckpointError, TaskError
from merganser.evaluation._graded import Graded
from merganser.evaluation._question_splits import AskedTask
from merganser.evaluation._results import Evaluation, Result
from merganser.evaluation._samples import drawn
from merganser.evaluation._task import Splits, Task

SplitName = Literal["test", "validation", "search", "all"]
Open = Callable[[str, Task], Any]
"""Brings a model, by its reference, to life for a task."""

_BLOCK = 64  # samples between two looks at the progress: enough to fill batches


class Stage(NamedTuple):
    """How far an evaluation is.

    Attributes:
        doing: What is being scored.
        done: Samples scored, of all models and tasks.
        total: Samples to score.
    """

    doing: str
    done: int
    total: int


@dataclass(frozen=True)
class Chosen:
    """The samples of a task that are scored.

    Attributes:
        name: Name of the task, with its size if it is limited.
        split: Which samples.
        parts: Tasks and the positions of their samples.
    """

    name: str
    split: str
    parts: tuple[tuple[Task, np.ndarray], ...] = field(repr=False)

    def __len__(self) -> int:
        return sum(len(ids) for _, ids in self.parts)


def choose(splits: Splits, split: SplitName, *, limit: int | None = None, seed: int = 0) -> Chosen:
    """The samples of a split.

    Args:
        splits: The task; for `all` opened without a split rule.
        split: Which samples.
        limit: Take at most so many, by the hash of their content.
        seed: Another seed takes others.

    Raises:
        TaskError: If the task has no such split.
        ValueError: If the limit is not positive, or there is no split of that name.
    """
    if split not in get_args(SplitName):
        raise ValueError(f"Expected a split of {', '.join(get_args(SplitName))}, but found {split!r}.")
    if limit is not None and limit < 1:
        raise ValueError(f"A limit must be positive, but is {limit}.")
    parts = [splits.search, splits.test] if split == "all" else [getattr(splits, split)]
    tasks = [task for task in parts if task is not None]
    if not tasks:
        found = [n for n in ("search", "validation", "test") if getattr(splits, n) is not None]
        raise TaskError(f"{splits.search.name} has no {split} split; it has {', '.join(found)}.")
    hashes = [h for task in tasks for h in task.samples.hashes]
    kept = np.sort(drawn(hashes, range(len(hashes)), len(hashes) if limit is None else limit, seed))
    starts = np.cumsum([0, *(len(task.samples) for task in tasks)])
    ids = [kept[(kept >= a) & (kept < b)] - a for a, b in itertools.pairwise(starts)]
    size = f" [{len(kept):,} of {len(hashes):,}]" if len(kept) < len(hashes) else ""
    return Chosen(splits.search.name + size, split, tuple(zip(tasks, ids, strict=True)))


def together(chosen: Sequence[Chosen]) -> Chosen:
    """The samples of several tasks as if they were one task's.

    Raises:
        ValueError: If there are none, or they are of different splits.
    """
    splits = sorted({each.split for each in chosen})
    if len(splits) != 1:
        raise ValueError(f"Expected samples of one split, found {', '.join(splits) or 'none'}.")
    name = " and ".join(each.name for each in chosen)
    return Chosen(name, splits[0], tuple(part for each in chosen for part in each.parts))


def evaluate(
    models: Sequence[str | Path],
    tasks: Sequence[Chosen],
    open_model: Open,
    *,
    notes: Sequence[str] = (),
    watch: Callable[[Stage], None] | None = None,
) -> Evaluation:
    """Score models on tasks. A model that cannot be loaded, has NaN or takes too much memory fails; the others go on.

    Args:
        models: References of models.
        tasks: What to score them on.
        open_model: Brings a model to life.
        notes: What to tell with the results.
        watch: Called with every block of samples.

    Raises:
        ValueError: If a task answers with what are no scores.
    """
    total, results = len(models) * sum(map(len, tasks)), {}
    done = 0
    for m, model in enumerate(map(str, models)):  # models outside: each is loaded once
        for t, chosen in enumerate(tasks):
            results[t, m] = _result(model, chosen, open_model, _counted(watch, model, chosen, done, total))
            done += len(chosen)
    return Evaluation(tuple(results[key] for key in sorted(results)), tuple(notes))


def _counted(
    watch: Callable[[Stage], None] | None, model: str, chosen: Chosen, before: int, total: int
) -> Callable[[int], None]:
    def count(done: int) -> None:
        if watch is not None:
            watch(Stage(f"{Path(model).name} on {chosen.name}", before + done, total))

    return count


def _result(model: str, chosen: Chosen, open_model: Open, count: Callable[[int], None]) -> Result:
    hashes = tuple(task.samples.hashes[i] for task, ids in chosen.parts for i in ids)
    digests = tuple(task.digest for task, _ in chosen.parts)
    begun, scores, graded, asked = time.monotonic(), [], [], []
    count(0)
    try:
        for task, ids in chosen.parts:
            live = open_model(model, task)
            asked += _texts(task, ids)
            for block in np.split(ids, range(_BLOCK, len(ids), _BLOCK)):
                found = _scored(task, live, block)
                scores.append(found[0])
                graded += found[1]
                count(sum(map(len, scores)))
    except (ArithmeticError, CheckpointError, MemoryError, RuntimeError) as error:
        seconds = time.monotonic() - begun
        return Result(
            model,
            chosen.name,
            chosen.split,
            digests,
            hashes,
            np.zeros(0),
            seconds=seconds,
            failed=_reason(error),
        )
    return Result(
        model,
        chosen.name,
        chosen.split,
        digests,
        hashes,
        np.concatenate(scores),
        tuple(graded),
        tuple(asked),
        time.monotonic() - begun,
    )


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _texts(task: Task, ids: np.ndarray) -> list[str]:
    return [task.questions[i].text for i in ids] if isinstance(task, AskedTask) else []


def _scored(task: Task, live: Any, ids: np.ndarray) -> tuple[np.ndarray, list[Graded]]:
    graded = task.details(live, ids) if isinstance(task, AskedTask) else []
    scores = (
        np.array([g.score for g in graded]) if graded else np.asarray(task.score(live, ids), dtype=np.float64)
    )
    if scores.shape != ids.shape or not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(
            f"{task.name} must answer with {len(ids)} scores in [0, 1], but answered with {scores[:5]} … of shape "
            f"{scores.shape}."
        )
    return scores, graded
