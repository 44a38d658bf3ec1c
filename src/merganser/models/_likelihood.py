r"""How probable texts are after their contexts: $\sum_t \log p(x_t \mid c, x_{<t})$, in nats.

| texts | computed as |
| --- | --- |
| one after a context | context and text in a row, rows of similar length padded on the right, logits of the text only |
| several after one context | the context once; then all texts beside one another, going on from it |

What stands on the right of a token is not seen by it, so padding there changes nothing, whatever the architecture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from merganser.models._generation import BATCH_TOKENS, batches, call, check_finite, context_size
from merganser.models._requests import Continuation, LogLikelihood
from merganser.models._tokens import Tokens

_LOGITS = 1 << 26
"""Most logits that are held at a time."""

_WORTH_SHARING = {"cpu": 32, "cuda": 2048}
"""Tokens that must be saved for a context of its own pass to pay; small passes waste an accelerator."""


@dataclass(frozen=True, slots=True)
class _Row:
    """Tokens of a context and of the text after it."""

    context: tuple[int, ...]
    text: tuple[int, ...]

    @property
    def length(self) -> int:
        return len(self.context) + len(self.text)


def log_likelihoods(
    module: nn.Module, tokens: Tokens, requests: Sequence[Continuation], *, batch_tokens: int = BATCH_TOKENS
) -> list[LogLikelihood]:
    """Log-probabilities, in the order of the requests; see [`LanguageModel.log_likelihoods`][]."""
    rows = [_row(module, tokens, request) for request in requests]
    found = {row: LogLikelihood(0.0, 0, True) for row in rows if not row.text}
    groups: dict[tuple[int, ...], list[_Row]] = {}
    for row in dict.fromkeys(rows):
        if row.text:
            groups.setdefault(row.context, []).append(row)
    device = next(module.parameters()).device.type
    least = _WORTH_SHARING.get(device, _WORTH_SHARING["cuda"])
    single: list[_Row] = []
    with torch.inference_mode():
        for context, group in groups.items():
            if (len(group) - 1) * len(context) >= least:
                found.update(_after_one(module, context, group, batch_tokens) or {})
            single += [row for row in group if row not in found]
        for batch in batches(single, lambda row: row.length, batch_tokens):
            for part in _bounded(batch, module):
                found.update(_side_by_side(module, part))
    return [found[row] for row in rows]


def _side_by_side(module: nn.Module, rows: Sequence[_Row]) -> Iterator[tuple[_Row, LogLikelihood]]:
    """Whole rows: the logits before each token of the texts."""
    begin = min(len(row.context) for row in rows) - 1
    end = max(row.length for row in rows) - 1
    inputs = _padded([(*row.context, *row.text)[:-1] for row in rows], module)
    keep = torch.arange(begin, end, device=inputs.device)
    logits = call(module, inputs, keep, use_cache=False).logits
    for i, row in enumerate(rows):
        first = len(row.context) - 1 - begin
        yield row, _measured(logits[i, first : first + len(row.text)], row.text)


def _after_one(
    module: nn.Module, context: tuple[int, ...], rows: Sequence[_Row], batch_tokens: int
) -> dict[_Row, LogLikelihood] | None:
    """Texts after one context, which is computed once; None if the model keeps nothing of it."""
    found: dict[_Row, LogLikelihood] = {}
    for batch in batches(rows, lambda row: row.length, batch_tokens):
        for part in _bounded(batch, module):
            output = call(module, _padded([context], module), 1, use_cache=True)
            cache: Any = getattr(output, "past_key_values", None)
            if cache is None:
                return None
            logits = output.logits.expand(len(part), 1, -1)
            if any(len(row.text) > 1 for row in part):
                cache.batch_repeat_interleave(len(part))
                inputs = _padded([row.text[:-1] for row in part], module)
                more = module(inputs, past_key_values=cache, use_cache=True).logits
                logits = torch.cat([logits, more], dim=1)
            for i, row in enumerate(part):
                found[row] = _measured(logits[i, : len(row.text)], row.text)
    return found


def _measured(logits: Float[Tensor, "tokens vocabulary"], text: Sequence[int]) -> LogLikelihood:
    """What logits say of the tokens that followed them."""
    check_finite(logits)
    logits = logits.float()
    wanted = torch.tensor(text, device=logits.device)
    chosen = logits.gather(1, wanted[:, None])[:, 0]
    total = (chosen - logits.logsumexp(dim=-1)).double().sum()
    is_greedy: Bool[Tensor, ""] = (logits.argmax(dim=-1) == wanted).all()
    return LogLikelihood(total.item(), len(text), bool(is_greedy))


def _padded(rows: Sequence[Sequence[int]], module: nn.Module) -> Int[Tensor, "rows tokens"]:
    longest = max(map(len, rows))
    padded = [[*row, *[0] * (longest - len(row))] for row in rows]
    return torch.tensor(padded, dtype=torch.long, device=next(module.parameters()).device)


def _bounded(rows: Sequence[_Row], module: nn.Module) -> Iterator[Sequence[_Row]]:
    """Rows in turns, so that not too many logits are held."""
    settings: Any = module.config
    longest = max(row.length for row in rows) - min(len(row.context) for row in rows) + 1
    count = max(_LOGITS // (longest * settings.get_text_config().vocab_size), 1)
    for first in range(0, len(rows), count):
        yield rows[first : first + count]


def _row(module: nn.Module, tokens: Tokens, request: Continuation) -> _Row:
    context, text = tokens.split(request.context, request.text)
    most = context_size(module)
    if most is not None and len(context) + len(text) > most + 1:  # the last token is not put in
        raise ValueError(
            f"Expected context and text of at most {most + 1} tokens, but one has {len(context) + len(text)}: "
            f"{request.context[:60]!r} … Shorten it, or use fewer examples."
        )
    return _Row(tuple(context), tuple(text))
