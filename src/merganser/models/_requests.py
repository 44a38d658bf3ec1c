"""What is asked of a model that speaks, and what it answers.

| question | answer | asked by |
| --- | --- | --- |
| [`GenerationRequest`][]: a prompt and its limits | [`Response`][] | tasks that grade a text |
| [`Continuation`][]: a text after a context | [`LogLikelihood`][] | multiple choice, perplexity, breaking ties |

A [`TextModel`][] answers both; in what batches is its own affair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A prompt to continue, greedily.

    Attributes:
        prompt: The text as the model is to see it; a chat template is applied before (`TextModel.render`).
        stop: Strings that end the answer; they are not part of it.
        max_tokens: Most tokens of the answer.
    """

    prompt: str
    stop: tuple[str, ...] = ()
    max_tokens: int = 256


@dataclass(frozen=True, slots=True)
class Response:
    """What a model wrote.

    Attributes:
        text: The answer, without the stop string.
        tokens: Tokens that were generated.
        ended: Why it ended: a stop string, the model's own end, or a limit.
    """

    text: str
    tokens: int
    ended: Literal["stop", "end", "tokens", "seconds"]


@dataclass(frozen=True, slots=True)
class Rollout:
    """An answer with its tokens: what training by reward needs.

    Attributes:
        prompt: Tokens of the prompt, as the model saw it.
        answer: Tokens that it chose, with the one that ends a text if it chose that.
        response: What they say.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    response: Response


@dataclass(frozen=True, slots=True)
class Continuation:
    """A text whose probability after a context is asked for.

    Attributes:
        context: What goes before; with an empty one the text stands after the model's start token.
        text: What is scored, with the blank it begins with if there is one.
    """

    context: str
    text: str


@dataclass(frozen=True, slots=True)
class LogLikelihood:
    """How probable a continuation is.

    Attributes:
        total: Sum of the log-probabilities of its tokens, in nats.
        tokens: How many tokens it has.
        is_greedy: Whether each of them is the most probable one.
    """

    total: float
    tokens: int
    is_greedy: bool


@runtime_checkable
class TextModel(Protocol):
    """A model that continues texts and says how probable they are."""

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Response]:
        """Answers, in the order of the requests."""
        ...

    def log_likelihoods(self, requests: Sequence[Continuation]) -> list[LogLikelihood]:
        """Log-probabilities, in the order of the requests."""
        ...

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Messages (`role`, `content`) as one prompt, by the model's chat template.

        Raises:
            ValueError: If the model has none.
        """
        ...
