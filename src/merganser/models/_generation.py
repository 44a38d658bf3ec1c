"""Greedy answers to many prompts at a time.

Prompts are sorted by length and cut into batches of bounded size, which are read together. Rows that have ended leave
the batch when half of it has.

Which prompts share a batch changes an answer by no more than the order of sums does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor, nn

from merganser._errors import CheckpointError
from merganser.models._reading import Reading, check_finite, context_size
from merganser.models._requests import GenerationRequest, Response
from merganser.models._tokens import Answer, Tokens
from merganser.models._voices import Take, Voices

BATCH_TOKENS = 16_384
"""Tokens of a batch at its end, padding included."""


@dataclass(slots=True)
class _Row:
    """One prompt on its way; `limit` is the most tokens that its answer may have."""

    prompt: tuple[int, ...]
    answer: Answer
    limit: int
    voice: Hashable = None
    ended: Literal["stop", "end", "tokens", "seconds"] | None = None

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
    prompts = tokens.prompts([request.prompt for request in requests])
    rows = [_row(module, tokens, *each) for each in zip(requests, prompts, strict=True)]
    if voices is not None:
        for row, name in zip(rows, voices.names, strict=True):
            row.voice = name
    with torch.inference_mode():
        for batch in batches(rows, lambda row: row.length, batch_tokens):
            _Batch(module, tokens.ends, batch, deadline, None if voices is None else voices.take).run()
    return [Response(row.answer.text, row.answer.count, row.ended or "tokens") for row in rows]


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
        deadline: float | None,
        take: Take | None = None,
    ) -> None:
        self._module, self._ends, self._rows, self._deadline = module, ends, rows, deadline
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
            chosen = logits.argmax(dim=-1)
            for row, token in zip(self._rows, chosen.tolist(), strict=True):
                if row.ended is None:
                    self._take(row, token)
            if self._is_late() or all(row.ended for row in self._rows):
                return
            logits = self._read.go_on(self._without_ended(chosen)[:, None])[:, -1]

    def _take(self, row: _Row, token: int) -> None:
        """Give a row its next token, and see whether that ends it."""
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
