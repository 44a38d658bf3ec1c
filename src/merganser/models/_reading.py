"""Rows of tokens that a module reads together, and goes on from.

What all rows begin with is computed once and its cache repeated, where that changes nothing: positions are given, so
padding after the common beginning is harmless, except to models whose attention reaches only so many *places* back.
The rest is padded on the left, so that what follows a row stands right beside it.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from merganser._errors import NonFiniteOutputError
from merganser.models._voices import Voices

_WORTH_SHARING = 16
"""Tokens of a common beginning from which computing it once pays."""


class Reading:
    """Rows that a module has read.

    Args:
        module: A causal language model of transformers.
        rows: Their tokens, at least one each.
        voices: Who speaks in which row, if the module can speak as several.

    Attributes:
        cache: Keys and values of what was read; None if the model keeps none.
        logits: Those after the last token of each row.
    """

    cache: Any
    logits: Float[Tensor, "rows vocabulary"]

    def __init__(
        self, module: nn.Module, rows: Sequence[tuple[int, ...]], voices: Voices | None = None
    ) -> None:
        self._module, self._device = module, next(module.parameters()).device
        self._voices = voices
        shared, cache = self._shared(rows), None
        if shared:
            cache = self._beginning(rows[0][:shared], len(rows))
        self._take(None if voices is None else voices.names)
        longest = max(map(len, rows)) - shared
        rests = [[0] * (longest - len(row) + shared) + list(row[shared:]) for row in rows]
        inputs = torch.tensor(rests, device=self._device)
        padding = torch.tensor([longest - len(row) + shared for row in rows], device=self._device)
        seen = torch.arange(longest, device=self._device) >= padding[:, None]
        self._mask = torch.cat([seen.new_ones(len(rows), shared), seen], dim=1).long()
        self.logits = self._call(inputs, cache, 1)[:, -1]

    def go_on(
        self, inputs: Int[Tensor, "rows tokens"], seen: Int[Tensor, "rows tokens"] | None = None
    ) -> Float[Tensor, "rows tokens vocabulary"]:
        """Logits after each of the tokens that follow.

        Args:
            inputs: What follows the rows.
            seen: 0 where a token is padding, which must be on the right; nothing can follow then.
        """
        self._mask = torch.cat([self._mask, torch.ones_like(inputs) if seen is None else seen], dim=1)
        return self._call(inputs, self.cache, inputs.shape[1])

    def select(self, rows: Int[Tensor, " rows"]) -> None:
        """Leave only these rows, in this order; one may come several times."""
        self._mask = self._mask[rows]
        self.cache.batch_select_indices(rows)
        if self._voices is not None:
            chosen = [self._voices.names[row] for row in rows.tolist()]
            self._voices = dataclasses.replace(self._voices, names=chosen)
            self._take(chosen)

    def _beginning(self, tokens: tuple[int, ...], rows: int) -> Any:
        """The cache of what all rows begin with, read once by each voice."""
        names = [None] * rows if self._voices is None else self._voices.names
        each = list(dict.fromkeys(names))
        self._take(each)
        first = torch.tensor([tokens] * len(each), device=self._device)
        cache = call(self._module, first, 1, use_cache=True).past_key_values
        whose = [each.index(name) for name in names]
        cache.batch_select_indices(torch.tensor(whose, device=self._device))
        return cache

    def _take(self, names: Sequence[Hashable] | None) -> None:
        if self._voices is not None and names is not None:
            self._voices.take(names)

    def _call(self, inputs: Int[Tensor, "rows tokens"], cache: Any, keep: int) -> Tensor:
        options: dict[str, Any] = {"attention_mask": self._mask, "use_cache": True}
        if takes_positions(self._module):
            positions = (self._mask.cumsum(dim=1) - 1).clamp(min=0)
            options["position_ids"] = positions[:, -inputs.shape[1] :]
        output = call(self._module, inputs, keep, past_key_values=cache, **options)
        self.cache = getattr(output, "past_key_values", None)
        return output.logits

    def _shared(self, rows: Sequence[tuple[int, ...]]) -> int:
        """How many tokens all rows begin with, if computing them once pays and changes nothing."""
        shortest, longest = min(map(len, rows)), max(map(len, rows))
        low, high = min(rows), max(rows)  # in alphabetical order these two differ first
        common = next(
            (i for i, pair in enumerate(zip(low, high, strict=False)) if pair[0] != pair[1]), shortest
        )
        common = min(common, shortest - 1)
        if len(rows) < 2 or common < _WORTH_SHARING:
            return 0
        return common if shortest == longest or may_be_padded(self._module) else 0


def call(module: nn.Module, inputs: Int[Tensor, "batch tokens"], keep: Any, **options: Any) -> Any:
    """Run a module, with logits of the last `keep` positions, or at those given, where it can leave out others."""
    if "logits_to_keep" in _arguments(type(module)):
        return module(inputs, logits_to_keep=keep, **options)
    output = module(inputs, **options)
    output.logits = output.logits[:, -keep:] if isinstance(keep, int) else output.logits[:, keep]
    return output


def check_finite(logits: Float[Tensor, "*batch vocabulary"]) -> None:
    """Make sure that the largest logit everywhere is a number; a NaN is larger than all.

    Raises:
        NonFiniteOutputError: If it is not.
    """
    if not bool(logits.amax(dim=-1).isfinite().all()):
        raise NonFiniteOutputError("the language model's logits hold NaN or infinite numbers")


def may_be_padded(module: nn.Module) -> bool:
    """Whether padding anywhere changes nothing: positions are given, and no part counts places or runs over them."""
    return takes_positions(module) and not _is_local(module) and not getattr(module, "_is_stateful", False)


def takes_positions(module: nn.Module) -> bool:
    """Whether a module is told the position of each token."""
    return "position_ids" in _arguments(type(module))


@functools.cache
def _arguments(kind: type[nn.Module]) -> frozenset[str]:
    """What modules of a class are called with."""
    return frozenset(inspect.signature(kind.forward).parameters)


def context_size(module: nn.Module) -> int | None:
    """Most tokens that a model takes; None if it does not say."""
    settings: Any = module.config
    return getattr(settings.get_text_config(), "max_position_embeddings", None)


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
