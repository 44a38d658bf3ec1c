"""Tasks whose answers are written: the model continues a prompt, a scorer grades the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np

from merganser.evaluation._graded import Graded
from merganser.evaluation._prompt import Render
from merganser.evaluation._question import Question
from merganser.evaluation._text_task import TextTask
from merganser.evaluation.scorers import Scorer, Verdict
from merganser.models import GenerationRequest, Response, TextModel


@dataclass(frozen=True)
class GenerativeTask(TextTask):
    """Questions that a model answers in writing.

    An answer that is empty or that the scorer cannot grade scores 0 and keeps its reason. A model that raises fails
    as a whole.

    Attributes:
        name: What people call it.
        questions: What is asked.
        scorer: How answers are graded.
        prompt: How questions are put.
        stop: Strings that end an answer.
        max_tokens: Most tokens of an answer.
        split: Name of the split.

    Raises:
        TaskError: If there are no questions, or the scorer cannot grade some.
        ValueError: If `max_tokens` is not positive.
    """

    kind: ClassVar[str] = "generative 1"

    scorer: Scorer
    _: KW_ONLY
    stop: tuple[str, ...] = ("Question:",)
    max_tokens: int = 256

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError(
                f"An answer must have at least one token, but `max_tokens` is {self.max_tokens}."
            )
        super().__post_init__()

    @property
    def binary(self) -> bool:
        """Whether every score is 0 or 1."""
        return self.scorer.binary

    @property
    def settings(self) -> tuple[object, ...]:
        """Scorer and limits."""
        return self.scorer.identity, self.stop, self.max_tokens

    def complaint(self, question: Question) -> str | None:
        """Why the scorer cannot grade the question; None if it can."""
        return self.scorer.complaint(question)

    def requests(self, ids: np.ndarray, render: Render | None = None) -> list[GenerationRequest]:
        """What a model is asked on the samples at these positions.

        Args:
            ids: Positions of samples.
            render: Messages as one text, for chat: `TextModel.render`.
        """
        return [
            GenerationRequest(self.prompt.text(self.questions[i], render), self.stop, self.max_tokens)
            for i in ids
        ]

    def grade(self, ids: np.ndarray, responses: Sequence[Response]) -> list[Graded]:
        """Grades of the answers on the samples at these positions."""
        return [self._graded(self.questions[i], response) for i, response in zip(ids, responses, strict=True)]

    def details(self, model: TextModel, ids: np.ndarray) -> list[Graded]:
        """Grades of a model on the samples at these positions, with its answers."""
        return self.grade(ids, model.generate(self.requests(ids, model.render)))

    def _graded(self, question: Question, response: Response) -> Graded:
        found = (
            self.scorer.judge(question, response.text)
            if response.text.strip()
            else Verdict(0.0, "empty answer")
        )
        cut = f"; cut off after {response.tokens} tokens" if response.ended == "tokens" else ""
        late = "; stopped at the time limit" if response.ended == "seconds" else ""
        return Graded(found.score, response.text, found.reason + cut + late if found.reason else "")
