"""The log of outcomes: JSON lines that are only ever appended to.

A process that is killed may leave half a line. The next line begins after it; whoever reads passes it over and counts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from typing import Any, NamedTuple

from merganser._errors import ConfigError, OutputError
from merganser.routing.requests._data import Row, text_hash
from merganser.routing.requests._trace import Trace


class Outcomes(NamedTuple):
    """What a log holds.

    Attributes:
        traces: The requests, in order.
        grades: Score of each request that somebody graded, by its id.
        torn: Lines that could not be read.
    """

    traces: tuple[Trace, ...]
    grades: dict[str, float]
    torn: int


@dataclass(frozen=True)
class OutcomeLog:
    """A file of outcomes.

    Attributes:
        path: The file; made with the first line.
    """

    path: Path

    def write(self, trace: Trace) -> None:
        """Append what became of a request.

        Raises:
            OutputError: If the file cannot be written.
        """
        self._append({"trace": trace.to_json()})

    def grade(self, trace_id: str, score: float) -> None:
        """Append how good an answer was.

        Args:
            trace_id: Of which request.
            score: In [0, 1].

        Raises:
            ValueError: If the score is another.
            OutputError: If the file cannot be written.
        """
        if not 0 <= score <= 1:
            raise ValueError(f"A score must lie in [0, 1], but is {score}.")
        self._append({"grade": {"id": trace_id, "score": score}})

    def read(self) -> Outcomes:
        """Everything that is in the file; a line that is torn is passed over.

        Raises:
            ConfigError: If the file cannot be read.
        """
        try:
            lines = self.path.read_bytes().split(b"\n")
        except OSError as error:
            raise ConfigError(f"Cannot read {self.path}: {error.strerror}.") from error
        traces, grades, torn = [], {}, 0
        for line in lines:
            if not line.strip():
                continue
            try:
                found = json.loads(line)
                if "grade" in found:
                    grades[str(found["grade"]["id"])] = float(found["grade"]["score"])
                else:
                    traces.append(Trace.of_json(found["trace"]))
            except (ValueError, KeyError, TypeError):
                torn += 1
        return Outcomes(tuple(traces), grades, torn)

    def _append(self, value: dict[str, Any]) -> None:
        line = json.dumps(value, ensure_ascii=False).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b", buffering=0) as file:
                if _ends_in_half_a_line(file):
                    line = b"\n" + line
                file.write(line)  # one write at the end of the file: lines of two processes do not mix
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}.") from error


def _ends_in_half_a_line(file: RawIOBase) -> bool:
    if not file.seek(0, os.SEEK_END):
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


class Learnt(NamedTuple):
    """What a log can teach.

    Attributes:
        rows: Scores of experts on requests.
        ungraded: Answers that kept their contract, which nobody graded.
        held_out: Outcomes on requests that the router is validated or tested on.
    """

    rows: tuple[Row, ...]
    ungraded: int
    held_out: int


def learnt_from(outcomes: Outcomes, held_out: Collection[str]) -> Learnt:
    """Rows of a log: an expert that did not keep its contract has 0, one that did has its grade, if there is one.

    Args:
        outcomes: The log.
        held_out: Hashes of requests that must not be learnt from.
    """
    rows, ungraded, passed = [], 0, 0
    for trace in outcomes.traces:
        for row in _rows(trace, outcomes.grades.get(trace.id)):
            if text_hash(row.text) in held_out:
                passed += 1
            elif row.score < 0:
                ungraded += 1
            else:
                rows.append(row)
    return Learnt(tuple(rows), ungraded, passed)


def _rows(trace: Trace, grade: float | None) -> Iterator[Row]:
    """A row for each expert that was asked; -1 where its score is not known."""
    for name in dict.fromkeys(attempt.expert for attempt in trace.attempts):
        kept = name == trace.expert
        score = (-1.0 if grade is None else grade) if kept else 0.0
        yield Row(name, trace.request, score, "search", kept, "log")
