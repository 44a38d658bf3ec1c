r"""Multiple choice by likelihood: which choice does the model find most probable after the question?

A choice of log-probability $\ell_k$ is worth $v_k$:

| `normalise` | $v_k$ |
| --- | --- |
| `none` | $\ell_k$ |
| `tokens` | $\ell_k$ divided by its tokens |
| `characters` | $\ell_k$ divided by its characters, the blank before it not counted |

| `score` | of right choice $r$ |
| --- | --- |
| `accuracy` | 1 if $v_r$ is larger than every other; a tie is not an answer |
| `probability` | $e^{v_r} / \sum_k e^{v_k}$: models that are equally often right differ |

Under `accuracy` the probability is the margin of the sample, by which searches may order models that are equally
often right.
"""

from __future__ import annotations

import string
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float

from merganser.evaluation._graded import Graded, check_finite
from merganser.evaluation._prompt import Prompt
from merganser.evaluation._question import Question
from merganser.evaluation._text_task import TextTask
from merganser.models import Continuation, LogLikelihood, TextModel

Normalisation = Literal["none", "tokens", "characters"]
_PROMPT = Prompt(answer=" {choice}")


@dataclass(frozen=True)
class ChoiceTask(TextTask):
    """Questions with choices, of which a model finds one the most probable.

    Attributes:
        name: What people call it.
        questions: What is asked; each has choices and the right one.
        prompt: How questions are put; its `answer` is what is scored for each choice: `" {choice}"` or `" {letter}"`.
        normalise: What log-probabilities are divided by.
        measure: `accuracy` (0 or 1) or `probability` of the right choice.
        split: Name of the split.

    Raises:
        TaskError: If there are no questions, or one has no right choice.
    """

    kind: ClassVar[str] = "choice 1"

    _: KW_ONLY
    prompt: Prompt = _PROMPT
    normalise: Normalisation = "characters"
    measure: Literal["accuracy", "probability"] = "accuracy"

    @property
    def binary(self) -> bool:
        """Whether every score is 0 or 1."""
        return self.measure == "accuracy"

    @property
    def settings(self) -> tuple[str, str]:
        """How choices are compared."""
        return self.normalise, self.measure

    def complaint(self, question: Question) -> str | None:
        """Why the question cannot be graded: it has no choices."""
        return "has no choices" if len(question.choices) < 2 or question.right is None else None

    def requests(self, question: Question, model: TextModel) -> list[Continuation]:
        """Every choice as a continuation of the question."""
        context = self.prompt.text(question, model.render)
        return [
            Continuation(context, self.prompt.answered(question, k)) for k in range(len(question.choices))
        ]

    def details(self, model: TextModel, ids: np.ndarray) -> list[Graded]:
        """Grades of a model on the samples at these positions, with the choices it took.

        Raises:
            NonFiniteOutputError: If a log-probability is NaN or infinite.
        """
        requests = [self.requests(self.questions[i], model) for i in ids]
        answers = model.log_likelihoods([r for each in requests for r in each])
        check_finite(self.name, (a.total for a in answers))
        at = iter(answers)
        values = [np.array([self._value(r, next(at)) for r in each]) for each in requests]
        return [self._graded(self.questions[i], value) for i, value in zip(ids, values, strict=True)]

    def _value(self, request: Continuation, answer: LogLikelihood) -> float:
        if self.normalise == "none":
            return answer.total
        length = answer.tokens if self.normalise == "tokens" else len(request.text.strip())
        return answer.total / max(1, length)

    def _graded(self, question: Question, values: Float[np.ndarray, " choices"]) -> Graded:
        right = question.right
        assert right is not None
        best = np.flatnonzero(values == values.max())
        response = " = ".join(f"{string.ascii_uppercase[k]}. {question.choices[k]}" for k in best)
        expected = f"expected {string.ascii_uppercase[right]}. {question.choices[right]}"
        if len(best) > 1:
            reason = f"{len(best)} choices are equally probable; {expected}"
        else:
            reason = "" if best[0] == right else f"chose {response}, {expected}"
        weights = np.exp(values - values.max())
        probability = float(weights[right] / weights.sum())
        if self.measure == "probability":
            return Graded(probability, response, reason)
        return Graded(float(not reason), response, reason, margin=probability)
