"""What inputs go through before they are attended to.

| backbone | inputs | features |
| --- | --- | --- |
| `none` | any | themselves |
| `parity` | signs (batch, length) | (batch, width, length) |
| `digits` | pictures (batch, channels, height, width) | (batch, width, height / 4, width / 4) |
| `questions` | pictures; or numbers (batch): indices from 0 on, operators -1 and -2 | as above; (batch, width) |
| `grid` | MiniGrid's symbols (batch, 7, 7, 3) | (batch, width, 7, 7) |
| `control` | vectors (batch, channels) | (batch, width, 1) |
| `shallow-wide` | pictures | (batch, 2048, height / 2, width / 2) |
| `resnet…` | pictures | see [`ResNet`][] |

Features of two dimensions are not attended to: they go into the synapse as they are.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn
from torch.nn import functional

from merganser.thinking._checks import Sight
from merganser.thinking._resnet import ResNet

GRID = 7
"""Cells along a side of what MiniGrid's agents see."""

_OBJECTS, _COLOURS, _STATES, _SYMBOL = 11, 6, 3, 8
_LONGEST, _OPERATORS = 50, 2
_WIDE = 2048


class Parity(nn.Module):
    """An embedding for each of the two signs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(2, width)

    def forward(self, inputs: Num[Tensor, "batch length"]) -> Float[Tensor, "batch width length"]:
        """Features of signs: 1, and anything else, which is -1."""
        return self.embedding((inputs == 1).long()).transpose(1, 2)


class Digits(nn.Module):
    """Two convolutions, each with a norm, ReLU and 2×2 pooling."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, width, kernel_size=3, padding=1) for inputs in (channels, width)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(2))

    def forward(
        self, inputs: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch features h w"]:
        """Features of pictures."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            inputs = functional.max_pool2d(functional.relu(norm(convolution(inputs))), 2)
        return inputs


class Questions(nn.Module):
    """Digits to look at, and what is asked about them: vectors that the synapse gets as they are."""

    places: Tensor

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.digits = Digits(channels, width)
        self.operators = nn.Embedding(_OPERATORS, width)
        self.register_buffer("places", _sinusoids(_LONGEST, width))

    def forward(
        self, inputs: Float[Tensor, "batch channels height width"] | Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch features *places"]:
        """Features of pictures; of indices from 0 to 49, and of operators, -1 and -2, in one batch or several."""
        if inputs.is_floating_point():
            return self.digits(inputs)
        asked = self.operators((-inputs - 1).clamp(min=0))
        return torch.where((inputs < 0).unsqueeze(-1), asked, self.places[inputs.clamp(min=0)])


class Gated(nn.Module):
    """Two linear maps, each with a gate and a norm."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(size, 2 * width) for size in (inputs, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))

    def forward(self, inputs: Float[Tensor, "*places inputs"]) -> Float[Tensor, "*places width"]:
        """Features of each place."""
        for linear, norm in zip(self.linears, self.norms, strict=True):
            inputs = norm(functional.glu(linear(inputs)))
        return inputs


class Control(nn.Module):
    """Vectors that an agent observes."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.layers = Gated(channels, width)

    def forward(self, inputs: Float[Tensor, "batch channels"]) -> Float[Tensor, "batch width 1"]:
        """Features of vectors."""
        return self.layers(inputs.flatten(1)).unsqueeze(-1)


class Grid(nn.Module):
    """MiniGrid's cells: object, colour, state and place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.symbols = nn.ModuleList(nn.Embedding(n, _SYMBOL) for n in (_OBJECTS, _COLOURS, _STATES))
        self.places = nn.Embedding(GRID * GRID, _SYMBOL)
        self.layers = Gated(4 * _SYMBOL, width)

    def forward(self, inputs: Num[Tensor, "batch 7 7 3"]) -> Float[Tensor, "batch width 7 7"]:
        """Features of cells."""
        codes = inputs.long().unbind(-1)
        symbols = [embed(code) for embed, code in zip(self.symbols, codes, strict=True)]
        places = self.places.weight.view(1, GRID, GRID, -1).expand(len(inputs), -1, -1, -1)
        return self.layers(torch.cat([*symbols, places], dim=-1)).permute(0, 3, 1, 2)


class ShallowWide(nn.Module):
    """Two wide convolutions with gates; the second in 32 groups."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first = nn.Conv2d(channels, 2 * _WIDE, kernel_size=3, stride=2, padding=1)
        second = nn.Conv2d(_WIDE, 2 * _WIDE, kernel_size=3, padding=1, groups=32)
        self.convolutions = nn.ModuleList([first, second])
        self.norms = nn.ModuleList(nn.BatchNorm2d(_WIDE) for _ in range(2))

    def forward(
        self, inputs: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch features h w"]:
        """Features of pictures."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            inputs = norm(functional.glu(convolution(inputs), dim=1))
        return inputs


def backbone(config: Sight) -> tuple[nn.Module | None, int]:
    """The backbone of a model, None for none, and how many channels its features have."""
    width, channels = config.width, config.channels
    match config.backbone:
        case "none":
            return None, channels
        case "parity":
            return Parity(width), width
        case "digits":
            return Digits(channels, width), width
        case "questions":
            return Questions(channels, width), width
        case "grid":
            return Grid(width), width
        case "control":
            return Control(channels, width), width
        case "shallow-wide":
            return ShallowWide(channels), _WIDE
        case name:
            resnet = ResNet(channels, name)
            return resnet, resnet.width


def direct_width(config: Sight) -> int:
    """How many numbers a model sees at each tick: through attention, or directly."""
    if config.heads or config.backbone == "control":
        return config.width
    return GRID * GRID * config.width if config.backbone == "grid" else config.channels


def _sinusoids(length: int, width: int) -> Float[Tensor, "length width"]:
    """Sines in even columns and cosines in odd ones, of wavelengths from 2π to 20,000π."""
    places = torch.arange(length, dtype=torch.float32).unsqueeze(1)
    frequencies = torch.exp(torch.arange(0, width, 2).float() * (-math.log(10_000.0) / width))
    table = torch.zeros(length, width)
    table[:, 0::2] = torch.sin(places * frequencies)
    table[:, 1::2] = torch.cos(places * frequencies)[:, : width // 2]
    return table
