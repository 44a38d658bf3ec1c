"""Who scores children: this process, or worker processes with a live model each.

| runner | children at a time | a model that hangs or takes all memory |
| --- | --- | --- |
| [`Here`][] | one, in this process | takes the run with it; the journal has what came before |
| [`Workers`][] | one for each process | costs that child; its process is replaced |

Scoring a child is a conversation ([`Visit`][]): it says on which samples it wants to be scored next, is told the
marks, and ends with what it found. So early rejection decides here, in the process that knows the archive, while the
model is alive elsewhere. In what order children are *told* to the search is the loop's affair, not the runner's.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from merganser.evaluation import Marks, Task, marks_of
from merganser.evolution import Genome, Row
from merganser.run._plan import Plan


class Scored(NamedTuple):
    """What scoring a child found.

    Args:
        row: Its scores, as far as they were measured.
        measured: On how many samples it was scored.
    """

    row: Row
    measured: int


Visit = Generator[np.ndarray, Marks, Scored]
"""Yields positions of samples, is sent their scores and margins, and returns what it found."""


@dataclass(frozen=True)
class Job:
    """One child to be scored.

    Attributes:
        genome: The child.
        task: Which of the plan's tasks: 0 is the search split.
        samples: How many samples the task has.
        visit: The conversation about it.
    """

    genome: Genome
    task: int
    samples: int
    visit: Visit

    def failed(self, reason: str) -> Scored:
        """The result of a child that could not be scored: a failed candidate costs one candidate."""
        return Scored(Row(np.zeros(self.samples), failed=reason), 0)


@runtime_checkable
class Runner(Protocol):
    """Scores children."""

    @property
    def width(self) -> int:
        """Children that can be scored at a time."""
        ...

    def start(self, key: int, job: Job) -> None:
        """Begin with a child, or put it in the queue."""
        ...

    def finish(self, key: int) -> Scored:
        """What was found; waits until it is."""
        ...

    def close(self) -> None:
        """Give up what is in progress."""
        ...


class Here:
    """Scores in this process, when asked for the result.

    Args:
        plan: The run's parts; its live model becomes child after child.
    """

    width = 1

    def __init__(self, plan: Plan) -> None:
        self._plan, self._jobs = plan, dict[int, Job]()

    def start(self, key: int, job: Job) -> None:
        """Remember it."""
        self._jobs[key] = job

    def finish(self, key: int) -> Scored:
        """Score it."""
        job, plan = self._jobs.pop(key), self._plan
        task = plan.tasks[job.task]
        try:
            ids = next(job.visit)
            model = plan.bring_to_life(job.genome)
            while True:
                ids = job.visit.send(checked_marks(task, model, ids))
        except StopIteration as end:
            return end.value
        except Exception as error:  # noqa: BLE001 - a failed candidate costs one candidate
            return job.failed(reason_of(error))

    def close(self) -> None:
        """Nothing is in progress."""


def checked_marks(task: Task, model: object, ids: np.ndarray) -> Marks:
    """Scores and margins of the live model, as the journal will hold them.

    Raises:
        ValueError: If the task answers with something that is no score for each sample.
    """
    scores, margins = marks_of(task, model, ids)
    scores = _checked("scores", scores, ids)
    if margins is not None:
        margins = _as_kept(_checked("margins", margins, ids))
    return Marks(scores if task.binary else _as_kept(scores), margins)


def _checked(what: str, given: np.ndarray, ids: np.ndarray) -> np.ndarray:
    values = np.asarray(given, dtype=np.float64)
    if values.shape != ids.shape:
        raise ValueError(f"the task answered with {what} of shape {values.shape} for {len(ids)} samples")
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"the task answered with {what} from {values.min():g} to {values.max():g}, not in [0, 1]"
        )
    return values


def _as_kept(values: np.ndarray) -> np.ndarray:
    """Rounded as the journal does it, so that a resumed run decides by the very same numbers."""
    return values.astype(np.float32).astype(np.float64)


def reason_of(error: Exception) -> str:
    """Why a candidate failed, for the journal."""
    return f"{type(error).__name__}: {error}"
