"""Attention of a thought machine: one question at each tick, to tokens that stay the same.

Keys and values are computed once per input, not at every tick: where the official code spends most of its time. So are
their gradients: those of many ticks are one product.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from merganser.thinking._dropout import Mask
from merganser.thinking._tied import Noted, Tied, TiedMap, add_product, refuse_second_order

_TICKS = 16


class Tokens(NamedTuple):
    """What there is to look at."""

    keys: Float[Tensor, "batch heads tokens depth"]
    values: Float[Tensor, "batch heads tokens depth"]


class Attention(nn.Module):
    """Multi-head attention with a single query, over projected and normalised features.

    Args:
        pairs: Width of the action synchronisation that asks.
        features: Width of the backbone's features.
        width: Of queries, keys and values together over all heads.
        heads: How many.
        dropout: Share of the mixture that training drops.
    """

    def __init__(self, pairs: int, features: int, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.project = nn.Linear(features, width)
        self.norm = nn.LayerNorm(width)
        self.ask = nn.Linear(pairs, width)
        self.query = nn.Linear(width, width)
        self.keys_values = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        bound = math.sqrt(6 / (4 * width))  # Xavier's for one matrix (3 width, width), as torch draws them
        for linear in (self.query, self.keys_values):
            nn.init.uniform_(linear.weight, -bound, bound)
            nn.init.zeros_(linear.bias)
        nn.init.zeros_(self.out.bias)

    def look(self, features: Float[Tensor, "batch tokens features"]) -> Tokens:
        """Keys and values, for all ticks that look at these features."""
        both = self.keys_values(self.norm(self.project(features)))
        batch, count, _ = both.shape
        keys, values = both.view(batch, count, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        return Tokens(keys.contiguous(), values.contiguous())

    def question(self, rows: int, ticks: int) -> TiedMap:
        """From synchronisation to queries that need no scaling, for all ticks of a thought.

        Two maps with nothing between are one. The product of their weights is taken once.

        Args:
            rows: Of the batch.
            ticks: Of the thought.
        """
        scale = math.sqrt(self.heads / self.out.in_features)
        weight, bias = self.query.weight * scale, self.query.bias * scale
        return TiedMap(weight @ self.ask.weight, weight @ self.ask.bias + bias, rows, ticks=ticks)

    def forward(
        self,
        query: Float[Tensor, "batch width"],
        attended: Attended,
        linear: Callable[[nn.Linear, Tensor], Tensor],
    ) -> tuple[Float[Tensor, "batch width"], Float[Tensor, "batch heads tokens"]]:
        """What is seen at one tick, and the shares of tokens, these without gradients.

        Args:
            query: From [`Attention.question`][].
            attended: The tokens.
            linear: Applies a layer to rows.
        """
        batch = len(query)
        seen, shares = attended(
            query.reshape(batch * self.heads, 1, -1), self.dropout if self.training else 0.0
        )
        return linear(self.out, seen.view(batch, -1)), shares.view(batch, self.heads, -1)


class Attended:
    """Tokens as all ticks of a thought use them.

    Args:
        tokens: Keys and values.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tied = Tied([each.flatten(0, 1) for each in tokens], _add_products, every=_TICKS)
        self._link = self._tied.link(tokens)

    def __call__(
        self, query: Float[Tensor, "rows 1 depth"], dropout: float
    ) -> tuple[Float[Tensor, "rows 1 depth"], Float[Tensor, "rows 1 tokens"]]:
        """The mixture of values that queries ask for, of what a share of `dropout` leaves, and the shares before."""
        return _Attend.apply(query, self._link, self._tied, dropout)  # pyright: ignore[reportReturnType]


class _Attend(torch.autograd.Function):
    # a row times a matrix is three times as fast as a matrix times a column, and as fused attention for one query
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        link: Tensor,  # noqa: ARG004
        tied: Tied,
        dropout: float,
    ) -> tuple[Tensor, Tensor]:
        keys, values = tied.values
        query = query.to(keys.dtype)
        shares = torch.softmax(torch.bmm(query, keys.transpose(1, 2)), dim=-1).to(keys.dtype)
        mask = Mask(shares, dropout)
        ctx.tied, ctx.mask = tied, mask
        ctx.save_for_backward(query, keys, values, shares)
        ctx.mark_non_differentiable(shares)
        return torch.bmm(mask(shares), values), shares

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None, None]:
        refuse_second_order()
        query, keys, values, shares = ctx.saved_tensors
        gradient = gradients[0]
        for_shares = ctx.mask(torch.bmm(gradient, values.transpose(1, 2)))
        for_logits = shares * (for_shares - (for_shares * shares).sum(-1, keepdim=True))
        if ctx.needs_input_grad[1]:
            ctx.tied.note(for_logits, query, ctx.mask(shares), gradient)
        return torch.bmm(for_logits, keys) if ctx.needs_input_grad[0] else None, None, None, None


def _add_products(sums: list[Tensor], noted: Noted) -> None:
    """Gradients of keys, from those of logits and queries; of values, from shares and gradients of mixtures."""
    for_logits, query, used, gradient = (torch.cat([factors[i] for factors in noted], 1) for i in range(4))
    keys, values = sums
    add_product(keys, for_logits.transpose(1, 2), query)
    add_product(values, used.transpose(1, 2), gradient)
