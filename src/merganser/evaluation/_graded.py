"""What tasks for language models share: graded answers, their samples, their digests."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from merganser._errors import TaskError
from merganser.evaluation._classification import NonFiniteOutputError
from merganser.evaluation._prompt import Prompt
from merganser.evaluation._question import Question
from merganser.evaluation._samples import Samples, content_hashes


@dataclass(frozen=True, slots=True)
class Graded:
    """The score of one answer, and how it came about.

    Attributes:
        score: In [0, 1]; 1 is best.
        response: What the model wrote or chose.
        reason: Why the score is not 1; empty where it is.
        record: What else there is to read about it, as plain data: the transcript of an episode.
    """

    score: float
    response: str
    reason: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)


def samples_of(questions: Sequence[Question], prompt: Prompt, split: str) -> Samples:
    """Hashes of the questions' contents."""
    contents = (json.dumps(prompt.content(q), ensure_ascii=False).encode() for q in questions)
    return Samples(content_hashes(contents), None, split)


def digest_of(kind: str, questions: Iterable[Question], prompt: Prompt, *settings: Any) -> str:
    """Hash over everything that decides about scores."""
    facts = [kind, prompt.facts(), [q.facts() for q in questions], settings]
    return hashlib.blake2b(json.dumps(facts, ensure_ascii=False).encode(), digest_size=16).hexdigest()


def check_usable(
    name: str, questions: Sequence[Question], complaint: Callable[[Question], str | None]
) -> None:
    """Make sure that every question can be graded, before any model is asked.

    Raises:
        TaskError: If there are no questions, or some cannot.
    """
    if not questions:
        raise TaskError(f"{name} has no questions.")
    faults = [(q, found) for q in questions if (found := complaint(q)) is not None]
    if faults:
        first, found = faults[0]
        where = f"line {first.line}" if first.line else f"{first.text[:40]!r}"
        raise TaskError(f"{name}: {len(faults)} questions cannot be graded. The first, {where}, {found}.")


def check_finite(name: str, values: Iterable[float]) -> None:
    """Make sure that a model's log-probabilities are numbers.

    Raises:
        NonFiniteOutputError: If one is not: then nothing the model says can be trusted.
    """
    wrong = next((v for v in values if not math.isfinite(v)), None)
    if wrong is not None:
        raise NonFiniteOutputError(f"log-probabilities hold {wrong} on {name}")
