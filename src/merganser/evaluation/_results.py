"""What became of models on tasks: scores with intervals, paired differences, and what every sample came to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from merganser.evaluation._graded import Graded
from merganser.evaluation._intervals import Interval, difference_interval, mean_interval


@dataclass(frozen=True)
class Result:
    """One model on one task.

    Attributes:
        model: Reference of the model.
        task: Name of the task; of a limited one with its size.
        split: Which samples.
        digests: Digests of the task's parts: equal ones were asked the same.
        hashes: Hash of each sample's content.
        scores: Score of each; empty if the model failed.
        graded: What every sample came to, for tasks that can tell.
        questions: Text of each sample, for tasks that have one.
        seconds: How long it took.
        failed: Why the model failed, if it did.
    """

    model: str
    task: str
    split: str
    digests: tuple[str, ...]
    hashes: tuple[str, ...]
    scores: np.ndarray
    graded: tuple[Graded, ...] = ()
    questions: tuple[str, ...] = ()
    seconds: float = 0.0
    failed: str | None = None

    @property
    def interval(self) -> Interval | None:
        """Mean score with its 95 % interval; None if the model failed."""
        return None if self.failed else mean_interval(self.scores)

    def samples(self) -> Iterator[dict[str, Any]]:
        """Every sample as plain data."""
        for i, score in enumerate(self.scores):
            row = {"model": self.model, "task": self.task, "split": self.split, "sample": self.hashes[i]}
            if self.questions:
                row["question"] = self.questions[i]
            if self.graded:
                graded = self.graded[i]
                row |= {"response": graded.response, "reason": graded.reason, **graded.record}
            yield {**row, "score": float(score)}


@dataclass(frozen=True)
class Evaluation:
    """All models on all tasks.

    Attributes:
        results: Task by task, the models in their order.
        notes: What somebody who reads them should know.
    """

    results: tuple[Result, ...]
    notes: tuple[str, ...] = ()

    def difference(self, result: Result) -> Interval | None:
        """How much better a result is than the first model's on the same samples; None for the first itself."""
        first = next(r for r in self.results if (r.task, r.digests) == (result.task, result.digests))
        if first is result or first.failed or result.failed:
            return None
        return difference_interval(result.scores, first.scores)

    def to_json(self) -> dict[str, Any]:
        """Results and differences as plain data."""
        rows = []
        for r in self.results:
            interval, difference = r.interval, self.difference(r)
            rows.append(
                {
                    "model": r.model,
                    "task": r.task,
                    "split": r.split,
                    "samples": len(r.hashes),
                    "score": interval and interval._asdict(),
                    "difference": difference and difference._asdict(),
                    "seconds": r.seconds,
                    "failed": r.failed,
                }
            )
        return {"results": rows, "notes": list(self.notes)}
