"""Greedy answers to many prompts at a time.

Prompts are sorted by length and cut into batches of bounded size, padded on the left. What all prompts of a batch
begin with is computed once, where that changes nothing: positions are given, so padding after the common beginning is
harmless, except to models whose attention reaches only so many *places* back. Rows that have ended leave the batch
when half of it has.

Which prompts share a batch changes an answer by no more than the order of sums does.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from merganser._errors import CheckpointError, NonFiniteOutputError
from merganser.models._requests import GenerationRequest, Response
from merganser.models._tokens import Answer, Tokens

BATCH_TOKENS = 16_384
"""Tokens of a batch at its end, padding included."""

_WORTH_SHARING = 16
"""Tokens of a common beginning from which computing it once pays."""


@dataclass(slots=True)
class _Row:
    """One prompt on its way; `limit` is the most tokens that its answer may have."""

    prompt: list[int]
    answer: Answer
    limit: int
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
    batch_tokens: int = BATCH_TOKENS,
) -> list[Response]:
    """Answers, in the order of the requests; see [`LanguageModel.generate`][]."""
    deadline = None if seconds is None else time.monotonic() + seconds
    rows = [_row(module, tokens, request) for request in requests]
    with torch.inference_mode():
        for batch in batches(rows, lambda row: row.length, batch_tokens):
            _Batch(module, tokens.ends, batch, deadline).run()
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


def context_size(module: nn.Module) -> int | None:
    """Most tokens that a model takes; None if it does not say."""
    settings: Any = module.config
    return getattr(settings.get_text_config(), "max_position_embeddings", None)


def check_finite(logits: Float[Tensor, "*batch vocabulary"]) -> None:
    """Make sure that the largest logit everywhere is a number; a NaN is larger than all.

    Raises:
        NonFiniteOutputError: If it is not.
    """
    if not bool(logits.amax(dim=-1).isfinite().all()):
        raise NonFiniteOutputError("the language model's logits hold NaN or infinite numbers")


def call(module: nn.Module, inputs: Int[Tensor, "batch tokens"], keep: Any, **options: Any) -> Any:
    """Run a module, with logits of the last `keep` positions, or at those given, where it can leave out others."""
    if "logits_to_keep" in inspect.signature(module.forward).parameters:
        return module(inputs, logits_to_keep=keep, **options)
    output = module(inputs, **options)
    output.logits = output.logits[:, -keep:] if isinstance(keep, int) else output.logits[:, keep]
    return output


class _Batch:
    """Prompts that are continued together."""

    def __init__(
        self, module: nn.Module, ends: frozenset[int], rows: list[_Row], deadline: float | None
    ) -> None:
        self._module, self._ends, self._rows, self._deadline = module, ends, rows, deadline
        self._device = next(module.parameters()).device
        self._cache: Any = None
        self._takes_positions = "position_ids" in inspect.signature(module.forward).parameters

    def run(self) -> None:
        """Continue all of them to their ends."""
        if self._is_late():
            return
        self._begin()
        while self._rows:
            check_finite(self._logits)
            chosen = self._logits.argmax(dim=-1)
            for row, token in zip(self._rows, chosen.tolist(), strict=True):
                if row.ended is None:
                    self._take(row, token)
            if self._is_late() or all(row.ended for row in self._rows):
                return
            self._step(self._without_ended(chosen))

    def _begin(self) -> None:
        """Compute the prompts: what they have in common once, then the rest, padded on the left."""
        shared = self._shared()
        cache = None
        if shared:
            first = torch.tensor([self._rows[0].prompt[:shared]], device=self._device)
            cache = call(self._module, first, 1, use_cache=True).past_key_values
            cache.batch_repeat_interleave(len(self._rows))
        rests = [row.prompt[shared:] for row in self._rows]
        longest = max(map(len, rests))
        padding = torch.tensor([longest - len(rest) for rest in rests], device=self._device)
        inputs = torch.tensor([[0] * (longest - len(rest)) + rest for rest in rests], device=self._device)
        seen = torch.arange(longest, device=self._device) >= padding[:, None]
        self._mask = torch.cat([seen.new_ones(len(rests), shared), seen], dim=1).long()
        self._call(inputs, cache)

    def _step(self, chosen: Int[Tensor, " batch"]) -> None:
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(chosen), 1)], dim=1)
        self._call(chosen[:, None], self._cache)

    def _call(self, inputs: Int[Tensor, "batch tokens"], cache: Any) -> None:
        """Run the module on the next tokens of all rows; keep the cache, and the logits after the last."""
        options: dict[str, Any] = {"attention_mask": self._mask, "use_cache": True}
        if self._takes_positions:
            positions = (self._mask.cumsum(dim=1) - 1).clamp(min=0)
            options["position_ids"] = positions[:, -inputs.shape[1] :]
        output = call(self._module, inputs, 1, past_key_values=cache, **options)
        self._cache, self._logits = getattr(output, "past_key_values", None), output.logits[:, -1].float()
        if self._cache is None:
            raise CheckpointError(
                f"{type(self._module).__name__} keeps no keys and values, and generating without them is not "
                "supported. Its log-likelihoods can be had."
            )

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
        kept = torch.tensor(going, device=self._device)
        self._rows = [self._rows[i] for i in going]
        self._mask = self._mask[kept]
        self._cache.batch_select_indices(kept)
        return chosen[kept]

    def _shared(self) -> int:
        """How many tokens all prompts begin with, if computing them once pays and changes nothing."""
        prompts = [row.prompt for row in self._rows]
        shortest, longest = min(map(len, prompts)), max(map(len, prompts))
        low, high = min(prompts), max(prompts)  # in alphabetical order these two differ first
        common = next(
            (i for i, pair in enumerate(zip(low, high, strict=False)) if pair[0] != pair[1]), shortest
        )
        common = min(common, shortest - 1)
        if len(prompts) < 2 or common < _WORTH_SHARING:
            return 0
        return common if shortest == longest or (self._takes_positions and not _is_local(self._module)) else 0

    def _is_late(self) -> bool:
        """Whether time is up; then all rows have ended."""
        if self._deadline is None or time.monotonic() < self._deadline:
            return False
        for row in self._rows:
            row.ended = row.ended or "seconds"
        return True


def _row(module: nn.Module, tokens: Tokens, request: GenerationRequest) -> _Row:
    if request.max_tokens < 1:
        raise ValueError(f"Expected `max_tokens` of at least 1, found {request.max_tokens}.")
    prompt, most = tokens.prompt(request.prompt), context_size(module)
    if not prompt:
        raise ValueError("An empty prompt needs a token that begins a text, and the tokenizer has none.")
    if most is not None and len(prompt) >= most:
        raise ValueError(
            f"Expected prompts of fewer than {most} tokens, the model's context, but one has {len(prompt)}: "
            f"{request.prompt[:60]!r} … Shorten it, or use fewer examples."
        )
    limit = request.max_tokens if most is None else min(request.max_tokens, most - len(prompt))
    return _Row(prompt, Answer(tokens, prompt, request.stop), limit)


def _is_local(module: nn.Module) -> bool:
    """Whether some attention reaches only so far back, counted in places of the cache."""
    settings: Any = module.config
    settings = settings.get_text_config()
    kinds = getattr(settings, "layer_types", None)
    if kinds:
        return any(kind != "full_attention" for kind in kinds)
    return any(
        getattr(settings, key, None) for key in ("sliding_window", "attention_chunk_size", "window_size")
    )
