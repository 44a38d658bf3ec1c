"""Several mixtures that answer the questions of a task beside one another, in the same batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from merganser.adaptation.strategies._model import AdaptiveModel
from merganser.evaluation import Chosen, Task, TextTask, marks_of
from merganser.models import Continuation, GenerationRequest, LogLikelihood, Response


class Marked(NamedTuple):
    """How good a voice is on some samples.

    Attributes:
        scores: Score of each sample, in [0, 1].
        tie: What tells voices of the same mean score apart, in nats a token, larger is better: the mean log-probability
            of right answers, or of the right choice's share; 0 where the task has none.
    """

    scores: Float[np.ndarray, " samples"]
    tie: float


class Chorus:
    """A [`TextModel`][merganser.models.TextModel] that is asked the same once for each voice, voice after voice.

    Args:
        model: Whose experts speak.
        voices: Names of experts; None for the base.
    """

    def __init__(self, model: AdaptiveModel, voices: Sequence[str | None]) -> None:
        self._model, self._voices = model, voices

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Response]:
        """Answers, each by its voice."""
        return self._model.generate_as(requests, self._spread(len(requests)))

    def log_likelihoods(self, requests: Sequence[Continuation]) -> list[LogLikelihood]:
        """Log-probabilities, each of its voice."""
        return self._model.log_likelihoods_as(requests, self._spread(len(requests)))

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Messages as one prompt."""
        return self._model.render(messages)

    def _spread(self, requests: int) -> list[str | None]:
        each, rest = divmod(requests, len(self._voices))
        if rest:
            raise ValueError(
                f"Expected as many requests of each of {len(self._voices)} voices, found {requests}."
            )
        return [voice for voice in self._voices for _ in range(each)]


def mark_voices(
    model: AdaptiveModel, voices: Sequence[str | None], chosen: Chosen, *, with_ties: bool = False
) -> list[Marked]:
    """Score experts on samples; those of tasks for texts all together, others one after the other.

    Args:
        model: Whose experts they are.
        voices: Their names; None for the base.
        chosen: The samples.
        with_ties: Whether to find out, too, what tells apart those that score the same.
    """
    found = [_part(model, voices, task, ids, with_ties=with_ties) for task, ids in chosen.parts if len(ids)]
    scores = [np.concatenate([part[0][k] for part in found]) for k in range(len(voices))]
    ties = [np.concatenate([part[1][k] for part in found]) for k in range(len(voices))]
    return [Marked(s, float(t.mean())) for s, t in zip(scores, ties, strict=True)]


def _part(
    model: AdaptiveModel, voices: Sequence[str | None], task: Task, ids: np.ndarray, *, with_ties: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and what breaks ties, a row for each voice."""
    if not isinstance(task, TextTask):
        rows = [marks_of(task, Chorus(model, [voice]), ids).scores for voice in voices]
        return np.array(rows), np.zeros((len(voices), len(ids)))
    chorus, many = Chorus(model, voices), np.tile(ids, len(voices))
    marks = task.mark(chorus, many)
    shape = len(voices), len(ids)
    ties = np.zeros(shape)
    if with_ties and task.binary:
        ties = (
            np.log(np.maximum(marks.margins, 1e-300))
            if marks.margins is not None
            else _gold(chorus, task, many)
        )
    return marks.scores.reshape(shape), ties.reshape(shape)


def _gold(chorus: Chorus, task: TextTask, ids: np.ndarray) -> np.ndarray:
    """Mean log-probability of the tokens of each right answer."""
    questions = [task.questions[i] for i in ids]
    if not all(question.answers for question in questions):
        return np.zeros(len(ids))
    wanted = [Continuation(task.prompt.text(q, chorus.render), task.prompt.answered(q)) for q in questions]
    return np.array([each.total / max(1, each.tokens) for each in chorus.log_likelihoods(wanted)])
