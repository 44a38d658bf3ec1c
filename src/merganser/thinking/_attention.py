"""Attention of a thought machine: one question at each tick, to tokens that stay the same.

Keys and values are computed once per input, not at every tick: where the official code spends most of its time.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


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

    def forward(
        self, synchronisation: Float[Tensor, "batch pairs"], tokens: Tokens, *, weights: bool = False
    ) -> tuple[Float[Tensor, "batch width"], Float[Tensor, "batch heads tokens"] | None]:
        """What is seen at one tick.

        Args:
            synchronisation: What asks.
            tokens: What there is to see.
            weights: Whether to return the shares of tokens too.
        """
        width = self.out.in_features
        query = self.query(self.ask(synchronisation.to(self.ask.weight.dtype)))
        query = query.view(len(query), self.heads, 1, -1)
        dropout = self.dropout if self.training else 0.0
        if not weights:
            seen = functional.scaled_dot_product_attention(query, *tokens, dropout_p=dropout)
            return self.out(seen.reshape(len(query), width)), None
        logits = query @ tokens.keys.transpose(-1, -2) / math.sqrt(query.shape[-1])
        shares = torch.softmax(logits, dim=-1)
        seen = functional.dropout(shares, dropout) @ tokens.values
        return self.out(seen.reshape(len(query), width)), shares.squeeze(2)
