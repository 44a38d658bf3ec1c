r"""Neuron-level models: every neuron has a network of its own over what it received lately.

| kind | formula, for neuron $d$ with memory $A_d \in \mathbb{R}^M$ |
| --- | --- |
| deep | $z_d = \mathrm{glu}((W^2_d\, \mathrm{glu}((W^1_d A_d + b^1_d)/T_1) + b^2_d)/T_2)$ |
| linear, `hidden=0` | $z_d = \mathrm{glu}((W_d A_d + b_d)/T)$ |

with $\mathrm{glu}([u; v]) = u\,\sigma(v)$. Neurons come first in every tensor, so that one batched matrix product on
contiguous weights serves them all: (neurons, out, memory) × (neurons, memory, batch). The paper's listing has no gates;
its code and its parameter counts do.

How they are computed is in `_gated`.

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, eq. 3, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from merganser.thinking._dropout import Mask
from merganser.thinking._gated import Gated


class NeuronLinear(nn.Module):
    """A linear map for every neuron, divided by one learnt temperature.

    Args:
        neurons: How many.
        inputs: Of each.
        outputs: Of each.
        norm: Whether inputs are normalised, with one affine map that all neurons share.
        dropout: Share of inputs that training drops.
    """

    def __init__(self, neurons: int, inputs: int, outputs: int, *, norm: bool, dropout: float) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs + outputs)
        self.weight = nn.Parameter(torch.empty(neurons, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(neurons, outputs))
        self.temperature = nn.Parameter(torch.ones(1))
        self.norm = nn.LayerNorm(inputs) if norm else None
        self.dropout = dropout

    def begin(self, dtype: torch.dtype) -> Gated:
        """The map with a gate behind it, once for all ticks of a thought."""
        return Gated([self.scaled()], dtype)

    def scaled(self) -> tuple[Float[Tensor, "neurons out in"], Float[Tensor, "neurons out 1"]]:
        """Weight and bias with the temperature taken in."""
        return self.weight / self.temperature, (self.bias / self.temperature).unsqueeze(-1)

    def forward(
        self, inputs: Float[Tensor, "neurons in batch"], gated: Gated
    ) -> Float[Tensor, "neurons half batch"]:
        """Apply every neuron's map and gate to its own inputs."""
        dropout = self.dropout if self.training else 0.0
        if self.norm is not None:
            inputs = Mask(inputs, dropout)(inputs)
            return gated(self.norm(inputs.transpose(1, 2)).transpose(1, 2), 0.0)
        return gated(inputs, dropout)


class Neurons(nn.Module):
    """The networks of all neurons.

    Args:
        neurons: D.
        memory: M, what each sees of its past.
        hidden: Hidden units; 0 for a linear map.
        norm: Whether inputs of every layer are normalised.
        dropout: Share of inputs of every layer that training drops, in [0, 1).
    """

    def __init__(self, neurons: int, memory: int, hidden: int, *, norm: bool, dropout: float) -> None:
        super().__init__()
        self._norm = norm
        widths = [(memory, 2 * hidden), (hidden, 2)] if hidden else [(memory, 2)]
        self.layers = nn.ModuleList(
            NeuronLinear(neurons, inputs, outputs, norm=norm, dropout=dropout) for inputs, outputs in widths
        )

    def begin(self, dtype: torch.dtype) -> list[Gated]:
        """The layers as ticks apply them, once for all ticks of a thought: together, unless a norm lies between."""
        if self._norm:
            return [layer.begin(dtype) for layer in self._linear()]
        return [Gated([layer.scaled() for layer in self._linear()], dtype)]

    def forward(
        self, window: Float[Tensor, "neurons memory batch"], gated: list[Gated]
    ) -> Float[Tensor, "neurons batch"]:
        """Post-activations of all neurons, from what each received lately, oldest first."""
        for layer, weights in zip(self._linear(), gated, strict=self._norm):
            window = layer(window, weights)
        return window.squeeze(1)

    def _linear(self) -> list[NeuronLinear]:
        return [layer for layer in self.layers if isinstance(layer, NeuronLinear)]
