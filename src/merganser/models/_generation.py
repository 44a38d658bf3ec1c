"""Answers to many prompts at a time, greedy or drawn.

Prompts are sorted by length and cut into batches of bounded size, which are read together. Rows that have ended leave
the batch when half of it has.

Which prompts share a batch changes an answer by no more than the order of sums does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from merganser._errors import CheckpointError
from merganser.models._reading import Reading, check_finite, context_size
from merganser.models._requests import GenerationRequest, Response, Rollout
from merganser.models._tokens import Answer, Tokens
from merganser.models._voices import Take, Voices

BATCH_TOKENS = 16_384
"""Tokens of a batch at its end, padding included."""

_Choose: TypeAlias = Callable[[Float[Tensor, "batch vocabulary"]], Int[Tensor, " batch"]]
"""From the logits of the next token to that token."""


@dataclass(slots=True)
class _Row:
    """One prompt on its way; `limit` is the most tokens that its answer may have."""

    prompt: tuple[int, ...]
    answer: Answer
    limit: int
    voice: Hashable = None
    ended: Literal["stop", "end", "tokens", "seconds"] | None = None
    taken: list[int] = field(default_factory=list)

    @property
    def length(self) -> int:
        return len(self.prompt) + self.limit


def generate(
    module: nn.Module,
    tokens: Tokens,
    requests: Sequence[GenerationRequest],
    *,
    seconds: float | None = None,
    voices: Voices | None = None,
    batch_tokens: int = BATCH_TOKENS,
) -> list[Response]:
    """Answers, in the order of the requests; see [`LanguageModel.generate`][]."""
    deadline = None if seconds is None else time.monotonic() + seconds
    rows = _rows(module, tokens, requests)
    if voices is not None:
        for row, name in zip(rows, voices.names, strict=True):
            row.voice = name
    take = None if voices is None else voices.take
    _continue(module, tokens, rows, _likeliest, deadline=deadline, take=take, batch_tokens=batch_tokens)
    return [_response(row) for row in rows]


def roll_out(
    module: nn.Module, tokens: Tokens, requests: Sequence[GenerationRequest], *, temperature: float, seed: int
) -> list[Rollout]:
    """Answers with their tokens, in the order of the requests; see [`LanguageModel.roll_out`][]."""
    random = torch.Generator(next(module.parameters()).device).manual_seed(seed)

    def drawn(logits: Float[Tensor, "batch vocabulary"]) -> Int[Tensor, " batch"]:
        probabilities = torch.softmax(logits.float() / temperature, dim=-1)
        return torch.multinomial(probabilities, 1, generator=random)[:, 0]

    rows = _rows(module, tokens, requests)
    _continue(module, tokens, rows, drawn if temperature else _likeliest)
    return [Rollout(row.prompt, tuple(row.taken), _response(row)) for row in rows]


def _rows(module: nn.Module, tokens: Tokens, requests: Sequence[GenerationRequest]) -> list[_Row]:
    prompts = tokens.prompts([request.prompt for request in requests])
    return [_row(module, tokens, *each) for each in zip(requests, prompts, strict=True)]


def _continue(
    module: nn.Module,
    tokens: Tokens,
    rows: list[_Row],
    choose: _Choose,
    *,
    deadline: float | None = None,
    take: Take | None = None,
    batch_tokens: int = BATCH_TOKENS,
) -> None:
    """Continue prompts to their ends, batch after batch."""
    with torch.inference_mode():
        for batch in batches(rows, lambda row: row.length, batch_tokens):
            _Batch(module, tokens.ends, batch, choose, deadline, take).run()


def _likeliest(logits: Float[Tensor, "batch vocabulary"]) -> Int[Tensor, " batch"]:
    return logits.argmax(dim=-1)


def _response(row: _Row) -> Response:
    return Response(row.answer.text, row.answer.count, row.ended or "tokens")


def batches(items: Sequence[Any], length: Callable[[Any], int], budget: int) -> Iterator[list[Any]]:
    """Items of similar length together, as many as fit into a budget of padded tokens; the longest first."""
    batch: list[Any] = []
    for item in sorted(items, key=length, reverse=True):
        if batch and length(batch[0]) * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


class _Batch:
    """Prompts that are continued together."""

    def __init__(
        self,
        module: nn.Module,
        ends: frozenset[int],
        rows: list[_Row],
        choose: _Choose,
        deadline: float | None,
        take: Take | None,
    ) -> None:
        self._module, self._ends, self._rows = module, ends, rows
        self._choose, self._deadline = choose, deadline
        self._voices = None if take is None else Voices([row.voice for row in rows], take)

    def run(self) -> None:
        """Continue all of them to their ends."""
        if self._is_late():
            return
        self._read = Reading(self._module, [row.prompt for row in self._rows], self._voices)
        if self._read.cache is None:
            raise CheckpointError(
                f"{type(self._module).__name__} keeps no keys and values, and generating without them is not "
                "supported. Its log-likelihoods can be had."
            )
        logits = self._read.logits
        while self._rows:
            check_finite(logits)
            chosen = self._choose(logits)
            for row, token in zip(self._rows, chosen.tolist(), strict=True):
                if row.ended is None:
                    self._take(row, token)
            if self._is_late() or all(row.ended for row in self._rows):
                return
            logits = self._read.go_on(self._without_ended(chosen)[:, None])[:, -1]

    def _take(self, row: _Row, token: int) -> None:
        """Give a row its next token, and see whether that ends it."""
        row.taken.append(token)
        if token in self._ends:
            row.answer.count += 1
            row.ended = "end"
        elif row.answer.add(token):
            row.ended = "stop"
        elif row.answer.count >= row.limit:
            row.ended = "tokens"

    def _without_ended(self, chosen: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Drop rows that have ended, once they are half of the batch; moving the cache costs too."""
        going = [i for i, row in enumerate(self._rows) if row.ended is None]
        if 2 * len(going) > len(self._rows):
            return chosen
        kept = torch.tensor(going, device=chosen.device)
        self._rows = [self._rows[i] for i in going]
        self._read.select(kept)
        return chosen[kept]

    def _is_late(self) -> bool:
        """Whether time is up; then all rows have ended."""
        if self._deadline is None or time.monotonic() < self._deadline:
            return False
        for row in self._rows:
            row.ended = row.ended or "seconds"
        return True


def _row(module: nn.Module, tokens: Tokens, request: GenerationRequest, prompt: tuple[int, ...]) -> _Row:
    if request.max_tokens < 1:
        raise ValueError(f"Expected `max_tokens` of at least 1, found {request.max_tokens}.")
    most = context_size(module)
    if not prompt:
        raise ValueError("An empty prompt needs a token that begins a text, and the tokenizer has none.")
    if most is not None and len(prompt) >= most:
        raise ValueError(
            f"Expected prompts of fewer than {most} tokens, the model's context, but one has {len(prompt)}: "
            f"{request.prompt[:60]!r} … Shorten it, or use fewer examples."
        )
    limit = request.max_tokens if most is None else min(request.max_tokens, most - len(prompt))
    return _Row(prompt, Answer(tokens, prompt, request.stop), limit)
