r"""Synapses: what neurons tell each other, $a_t = f([o_t; z_t])$.

| depth | what |
| --- | --- |
| 1 | [`Layer`][]: dropout, linear to 2D, gate, norm; several of them for agents |
| k > 1 | [`UNet`][]: widths from D down to 16 in k equal steps and up again, a skip connection at each |
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from merganser.thinking._dropout import Dropout

_NARROWEST = 16

Linear = Callable[[nn.Linear, Tensor], Tensor]
"""Applies a layer to rows: the loop says how, since all ticks share the layer."""


class Layer(nn.Module):
    """A linear map to twice the width, a gate, and a norm.

    Args:
        inputs: Numbers that come in.
        neurons: Numbers that go out.
        dropout: Share of inputs that training drops.
    """

    def __init__(self, inputs: int, neurons: int, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(inputs, 2 * neurons)
        self.norm = nn.LayerNorm(neurons)

    def forward(
        self, inputs: Float[Tensor, "batch inputs"], linear: Linear
    ) -> Float[Tensor, "batch neurons"]:
        """Pre-activations."""
        return self.norm(functional.glu(linear(self.linear, self.dropout(inputs))))


class Layers(nn.ModuleList):
    """Layers one after the other."""

    def forward(
        self, inputs: Float[Tensor, "batch inputs"], linear: Linear
    ) -> Float[Tensor, "batch neurons"]:
        """Pre-activations."""
        for layer in self:
            inputs = layer(inputs, linear)
        return inputs


class Step(nn.Module):
    """One step of the U-Net: dropout, linear, norm, SiLU."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(inputs, outputs)
        self.norm = nn.LayerNorm(outputs)

    def forward(
        self, inputs: Float[Tensor, "batch inputs"], linear: Linear
    ) -> Float[Tensor, "batch outputs"]:
        """The step's outputs."""
        return functional.silu(self.norm(linear(self.linear, self.dropout(inputs))))


class UNet(nn.Module):
    """A U-Net over neurons.

    Args:
        inputs: Numbers that come in.
        neurons: D, numbers that go out.
        depth: Number of widths, at least 2: there is one step fewer down, and as many up.
        dropout: Share of inputs of a step that training drops.
    """

    def __init__(self, inputs: int, neurons: int, depth: int, dropout: float) -> None:
        super().__init__()
        widths = unet_widths(neurons, depth)
        self.first = Step(inputs, widths[0], 0.0)
        self.down = nn.ModuleList(Step(wide, narrow, dropout) for wide, narrow in pairwise(widths))
        self.up = nn.ModuleList(Step(narrow, wide, dropout) for wide, narrow in pairwise(widths))
        self.norms = nn.ModuleList(nn.LayerNorm(wide) for wide in widths[:-1])

    def forward(
        self, inputs: Float[Tensor, "batch inputs"], linear: Linear
    ) -> Float[Tensor, "batch neurons"]:
        """Pre-activations."""
        levels = [self.first(inputs, linear)]
        for down in self.down:
            levels.append(down(levels[-1], linear))
        hidden = levels.pop()
        for up, norm, level in zip(reversed(self.up), reversed(self.norms), reversed(levels), strict=True):
            hidden = norm(up(hidden, linear) + level)
        return hidden


def unet_widths(neurons: int, depth: int) -> list[int]:
    """Widths of the U-Net, widest first.

    Examples:
        >>> unet_widths(128, 4)
        [128, 90, 53, 16]
    """
    step = (_NARROWEST - neurons) / (depth - 1)
    return [*(int(neurons + step * i) for i in range(depth - 1)), _NARROWEST]


def synapse(inputs: int, neurons: int, *, depth: int, blocks: int, dropout: float) -> nn.Module:
    """The synapse of a thought machine.

    Args:
        inputs: Numbers that come in: what attention saw, and D post-activations.
        neurons: D.
        depth: Number of the U-Net's widths; 1 for single layers.
        blocks: Single layers, one after the other; the first alone has dropout.
        dropout: Share of inputs that training drops.
    """
    if depth > 1:
        return UNet(inputs, neurons, depth, dropout)
    following = [Layer(neurons, neurons, 0.0) for _ in range(blocks - 1)]
    return Layers([Layer(inputs, neurons, dropout), *following])
