"""What a step is trained on: which questions, the model's answers or the right ones, and what they are worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from merganser._errors import TaskError
from merganser.adaptation.training._settings import Training
from merganser.evaluation import GenerativeTask
from merganser.models import Response, SpokenModel

_ORDER, _ANSWERS = 0, 1
"""What random numbers are for."""

_SHOWN = 120
"""Characters of a text that a message shows."""

_MEND = (
    "Mend the scorer. The last checkpoint is kept: the same training goes on from it, unless the scorer's own code is "
    "part of the task's digest, which then differs."
)


class Answered(NamedTuple):
    """Answers of one step.

    Attributes:
        tokens: Of each answer, the one that ends it included.
        rewards: Of each answer.
    """

    tokens: list[list[int]]
    rewards: list[float]


class Lessons:
    """The questions of a training, in the order in which they are asked.

    Args:
        model: Who answers; as it is at the time.
        task: What is asked, and how it is graded.
        settings: How it is trained.
    """

    def __init__(self, model: SpokenModel, task: GenerativeTask, settings: Training) -> None:
        self._model, self._task, self._settings = model, task, settings
        self._gold: dict[int, list[int]] = {}

    def order(self) -> list[int]:
        """Positions of the questions of all steps, one after the other: each once before any comes again."""
        count, wanted = len(self._task.questions), self._settings.steps * self._settings.prompts
        rounds = range(math.ceil(wanted / count))
        seed = self._settings.seed
        drawn = [np.random.default_rng([seed, _ORDER, k]).permutation(count) for k in rounds]
        return np.concatenate(drawn)[:wanted].tolist()

    def prompts(self, positions: Sequence[int]) -> list[list[int]]:
        """Tokens of the prompts of these questions, as evaluation asks them."""
        asked = self._task.requests(np.array(positions), self._model.render)
        return [list(tokens) for tokens in self._model.tokens.prompts([each.prompt for each in asked])]

    def is_supervised(self, step: int) -> bool:
        """Whether a step, from 0, imitates right answers."""
        return step < self._settings.warm_up

    def answers(self, positions: Sequence[int], step: int) -> Answered:
        """Answers to these questions: the right ones, each worth 1, or the model's own, graded.

        Raises:
            TaskError: If a question has no right answer, or grading one fails or gives what is no score.
            NonFiniteOutputError: If the model's output is NaN or infinite.
        """
        if self.is_supervised(step):
            return Answered([self._right(k) for k in positions], [1.0] * len(positions))
        asked = self._task.requests(np.array(positions), self._model.render)
        seed = int(np.random.default_rng([self._settings.seed, _ANSWERS, step]).integers(1 << 62))
        found = self._model.roll_out(asked, temperature=self._settings.temperature, seed=seed)
        rewards = [self._reward(k, each.response) for k, each in zip(positions, found, strict=True)]
        return Answered([list(each.answer) for each in found], rewards)

    def _reward(self, position: int, response: Response) -> float:
        score = self._score(position, response)
        return score if self._settings.rewards == "scores" else 2 * score - 1

    def _score(self, position: int, response: Response) -> float:
        try:
            score = self._task.grade(np.array([position]), [response])[0].score
        except Exception as error:  # a scorer may be anybody's
            raise TaskError(
                f"{self._task.name} cannot grade an answer: {type(error).__name__}: {error}. "
                f"{self._quoted(position, response)} {_MEND}"
            ) from error
        if not 0 <= score <= 1:
            raise TaskError(
                f"{self._task.name} must grade answers with scores in [0, 1], but one got {score}. "
                f"{self._quoted(position, response)} {_MEND}"
            )
        return score

    def _quoted(self, position: int, response: Response) -> str:
        question = self._task.questions[position].text
        return f"The question was {question[:_SHOWN]!r}, the answer {response.text[:_SHOWN]!r}."

    def _right(self, position: int) -> list[int]:
        if position not in self._gold:
            self._gold[position] = right_answer(self._model, self._task, position)
        return self._gold[position]


def right_answer(model: SpokenModel, task: GenerativeTask, position: int) -> list[int]:
    """Tokens of the right answer to a question as they follow its prompt, and the token that ends a text.

    Raises:
        TaskError: If the question has no right answer, or there is no room for it.
    """
    question = task.questions[position]
    if not question.answers and "solution" not in question.fields:
        raise TaskError(
            f"{task.name} holds no answer to {question.text[:_SHOWN]!r}, which supervised steps imitate. Add a column "
            "with answers, or train by reward alone."
        )
    prompt, answer = task.prompt.text(question, model.render), task.prompt.answered(question)
    [context], [(before, after)] = model.tokens.prompts([prompt]), model.tokens.split([(prompt, answer)])
    whole = [*before, *after]
    is_continued = tuple(whole[: len(context)]) == context  # unless both ends melt into one token
    right = whole[len(context) :] if is_continued else _alone(model, answer)
    end = model.tokens.tokenizer.eos_token_id
    right += [] if end is None else [end]
    room = model.room(prompt)
    if not right or (room is not None and len(right) > room):
        raise TaskError(
            f"The right answer to {question.text[:_SHOWN]!r} has {len(right)} tokens, but there is room for "
            f"{'any number' if room is None else room} after its prompt, and at least one is needed."
        )
    return right


def _alone(model: SpokenModel, text: str) -> list[int]:
    return model.tokens.tokenizer(text, add_special_tokens=False)["input_ids"]
