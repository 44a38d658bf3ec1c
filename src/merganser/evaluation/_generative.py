"""Tasks whose answers are written: the model continues a prompt, a scorer grades the text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from merganser.evaluation._graded import Graded, check_usable, digest_of, samples_of
from merganser.evaluation._prompt import DEFAULT_PROMPT, Prompt, Render
from merganser.evaluation._question import Question
from merganser.evaluation._samples import Samples
from merganser.evaluation.scorers import Scorer, Verdict
from merganser.models import GenerationRequest, Response, TextModel


@dataclass(frozen=True)
class GenerativeTask:
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

    name: str
    questions: tuple[Question, ...]
    scorer: Scorer
    prompt: Prompt = DEFAULT_PROMPT
    stop: tuple[str, ...] = ("Question:",)
    max_tokens: int = 256
    split: str = "all"

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError(
                f"An answer must have at least one token, but `max_tokens` is {self.max_tokens}."
            )
        check_usable(self.name, self.questions, self.scorer.complaint)

    @property
    def binary(self) -> bool:
        """Whether every score is 0 or 1."""
        return self.scorer.binary

    @property
    def samples(self) -> Samples:
        """Hashes of the questions' contents."""
        return self._samples

    @cached_property
    def _samples(self) -> Samples:
        return samples_of(self.questions, self.prompt, self.split)

    @property
    def digest(self) -> str:
        """Hash over questions, prompt, scorer and limits."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        settings = (self.scorer.identity, self.stop, self.max_tokens)
        return digest_of("generative 1", self.questions, self.prompt, *settings)

    def part(self, questions: Sequence[Question], split: str) -> GenerativeTask:
        """The same task with other questions."""
        return dataclasses.replace(self, questions=tuple(questions), split=split)

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

    def score(self, model: TextModel, ids: np.ndarray) -> Float[np.ndarray, " ids"]:
        """Scores of a model on the samples at these positions."""
        return np.array([graded.score for graded in self.details(model, ids)], dtype=np.float64)

    def _graded(self, question: Question, response: Response) -> Graded:
        found = (
            self.scorer.judge(question, response.text)
            if response.text.strip()
            else Verdict(0.0, "empty answer")
        )
        cut = f"; cut off after {response.tokens} tokens" if response.ended == "tokens" else ""
        late = "; stopped at the time limit" if response.ended == "seconds" else ""
        return Graded(found.score, response.text, found.reason + cut + late if found.reason else "")
