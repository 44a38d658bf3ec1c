"""Goals that a model reaches, or not, in several turns."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from merganser._errors import TaskError
from merganser.evaluation._graded import Graded
from merganser.evaluation._question import Question
from merganser.evaluation._samples import Samples, content_hashes
from merganser.evaluation.environments._environment import EnvironmentSource
from merganser.evaluation.environments._episode import Episode
from merganser.evaluation.environments._play import Seat, play
from merganser.evaluation.environments._prompt import DEFAULT_PROMPT, EpisodePrompt
from merganser.models import GenerationRequest, TextModel


@dataclass(frozen=True)
class EnvironmentTask:
    """Goals in an environment; the score of each is the reward of its episode's last step.

    An environment that fails costs its episode, which scores 0 and keeps the reason. A model that raises fails as a
    whole.

    Attributes:
        name: What people call it.
        questions: The goals. A goal is known by its text and its fields.
        source: Makes the environments.
        prompt: How episodes are put.
        steps: Most actions of an episode.
        stop: Strings that end an action.
        max_tokens: Most tokens of an action.
        width: Most episodes side by side, and so environments at a time.
        split: Name of the split.

    Raises:
        TaskError: If there are no goals, or one is empty.
        ValueError: If a limit is not positive.
    """

    name: str
    questions: tuple[Question, ...]
    source: EnvironmentSource
    prompt: EpisodePrompt = DEFAULT_PROMPT
    steps: int = 8
    stop: tuple[str, ...] = ("\n",)
    max_tokens: int = 64
    width: int = 64
    split: str = "all"

    def __post_init__(self) -> None:
        for key in ("steps", "max_tokens", "width"):
            if getattr(self, key) < 1:
                raise ValueError(f"`{key}` of {self.name} must be at least 1, but is {getattr(self, key)}.")
        if not self.questions:
            raise TaskError(f"{self.name} has no goals.")
        if empty := [i for i, goal in enumerate(self.questions, 1) if not goal.text.strip()]:
            raise TaskError(f"{self.name}: {len(empty)} goals are empty; the first is number {empty[0]}.")

    @property
    def binary(self) -> bool:
        """Rewards may lie between 0 and 1."""
        return False

    @property
    def samples(self) -> Samples:
        """Hashes of the goals."""
        return self._samples

    @cached_property
    def _samples(self) -> Samples:
        contents = (json.dumps([g.text, dict(g.fields)], sort_keys=True).encode() for g in self.questions)
        return Samples(content_hashes(contents), None, self.split)

    @property
    def digest(self) -> str:
        """Hash over goals, environment, prompt and limits; the width is not among them."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        limits = [self.steps, self.stop, self.max_tokens]
        goals = [goal.facts() for goal in self.questions]
        facts = ["environment 1", self.source.identity, self.prompt.facts(), limits, goals]
        return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()

    def part(self, questions: Sequence[Question], split: str) -> EnvironmentTask:
        """The same task with other goals."""
        return dataclasses.replace(self, questions=tuple(questions), split=split)

    def episodes(self, model: TextModel, ids: Int[np.ndarray, " ids"]) -> list[Episode]:
        """Transcripts of a model on the goals at these positions.

        Args:
            model: Who acts.
            ids: Positions of goals.

        Raises:
            TypeError: If the model does not answer texts.
        """
        if not isinstance(model, TextModel):
            raise TypeError(
                f"{self.name} asks a model texts, but {type(model).__name__} does not answer texts."
            )
        found: list[Episode] = []
        for begin in range(0, len(ids), self.width):
            goals = [self.questions[i] for i in ids[begin : begin + self.width]]
            seats = [Seat(self.source, goal.facts(), self.steps) for goal in goals]
            found += play(seats, lambda going: self._actions(model, going))
        return found

    def details(self, model: TextModel, ids: Int[np.ndarray, " ids"]) -> list[Graded]:
        """Grades of a model on the goals at these positions, with the transcripts."""
        return [
            Graded(e.reward, "\n".join(turn.action for turn in e.turns), e.reason, e.facts())
            for e in self.episodes(model, ids)
        ]

    def score(self, model: TextModel, ids: Int[np.ndarray, " ids"]) -> Float[np.ndarray, " ids"]:
        """Rewards of a model on the goals at these positions, each in [0, 1]."""
        return np.array([episode.reward for episode in self.episodes(model, ids)], dtype=np.float64)

    def _actions(self, model: TextModel, going: Sequence[Seat]) -> list[str | None]:
        prompts = [self._prompt(model, seat) for seat in going]
        asked = [GenerationRequest(p, self.stop, self.max_tokens) for p in prompts if p is not None]
        answers = iter(model.generate(asked) if asked else ())
        return [None if p is None else next(answers).text.strip() for p in prompts]

    def _prompt(self, model: TextModel, seat: Seat) -> str | None:
        """What the model reads next; None if even the latest observation leaves no place for an action."""
        kept = self.prompt.kept(seat.turns)
        while True:
            text = self.prompt.text(kept, seat.observation, model.render)
            room = model.room(text) if isinstance(model, _KnowsItsContext) else None
            if room is None or room >= self.max_tokens:
                return text
            if not kept:
                return None
            del kept[1 if len(kept) > 1 else 0]


@runtime_checkable
class _KnowsItsContext(Protocol):
    def room(self, prompt: str) -> int | None:
        """Tokens that an answer to a prompt may have; None for any number."""
        ...
