"""A question as tasks for language models see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Question:
    """One sample of a task for language models.

    Attributes:
        text: The question, or the text itself where its probability is the score.
        answers: Accepted answers; empty where there is nothing to compare with.
        choices: The choices of multiple choice, in order.
        right: Position of the right choice, from 0.
        fields: The other columns of its row, as text; `solution` is the whole answer where only its end is compared.
        line: Line or number of its row in the file, from 1; 0 if it came from elsewhere.
    """

    text: str
    answers: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    right: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    line: int = 0

    @property
    def expected(self) -> str:
        """The right answer for people; empty where there is nothing to compare with."""
        if self.right is not None:
            return self.choices[self.right].strip()
        return self.answers[0] if self.answers else ""

    def facts(self) -> dict[str, Any]:
        """Everything about it as plain data: what a scorer of your own is given."""
        return {
            "question": self.text,
            "answers": list(self.answers),
            "choices": list(self.choices),
            "right": self.right,
            "fields": dict(self.fields),
        }
