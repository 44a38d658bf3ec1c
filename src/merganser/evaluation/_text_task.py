"""What tasks for language models have in common: questions with a prompt, their samples, digest and scores."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from merganser._errors import TaskError
from merganser.evaluation._graded import Graded
from merganser.evaluation._marks import Marks
from merganser.evaluation._prompt import DEFAULT_PROMPT, Prompt
from merganser.evaluation._question import Question
from merganser.evaluation._samples import Samples, content_hashes
from merganser.models import TextModel


@dataclass(frozen=True)
class TextTask(ABC):
    """Questions that a language model is asked and graded on.

    Attributes:
        name: What people call it.
        questions: What is asked.
        prompt: How questions are put.
        split: Name of the split.

    Raises:
        TaskError: If there are no questions, or some cannot be graded.
    """

    kind: ClassVar[str]
    """Name and version of the way of grading: part of the digest."""

    name: str
    questions: tuple[Question, ...]
    _: KW_ONLY
    prompt: Prompt = DEFAULT_PROMPT
    split: str = "all"

    def __post_init__(self) -> None:
        if not self.questions:
            raise TaskError(f"{self.name} has no questions.")
        faults = [(q, found) for q in self.questions if (found := self.complaint(q)) is not None]
        if faults:
            first, found = faults[0]
            where = f"line {first.line}" if first.line else f"{first.text[:40]!r}"
            raise TaskError(
                f"{self.name}: {len(faults)} questions cannot be graded. The first, {where}, {found}."
            )

    @property
    @abstractmethod
    def binary(self) -> bool:
        """Whether every score is 0 or 1."""

    @property
    @abstractmethod
    def settings(self) -> tuple[Any, ...]:
        """What decides about scores besides questions and prompt, as plain data."""

    @abstractmethod
    def complaint(self, question: Question) -> str | None:
        """Why the question cannot be graded; None if it can."""

    @abstractmethod
    def details(self, model: TextModel, ids: np.ndarray) -> list[Graded]:
        """Grades of a model on the samples at these positions, with what it answered.

        Raises:
            NonFiniteOutputError: If a log-probability is NaN or infinite.
        """

    def score(self, model: TextModel, ids: np.ndarray) -> Float[np.ndarray, " ids"]:
        """Scores of a model on the samples at these positions.

        Raises:
            NonFiniteOutputError: If a log-probability is NaN or infinite.
        """
        return self.mark(model, ids).scores

    def mark(self, model: TextModel, ids: np.ndarray) -> Marks:
        """Scores on the samples at these positions, and margins if every grade has one.

        Raises:
            NonFiniteOutputError: If a log-probability is NaN or infinite.
        """
        graded = self.details(model, ids)
        margins = [each.margin for each in graded if each.margin is not None]
        scores = np.array([each.score for each in graded], dtype=np.float64)
        return Marks(scores, np.array(margins, dtype=np.float64) if len(margins) == len(graded) else None)

    @property
    def samples(self) -> Samples:
        """Hashes of the questions' contents."""
        return self._samples

    @cached_property
    def _samples(self) -> Samples:
        return samples_of(self.questions, self.prompt, self.split)

    @property
    def digest(self) -> str:
        """Hash over questions, prompt and how answers are graded."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        facts = [self.kind, self.prompt.facts(), [q.facts() for q in self.questions], self.settings]
        return hashlib.blake2b(json.dumps(facts, ensure_ascii=False).encode(), digest_size=16).hexdigest()

    def part(self, questions: Sequence[Question], split: str) -> TextTask:
        """The same task with other questions."""
        return dataclasses.replace(self, questions=tuple(questions), split=split)


def samples_of(questions: Sequence[Question], prompt: Prompt, split: str) -> Samples:
    """Hashes of the questions' contents."""
    contents = (json.dumps(prompt.content(q), ensure_ascii=False).encode() for q in questions)
    return Samples(content_hashes(contents), None, split)
