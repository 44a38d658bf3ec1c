r"""Neuron-level models: every neuron has a network of its own over what it received lately.

| kind | formula, for neuron $d$ with memory $A_d \in \mathbb{R}^M$ |
| --- | --- |
| deep | $z_d = \mathrm{glu}((W^2_d\, \mathrm{glu}((W^1_d A_d + b^1_d)/T_1) + b^2_d)/T_2)$ |
| linear, `hidden=0` | $z_d = \mathrm{glu}((W_d A_d + b_d)/T)$ |

with $\mathrm{glu}([u; v]) = u\,\sigma(v)$. Neurons come first in every tensor, so that one batched matrix product on
contiguous weights serves them all: (neurons, out, memory) × (neurons, memory, batch). The paper's listing has no gates;
its code and its parameter counts do.

A layer and its gate are one step for autograd, whose gradient is taken in place:
$\partial u = g\,\sigma(v)$, $\partial v = g\,(y - y\,\sigma(v))$ for $y = u\,\sigma(v)$, so that of both halves
only $y$ and $\sigma(v)$ are kept.

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, eq. 3, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from merganser.thinking._dropout import Mask
from merganser.thinking._tied import Noted, Tied, add_product, add_sum, refuse_second_order

_NARROW = 16


class Gated:
    """Linear maps of all neurons, each with a gate behind it: what one layer is for all ticks of a thought.

    Args:
        weight: (neurons, outputs, inputs); gates are the second half of the outputs.
        bias: (neurons, outputs, 1).
        dtype: In which they are applied.
    """

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        self._tied = Tied([weight.to(dtype), bias.to(dtype)], _add_products)
        self._link = self._tied.link([weight, bias])

    def __call__(
        self, inputs: Float[Tensor, "neurons in batch"], dropout: float
    ) -> Float[Tensor, "neurons half batch"]:
        """Apply them, to what a share of `dropout` leaves of the inputs."""
        inputs = inputs.to(self._tied.values[0].dtype)
        return _Gate.apply(inputs, self._link, self._tied, dropout)  # pyright: ignore[reportReturnType]


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, link: Tensor, tied: Tied, dropout: float) -> Tensor:  # noqa: ARG004
        weight, bias = tied.values
        mask = Mask(inputs, dropout)
        mixed = _product(weight, mask(inputs), bias)
        value, gate = mixed.chunk(2, dim=1)
        gate = torch.sigmoid(gate)
        outputs = value * gate
        ctx.tied, ctx.mask = tied, mask
        ctx.save_for_backward(inputs, weight, gate, outputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None, None]:
        refuse_second_order()
        [gradient] = gradients
        inputs, weight, gate, outputs = ctx.saved_tensors
        mixed = _like_product(weight, gate)
        for_value, for_gate = mixed.chunk(2, dim=1)
        torch.mul(gradient, gate, out=for_value)
        torch.addcmul(outputs, outputs, gate, value=-1, out=for_gate).mul_(gradient)
        if ctx.needs_input_grad[1]:
            ctx.tied.note(mixed, ctx.mask(inputs))
        if not ctx.needs_input_grad[0]:
            return None, None, None, None
        return ctx.mask(_product(weight.transpose(1, 2), mixed)), None, None, None


def _product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """A batch of matrix products. For few columns the transposed one is twice as fast: its rows are longer."""
    if right.shape[-1] < _NARROW:
        left, right = right.transpose(1, 2), left.transpose(1, 2)
        product = torch.bmm(left, right) if bias is None else torch.baddbmm(bias.transpose(1, 2), left, right)
        return product.transpose(1, 2)
    return torch.bmm(left, right) if bias is None else torch.baddbmm(bias, left, right)


def _like_product(left: Tensor, right: Tensor) -> Tensor:
    """Room for what would have the shape of a product."""
    neurons, outputs, batch = len(left), left.shape[1], right.shape[-1]
    if batch < _NARROW:
        return right.new_empty(neurons, batch, outputs).transpose(1, 2)
    return right.new_empty(neurons, outputs, batch)


def _add_products(sums: list[Tensor] | None, noted: Noted) -> list[Tensor]:
    """Gradients of weights and biases, from those of what they give and from their inputs."""
    weight, bias = sums or (None, None)
    for gradient, inputs in noted:
        weight = add_product(weight, gradient, inputs.transpose(1, 2))
        bias = add_sum(bias, gradient, 2)
    assert weight is not None
    assert bias is not None
    return [weight, bias]


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
        """The map with its temperature taken in and a gate behind it, once for all ticks of a thought."""
        return Gated(self.weight / self.temperature, (self.bias / self.temperature).unsqueeze(-1), dtype)

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
        widths = [(memory, 2 * hidden), (hidden, 2)] if hidden else [(memory, 2)]
        self.layers = nn.ModuleList(
            NeuronLinear(neurons, inputs, outputs, norm=norm, dropout=dropout) for inputs, outputs in widths
        )

    def begin(self, dtype: torch.dtype) -> list[Gated]:
        """All layers as ticks apply them, once for all ticks of a thought."""
        return [layer.begin(dtype) for layer in self._linear()]

    def forward(
        self, window: Float[Tensor, "neurons memory batch"], gated: list[Gated]
    ) -> Float[Tensor, "neurons batch"]:
        """Post-activations of all neurons, from what each received lately, oldest first."""
        for layer, weights in zip(self._linear(), gated, strict=True):
            window = layer(window, weights)
        return window.squeeze(1)

    def _linear(self) -> list[NeuronLinear]:
        return [layer for layer in self.layers if isinstance(layer, NeuronLinear)]
