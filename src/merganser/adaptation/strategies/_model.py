"""A language model that chooses an expert for each request, and answers as that expert."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from merganser.adaptation._attach import AdaptedModel, attach
from merganser.adaptation._decomposition import decompose
from merganser.adaptation._expert import ExpertVector
from merganser.adaptation.strategies._decision import MIXTURE, OTHER, Cost, Decision, Trace, timed
from merganser.adaptation.strategies._specialist import Specialist
from merganser.adaptation.strategies._strategies import ByPrompt, Mixture, Strategy
from merganser.models import (
    Continuation,
    GenerationRequest,
    LanguageModel,
    LogLikelihood,
    Response,
    SpokenModel,
    Voices,
    load,
)
from merganser.weights import Checkpoint, open_checkpoint

if TYPE_CHECKING:
    import torch

_REMEMBERED = 1 << 16
"""Rendered chats of which is known what the user said."""


class AdaptiveModel(SpokenModel):
    """A base and experts, one of which answers each request; begin with [`AdaptiveModel.of`][].

    It takes two passes: the first decides for all requests of a call, the second answers them together, each row of a
    batch with the scales of its own expert. Nothing is loaded anew.

    Attributes:
        base: The base on disk.
        adapted: The module and its experts.
        specialists: The experts by name, a dispatcher among them.
    """

    def __init__(
        self,
        alive: LanguageModel,
        base: Checkpoint,
        adapted: AdaptedModel,
        specialists: Mapping[str, Specialist],
        strategy: Strategy,
    ) -> None:
        self.module, self.base, self.adapted = alive.module, base, adapted
        self.specialists = dict(specialists)
        self._alive = alive
        self._said: dict[str, str] = {}
        self._traces: list[Trace] | None = None
        self.strategy = strategy

    @classmethod
    def of(
        cls,
        base: str | Path | Checkpoint,
        experts: Mapping[str, ExpertVector | Specialist],
        strategy: Strategy | None = None,
        *,
        cache: str | Path | None = None,
        dtype: str | torch.dtype | None = None,
        device: str = "cpu",
    ) -> AdaptiveModel:
        """Bring a base to life and put its experts beside it.

        Args:
            base: The base.
            experts: By name; a dispatcher among them.
            strategy: How requests come to them; by default the base is asked.
            cache: Folder that keeps the decomposition of the base; without one it is made anew.
            dtype: Element type of the base's parameters; by default the one that most numbers have on disk.
            device: Where it lives, as torch names it.

        Raises:
            CheckpointError: If the base cannot be read or is no language model, or an expert was made for another one.
            ConfigError: If transformers is not installed.
            ValueError: If there are no experts, one has a name that is taken (`other`, `mixture`), the strategy needs
                one that is not there, or torch has no such element type or device.
        """
        if not experts:
            raise ValueError("Expected at least one expert, found none.")
        if taken := [name for name in experts if name in (MIXTURE, OTHER) or not name.strip()]:
            raise ValueError(f"No expert can be called {taken[0]!r}. Give it another name.")
        found = {n: e if isinstance(e, Specialist) else Specialist(e) for n, e in experts.items()}
        opened = base if isinstance(base, Checkpoint) else open_checkpoint(base)
        matrices = dict.fromkeys(matrix for each in found.values() for matrix in each.vector)
        factors = decompose(opened, [name for name in matrices if name in opened], cache=cache)
        alive = load(opened, dtype=dtype, device=device)
        # its weights were written from `opened` just now, which `factors` are of: no need to check
        adapted = attach(alive.module, factors, names=alive.name_on_disk, check=False)
        for name, each in found.items():
            adapted.add(name, each.vector)
        return cls(alive, opened, adapted, found, strategy or ByPrompt())

    @property
    def strategy(self) -> Strategy:
        """How requests come to experts; another one can be set."""
        return self._strategy

    @strategy.setter
    def strategy(self, strategy: Strategy) -> None:
        """Decide otherwise from now on.

        Raises:
            ValueError: If it needs an expert that is not there.
        """
        if lacking := [name for name in strategy.names if name not in self.specialists]:
            there = ", ".join(self.specialists)
            raise ValueError(f"The strategy needs an expert {lacking[0]!r}; there are: {there}.")
        if isinstance(strategy, Mixture):
            self.adapted.add(MIXTURE, strategy.vector(self.vectors))
        self._strategy = strategy

    @property
    def vectors(self) -> dict[str, ExpertVector]:
        """The experts by name."""
        return {name: each.vector for name, each in self.specialists.items()}

    @property
    def descriptions(self) -> dict[str, str]:
        """What experts are for that requests may go to: a dispatcher is none of them."""
        dispatcher = self._strategy.dispatcher
        return {n: each.description for n, each in self.specialists.items() if n != dispatcher}

    @property
    def tokens(self) -> Any:
        """The base's tokenizer.

        Raises:
            CheckpointError: If it has none.
        """
        return self._alive.tokens

    @property
    def size(self) -> int:
        """Number of parameters of the base."""
        return self._alive.size

    def decide(self, requests: Sequence[str]) -> list[Decision]:
        """Who would answer each request; all are decided together, equal ones once.

        Args:
            requests: Requests, or rendered chats of them.
        """
        asked = [self._said.get(request, request) for request in requests]
        different = list(dict.fromkeys(request for request in asked if request.strip()))
        decided = self._strategy.decide(self, different) if different else []
        found = dict(zip(different, decided, strict=True))
        nothing = [request for request in dict.fromkeys(asked) if request not in found]
        found |= dict(zip(nothing, map(self._of_nothing, nothing), strict=True))
        return [found[request] for request in asked]

    def generate(
        self, requests: Sequence[GenerationRequest], *, seconds: float | None = None
    ) -> list[Response]:
        """Continue prompts greedily, each as its own expert, many at a time; see [`SpokenModel.generate`][].

        Args:
            requests: In any order.
            seconds: Time for both passes; what is not finished by then ends as it is.
        """
        begun = time.perf_counter()
        prompts = [request.prompt for request in requests]
        decisions = self.decide(prompts)
        decided = time.perf_counter()
        left = None if seconds is None else max(0.0, seconds - (decided - begun))
        answers = self.generate_as(requests, [each.expert for each in decisions], seconds=left)
        if self._traces is not None:
            times = decided - begun, time.perf_counter() - decided
            costs = [Cost(self._length(p), a.tokens) for p, a in zip(prompts, answers, strict=True)]
            self._note(prompts, decisions, costs, times)
        return answers

    def log_likelihoods(self, requests: Sequence[Continuation]) -> list[LogLikelihood]:
        """How probable texts are after their contexts, each as its own expert sees it.

        Who that is, the context alone decides; without one the base answers, or whoever always does.
        """
        begun = time.perf_counter()
        contexts = [request.context for request in requests]
        decisions = self.decide(contexts)
        decided = time.perf_counter()
        answers = self.log_likelihoods_as(requests, [each.expert for each in decisions])
        if self._traces is not None:
            times = decided - begun, time.perf_counter() - decided
            read = {context: self._length(context) for context in contexts}
            for context, answer in zip(contexts, answers, strict=True):
                read[context] += answer.tokens
            by_context = dict(zip(contexts, decisions, strict=True))
            costs = [Cost(tokens) for tokens in read.values()]
            self._note(list(read), [by_context[context] for context in read], costs, times)
        return answers

    def generate_as(
        self,
        requests: Sequence[GenerationRequest],
        experts: Sequence[str | None],
        *,
        seconds: float | None = None,
    ) -> list[Response]:
        """Continue prompts, each as the expert that is named for it, all in the same batches.

        Args:
            requests: The prompts.
            experts: An expert for each; None for the base.
            seconds: Time for all of them.

        Raises:
            NonFiniteOutputError: If the model's output is NaN or infinite.
            ValueError: If there is no expert of a name, or a prompt is longer than the model's context.
        """
        return self._continued(requests, self._voices(experts), seconds=seconds)

    def log_likelihoods_as(
        self, requests: Sequence[Continuation], experts: Sequence[str | None]
    ) -> list[LogLikelihood]:
        """How probable texts are to the experts that are named for them, all in the same batches.

        Raises:
            NonFiniteOutputError: If the model's output is NaN or infinite.
            ValueError: If there is no expert of a name, or context and text are longer than the model's context.
        """
        return self._weighed(requests, self._voices(experts))

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Messages as one prompt; the first pass will be asked of what the user said last, not of the whole chat.

        Raises:
            ValueError: If the base has no chat template, or it does not take these messages.
        """
        text = super().render(messages)
        said = [message["content"] for message in messages if message.get("role") == "user"]
        if said:
            if len(self._said) >= _REMEMBERED:
                self._said.clear()
            self._said[text] = said[-1]
        return text

    @contextmanager
    def traced(self) -> Iterator[list[Trace]]:
        """Note what becomes of every request while the block runs.

        Yields:
            A trace for each request, call after call; of texts after one context, one for all of them.
        """
        before, self._traces = self._traces, []
        try:
            yield self._traces
        finally:
            self._traces = before

    def _voices(self, experts: Sequence[str | None]) -> Voices:
        return Voices(experts, self._take)

    def _take(self, names: Sequence[object]) -> None:
        """Speak as these experts, row by row; as one of them where all are the same."""
        wanted = cast("Sequence[str | None]", names)
        if len(set(wanted)) == 1:
            self.adapted.set(wanted[0])
        else:
            self.adapted.rows(wanted)

    def _of_nothing(self, request: str) -> Decision:
        """Who answers where there is nothing to go by."""
        if self._strategy.prompt is None:
            return self._strategy.decide(self, [request])[0]
        return Decision(None, reason="there is no request to go by")

    def _length(self, text: str) -> int:
        return len(self.tokens.prompt(text))

    def _note(
        self,
        requests: Sequence[str],
        decisions: Sequence[Decision],
        answered: Sequence[Cost],
        times: tuple[float, float],
    ) -> None:
        """Keep a trace of each request."""
        assert self._traces is not None
        decided = [
            Cost(each.cost.read + (self._length(each.prompt) if each.prompt else 0), each.cost.written)
            for each in decisions
        ]
        passes = timed(decided, times[0]), timed(answered, times[1])
        for request, decision, first, second in zip(requests, decisions, *passes, strict=True):
            self._traces.append(Trace(self._said.get(request, request), decision, first, second))
