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

import math
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from merganser.evaluation._graded import Graded, check_finite
from merganser.evaluation._question import Question
from merganser.evaluation._text_task import TextTask
from merganser.models import Continuation, TextModel

Unit = Literal["bytes", "characters", "tokens"]


class _Loss(NamedTuple):
    nats: float
    units: int


@dataclass(frozen=True)
class SetMetric(TextTask):
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

    kind: ClassVar[str] = "likelihood 1"

    _: KW_ONLY
    per: Unit = "bytes"

    @property
    def binary(self) -> bool:
        """Whether every score is 0 or 1: probabilities are not."""
        return False

    @property
    def settings(self) -> tuple[Unit]:
        """What the loss is divided by."""
        return (self.per,)

    def complaint(self, question: Question) -> str | None:
        """Why the text cannot be scored: it is empty."""
        return None if question.text else "is empty"

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
