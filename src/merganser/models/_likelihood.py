r"""How probable texts are after their contexts: $\sum_t \log p(x_t \mid c, x_{<t})$, in nats.

| texts | computed as |
| --- | --- |
| one after a context | context and text in a row, rows of similar length padded on the right, logits of the text only |
| several after one context | many contexts at a time, each once; from them on all texts beside one another |

What stands on the right of a token is not seen by it, so padding there changes nothing, whatever the architecture.
Contexts are padded on the left, to which models that run over places (state spaces) or reach only so many of them back
may not be indifferent: theirs are read together only where they are of one length. Of a text of one token everything is
known when its context is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from merganser.models._generation import batches
from merganser.models._reading import Reading, call, check_finite, context_size, may_be_padded
from merganser.models._requests import Continuation, LogLikelihood
from merganser.models._tokens import Tokens
from merganser.models._voices import Take, Voices

_LOGITS = 1 << 26
"""Most logits that are held at a time."""

_BATCH_TOKENS = {"cpu": 4096, "cuda": 16_384}
"""Tokens of a batch at its end, padding included; on a processor small batches stay in its caches."""

_WORTH_SHARING = {"cpu": 32, "cuda": 2048}
"""Tokens that must be saved for a context of its own pass to pay; small passes waste an accelerator."""


@dataclass(frozen=True, slots=True)
class _Row:
    """Tokens of a context and of the text after it, and who is asked."""

    context: tuple[int, ...]
    text: tuple[int, ...]
    voice: Hashable = None

    @property
    def length(self) -> int:
        return len(self.context) + len(self.text)


class _Group(NamedTuple):
    """Texts after one context."""

    context: tuple[int, ...]
    rows: list[_Row]

    @property
    def voice(self) -> Hashable:
        """Who is asked for all of them."""
        return self.rows[0].voice

    @property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return max(len(row.text) for row in self.rows)


def log_likelihoods(
    module: nn.Module,
    tokens: Tokens,
    requests: Sequence[Continuation],
    *,
    voices: Voices | None = None,
    batch_tokens: int | None = None,
) -> list[LogLikelihood]:
    """Log-probabilities, in the order of the requests; see [`LanguageModel.log_likelihoods`][]."""
    rows = _rows(module, tokens, requests)
    take = None
    if voices is not None:
        take = voices.take
        rows = [_Row(row.context, row.text, name) for row, name in zip(rows, voices.names, strict=True)]
    found = {row: LogLikelihood(0.0, 0, True) for row in rows if not row.text}
    together: dict[tuple[Hashable, ...], list[_Row]] = {}
    for row in dict.fromkeys(rows):
        if row.text:
            together.setdefault((row.context, row.voice), []).append(row)
    device = next(module.parameters()).device.type
    least = _WORTH_SHARING.get(device, _WORTH_SHARING["cuda"])
    budget = batch_tokens or _BATCH_TOKENS.get(device, _BATCH_TOKENS["cuda"])
    groups = [_Group(each[0].context, each) for each in together.values()]
    with torch.inference_mode():
        sharing = [group for group in groups if (len(group.rows) - 1) * len(group.context) >= least]
        for batch in _joined(sharing, module, budget):
            answers = _after(module, batch, take)
            if answers is None:
                break
            found.update(answers)
        single = [row for group in groups for row in group.rows if row not in found]
        for batch in batches(single, lambda row: row.length, budget):
            for part in _bounded(batch, module):
                found.update(_side_by_side(module, part, take))
    return [found[row] for row in rows]


def _side_by_side(
    module: nn.Module, rows: Sequence[_Row], take: Take | None = None
) -> dict[_Row, LogLikelihood]:
    """Whole rows: the logits before each token of the texts."""
    if take is not None:
        take([row.voice for row in rows])
    begin = min(len(row.context) for row in rows) - 1
    end = max(row.length for row in rows) - 1
    inputs, _ = _padded([(*row.context, *row.text)[:-1] for row in rows], module)
    keep = torch.arange(begin, end, device=inputs.device)
    logits = call(module, inputs, keep, use_cache=False).logits
    tally = _Tally(rows)
    places = [
        (i, len(row.context) - 1 - begin + k) for i, row in enumerate(rows) for k in range(len(row.text))
    ]
    which, where = torch.tensor(places, device=logits.device).T
    tally.add([i for i, _ in places], logits[which, where], [t for row in rows for t in row.text])
    return tally.answers()


def _after(
    module: nn.Module, groups: Sequence[_Group], take: Take | None = None
) -> dict[_Row, LogLikelihood] | None:
    """Texts after contexts, each of which is read once; None if the model keeps nothing of them."""
    voices = None if take is None else Voices([group.voice for group in groups], take)
    reading = Reading(module, [group.context for group in groups], voices)
    if reading.cache is None:
        return None
    rows = [row for group in groups for row in group.rows]
    whose = [i for i, group in enumerate(groups) for _ in group.rows]
    tally = _Tally(rows)
    tally.add(range(len(rows)), reading.logits, [row.text[0] for row in rows], whose)
    longer = [i for i, row in enumerate(rows) if len(row.text) > 1]
    if longer:
        inputs, seen = _padded([rows[i].text[:-1] for i in longer], module)
        reading.select(torch.tensor([whose[i] for i in longer], device=inputs.device))
        logits = reading.go_on(inputs, seen)[seen.bool()]
        numbers = [i for i in longer for _ in rows[i].text[1:]]
        tally.add(numbers, logits, [token for i in longer for token in rows[i].text[1:]])
    return tally.answers()


class _Tally:
    """What is known so far of the texts of some rows."""

    def __init__(self, rows: Sequence[_Row]) -> None:
        self._rows, self._totals, self._greedy = rows, [0.0] * len(rows), [True] * len(rows)

    def add(
        self,
        rows: Sequence[int],
        logits: Float[Tensor, "places vocabulary"],
        tokens: Sequence[int],
        places: Sequence[int] | None = None,
    ) -> None:
        """Take logits and the tokens that followed them.

        Args:
            rows: Whose token each is.
            logits: At places.
            tokens: What followed.
            places: The place before each token; by default one after the other.
        """
        check_finite(logits)
        logits = logits.float()
        wanted = torch.tensor(tokens, device=logits.device)
        at = torch.arange(len(wanted)) if places is None else torch.tensor(places)
        at = at.to(logits.device)
        likelihood = logits[at, wanted].double() - logits.logsumexp(dim=-1)[at]
        is_best = logits.argmax(dim=-1)[at] == wanted
        for row, value, best in zip(rows, likelihood.tolist(), is_best.tolist(), strict=True):
            self._totals[row] += value
            self._greedy[row] &= best

    def answers(self) -> dict[_Row, LogLikelihood]:
        """Everything."""
        numbers = zip(self._rows, self._totals, self._greedy, strict=True)
        return {row: LogLikelihood(total, len(row.text), greedy) for row, total, greedy in numbers}


def _joined(groups: Sequence[_Group], module: nn.Module, budget: int) -> Iterator[list[_Group]]:
    """Groups that are read together: contexts of similar length, or of one length where padding might matter."""
    padded, vocabulary = may_be_padded(module), _vocabulary(module)
    batch: list[_Group] = []
    rows = longest = 0
    pieces = [piece for group in groups for piece in _pieces(group, budget, vocabulary)]
    for group in sorted(pieces, key=lambda group: len(group.context), reverse=True):
        count, text = rows + len(group.rows), max(longest, group.longest)
        if batch and (
            count * (len(batch[0].context) + text) > budget
            or count * text * vocabulary > _LOGITS
            or (not padded and len(group.context) < len(batch[0].context))
        ):
            yield batch
            batch, count, text = [], len(group.rows), group.longest
        batch.append(group)
        rows, longest = count, text
    if batch:
        yield batch


def _pieces(group: _Group, budget: int, vocabulary: int) -> Iterator[_Group]:
    """A group in parts, none of which is too large for a batch unless it is a single text."""
    most = min(budget // (len(group.context) + group.longest), _LOGITS // (group.longest * vocabulary))
    for first in range(0, len(group.rows), max(most, 1)):
        yield _Group(group.context, group.rows[first : first + max(most, 1)])


def _padded(
    rows: Sequence[Sequence[int]], module: nn.Module
) -> tuple[Int[Tensor, "rows tokens"], Int[Tensor, "rows tokens"]]:
    """Rows padded on the right, and 1 where they are not padded."""
    longest = max(map(len, rows))
    padded = [[*row, *[0] * (longest - len(row))] for row in rows]
    inputs = torch.tensor(padded, dtype=torch.long, device=next(module.parameters()).device)
    lengths = torch.tensor([len(row) for row in rows], device=inputs.device)
    return inputs, (torch.arange(longest, device=inputs.device) < lengths[:, None]).long()


def _bounded(rows: Sequence[_Row], module: nn.Module) -> Iterator[Sequence[_Row]]:
    """Rows in turns, so that not too many logits are held."""
    longest = max(row.length for row in rows) - min(len(row.context) for row in rows) + 1
    count = max(_LOGITS // (longest * _vocabulary(module)), 1)
    for first in range(0, len(rows), count):
        yield rows[first : first + count]


def _vocabulary(module: nn.Module) -> int:
    settings: Any = module.config
    return settings.get_text_config().vocab_size


def _rows(module: nn.Module, tokens: Tokens, requests: Sequence[Continuation]) -> list[_Row]:
    most = context_size(module)
    rows = [_Row(*pair) for pair in tokens.split([(r.context, r.text) for r in requests])]
    for row, request in zip(rows, requests, strict=True):
        if most is not None and row.length > most + 1:  # the last token is not put in
            raise ValueError(
                f"Expected context and text of at most {most + 1} tokens, but one has {row.length}: "
                f"{request.context[:60]!r} … Shorten it, or use fewer examples."
            )
    return rows
