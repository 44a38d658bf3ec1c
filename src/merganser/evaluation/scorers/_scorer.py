"""What a scorer is: a named, versioned, pure function from a question and a text to a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from merganser.evaluation._question import Question

_LONGEST_SHOWN = 80


class Verdict(NamedTuple):
    """Score of one answer.

    Attributes:
        score: In [0, 1]; 1 is best.
        reason: Why it is not 1; empty where it is.
    """

    score: float
    reason: str = ""


def _anything_goes(question: Question) -> str | None:  # noqa: ARG001
    return None


def needs_answer(question: Question) -> str | None:
    """The complaint of scorers that compare with an answer."""
    return None if question.answers else "has no answer to compare with"


@dataclass(frozen=True, slots=True)
class Scorer:
    """How answers are graded.

    Attributes:
        name: What users write, with its variant.
        judge: Verdict on a text as answer to a question.
        version: Raised whenever the same text may get another score.
        binary: Whether every score is 0 or 1.
        complaint: What makes a question useless for this scorer, or None; asked before any model is.
    """

    name: str
    judge: Callable[[Question, str], Verdict]
    version: int = 1
    binary: bool = True
    complaint: Callable[[Question], str | None] = _anything_goes

    @property
    def identity(self) -> str:
        """Name and version: what a task's digest covers."""
        return f"{self.name} {self.version}"


def verdict(right: bool, found: object, expected: object) -> Verdict:
    """1, or 0 with what was found and what was expected."""
    return Verdict(1.0) if right else Verdict(0.0, f"found {shown(found)}, expected {shown(expected)}")


def shown(value: object) -> str:
    """A value for people, short and on one line."""
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
