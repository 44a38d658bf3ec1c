r"""How probable a model finds texts: perplexity and bits per byte, as scores in [0, 1].

A text of log-probability $\ell$ (in nats) and $n$ units has the loss $L = -\ell / n$ and scores $e^{-L}$, which is 1
for a model that is always certain and right:

| `per` | units | the score is | between tokenizers |
| --- | --- | --- | --- |
| `bytes` | bytes of UTF-8 | $2^{-\text{bits per byte}}$ | comparable |
| `characters` | characters | | comparable |
| `tokens` | the model's tokens | $1 / \text{perplexity}$ | not comparable |

The value of a set of texts is $e^{\sum \ell / \sum n}$, which is not the mean of their scores: long texts count more.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from merganser.evaluation._graded import Graded, check_finite, check_usable, digest_of, samples_of
from merganser.evaluation._prompt import DEFAULT_PROMPT, Prompt
from merganser.evaluation._question import Question
from merganser.evaluation._samples import Samples
from merganser.models import Continuation, TextModel

Unit = Literal["bytes", "characters", "tokens"]


class _Loss(NamedTuple):
    nats: float
    units: int


@dataclass(frozen=True)
class SetMetric:
    """Texts whose probability is the score.

    A question without an answer is scored as a text by itself; with an answer, the answer is scored after the question.

    Attributes:
        name: What people call it.
        questions: The texts.
        prompt: How questions are put, where there are answers.
        per: What the loss is divided by.
        split: Name of the split.

    Raises:
        TaskError: If there are no texts.
    """

    name: str
    questions: tuple[Question, ...]
    prompt: Prompt = DEFAULT_PROMPT
    per: Unit = "bytes"
    split: str = "all"
    binary: bool = False

    def __post_init__(self) -> None:
        check_usable(self.name, self.questions, lambda q: None if q.text else "is empty")

    @property
    def samples(self) -> Samples:
        """Hashes of the texts."""
        return self._samples

    @cached_property
    def _samples(self) -> Samples:
        return samples_of(self.questions, self.prompt, self.split)

    @property
    def digest(self) -> str:
        """Hash over texts, prompt and unit."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return digest_of("likelihood 1", self.questions, self.prompt, self.per)

    def part(self, questions: Sequence[Question], split: str) -> SetMetric:
        """The same task with other texts."""
        return dataclasses.replace(self, questions=tuple(questions), split=split)

    def value(self, model: TextModel, ids: np.ndarray) -> float:
        """The one number of a set of samples, in [0, 1]; for `tokens` 1 / perplexity.

        Raises:
            NonFiniteOutputError: If a log-probability is NaN or infinite.
        """
        losses = self._losses(model, ids)
        units = sum(loss.units for loss in losses)
        return _score(_Loss(sum(loss.nats for loss in losses), units)) if units else 0.0

    def details(self, model: TextModel, ids: np.ndarray) -> list[Graded]:
        """Scores with the loss in bits per unit.

        Raises:
            NonFiniteOutputError: If a log-probability is NaN or infinite.
        """
        return [self._graded(loss) for loss in self._losses(model, ids)]

    def score(self, model: TextModel, ids: np.ndarray) -> Float[np.ndarray, " ids"]:
        """Score of each text by itself.

        Raises:
            NonFiniteOutputError: If a log-probability is NaN or infinite.
        """
        return np.array([graded.score for graded in self.details(model, ids)], dtype=np.float64)

    def _losses(self, model: TextModel, ids: np.ndarray) -> list[_Loss]:
        requests = [self._request(self.questions[i], model) for i in ids]
        answers = model.log_likelihoods(requests)
        check_finite(self.name, (a.total for a in answers))
        return [
            _Loss(-answer.total, self._units(request.text, answer.tokens))
            for request, answer in zip(requests, answers, strict=True)
        ]

    def _request(self, question: Question, model: TextModel) -> Continuation:
        if not question.answers:
            return Continuation("", question.text)
        return Continuation(self.prompt.text(question, model.render), self.prompt.answered(question))

    def _units(self, text: str, tokens: int) -> int:
        if self.per == "tokens":
            return tokens
        return len(text.encode()) if self.per == "bytes" else len(text)

    def _graded(self, loss: _Loss) -> Graded:
        if not loss.units:
            return Graded(0.0, "", "nothing to score: no tokens")
        bits = loss.nats / loss.units / math.log(2)
        return Graded(_score(loss), f"{bits:.4f} bits per {self.per.removesuffix('s')}")


def _score(loss: _Loss) -> float:
    return min(1.0, math.exp(-loss.nats / loss.units))
