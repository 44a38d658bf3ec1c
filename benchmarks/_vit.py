"""A small vision transformer: patches of 7 by 7 pixels, four pre-norm layers, the mean of all patches, one head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PATCH, WIDTH, LAYERS, HEADS = 14, 96, 4, 4


class Attention(nn.Module):
    """Every patch looks at every other."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, hidden: Tensor) -> Tensor:
        """From and to (images, patches, width)."""
        parts = (project(hidden).unflatten(2, (HEADS, -1)) for project in (self.query, self.key, self.value))
        seen = nn.functional.scaled_dot_product_attention(*(part.transpose(1, 2) for part in parts))
        return self.output(seen.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Attention and a perceptron, each beside a way around it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_before, self.norm_after = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, hidden: Tensor) -> Tensor:
        """From and to (images, patches, width)."""
        hidden = hidden + self.attention(self.norm_before(hidden))
        return hidden + self.mlp(self.norm_after(hidden))


class Vit(nn.Module):
    """Images (count, side, side) to logits (count, classes)."""

    def __init__(self, classes: int, side: int = 28) -> None:
        super().__init__()
        self.patches = nn.Linear(PATCH * PATCH, WIDTH)
        self.position_embedding = nn.Parameter(0.02 * torch.randn((side // PATCH) ** 2, WIDTH))
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        cut = images.unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH).flatten(3).flatten(1, 2)
        hidden = self.patches(cut) + self.position_embedding
        for layer in self.layers:
            hidden = layer(hidden)
        return self.head(self.norm(hidden).mean(1))
