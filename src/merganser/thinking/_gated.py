r"""Gated linear maps of all neurons, layer upon layer, as one step for autograd.

Neurons are gone through block by block: what a block computes fits a processor's cache from the first product to the
last gate, in rooms that all blocks and ticks use.

With $y = u\,\sigma(v)$ and its gradient $g$: $\partial u = g\,\sigma(v)$, $\partial v = g\,(y - y\,\sigma(v))$, so that
of both halves only $y$ and $\sigma(v)$ are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from merganser.thinking._dropout import Mask
from merganser.thinking._tied import Tied, add_product, add_sum, refuse_second_order

_NARROW = 16
_BLOCK = 2**17
_SHORT = range(4, 17)
"""Lengths of rows of which torch takes sigmoids number by number, and products with two rows in five times the time."""


class Gated:
    """Layers of linear maps of all neurons, each with a gate behind it: what they are for all ticks of a thought.

    Args:
        layers: Weights (neurons, outputs, inputs) and biases (neurons, outputs, 1); gates are the second half of the
            outputs.
        dtype: In which they are applied.
    """

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor]], dtype: torch.dtype) -> None:
        tensors = [tensor for layer in layers for tensor in layer]
        self.tied = Tied([tensor.to(dtype) for tensor in tensors])
        self._link = self.tied.link(tensors)
        self._rooms: list[_Room] = []

    def __call__(
        self, inputs: Float[Tensor, "neurons in batch"], dropout: float
    ) -> Float[Tensor, "neurons out batch"]:
        """Apply them, to what a share of `dropout` leaves of the inputs of each."""
        inputs = inputs.to(self.tied.values[0].dtype)
        return _Gates.apply(inputs, self._link, self, dropout)  # pyright: ignore[reportReturnType]

    def masks(self, inputs: Tensor, dropout: float) -> list[Mask]:
        """What stays of the inputs of each layer."""
        one, batch = inputs.new_empty(1, 1, 1), inputs.shape[-1]
        return [Mask(one.expand(*weight.shape[::2], batch), dropout) for weight in self.tied.values[::2]]

    def kept(self, inputs: Tensor) -> list[Tensor]:
        """Room for the gates and the outputs of each layer."""
        halves = [weight.shape[1] // 2 for weight in self.tied.values[::2] for _ in range(2)]
        return [_room(inputs, len(inputs), half) for half in halves]

    def blocks(self, inputs: Tensor, kept: Sequence[Tensor]) -> Iterator[tuple[slice, list[_Layer]]]:
        """Neurons that are gone through together, and their layers."""
        values = self.tied.values
        (neurons, _, batch), widest = inputs.shape, max(weight.shape[1] for weight in values[::2])
        size = min(neurons, max(1, _BLOCK // (widest * batch))) if inputs.device.type == "cpu" else neurons
        if not self._rooms or self._rooms[0].mixed.shape[::2] != (size, batch):
            self._rooms = [_Room.new(inputs, size, *weight.shape[1:]) for weight in values[::2]]
        for begin in range(0, neurons, size):
            block = slice(begin, min(begin + size, neurons))
            parts = zip(values[::2], values[1::2], kept[::2], kept[1::2], strict=True)
            yield (
                block,
                [
                    _Layer(
                        weight[block], bias[block], gate[block], out[block], room.first(block.stop - begin)
                    )
                    for (weight, bias, gate, out), room in zip(parts, self._rooms, strict=True)
                ],
            )


class _Room(NamedTuple):
    """Where a layer of a block computes what is not kept: its product, or the gradients of that and of its inputs."""

    mixed: Float[Tensor, "neurons both batch"]
    back: Float[Tensor, "neurons in batch"]

    @classmethod
    def new(cls, like: Tensor, neurons: int, outputs: int, inputs: int) -> _Room:
        return cls(_room(like, neurons, outputs), _room(like, neurons, inputs))

    def first(self, neurons: int) -> _Room:
        """Room for no more than these."""
        return _Room(*(tensor[:neurons] for tensor in self))


class _Layer(NamedTuple):
    """A layer of a block of neurons."""

    weight: Float[Tensor, "neurons both in"]
    bias: Float[Tensor, "neurons both 1"]
    gate: Float[Tensor, "neurons out batch"]
    outputs: Float[Tensor, "neurons out batch"]
    room: _Room

    def forth(self, inputs: Tensor) -> Tensor:
        """Outputs."""
        mixed = self.room.mixed
        if _is_narrow(mixed):
            left, right = inputs.transpose(1, 2), self.weight.transpose(1, 2)
            torch.baddbmm(self.bias.transpose(1, 2), left, right, out=mixed.transpose(1, 2))
        else:
            torch.baddbmm(self.bias, self.weight, inputs, out=mixed)
        value, gate = mixed.chunk(2, dim=1)
        if self.gate.shape[1] in _SHORT and _is_narrow(mixed):
            self.gate.copy_(gate).sigmoid_()
        else:
            torch.sigmoid(gate, out=self.gate)
        return torch.mul(value, self.gate, out=self.outputs)

    def back(self, gradient: Tensor) -> Tensor:
        """The gradient of the product, from that of the outputs."""
        for_value, for_gate = self.room.mixed.chunk(2, dim=1)
        torch.mul(gradient, self.gate, out=for_value)
        torch.addcmul(self.outputs, self.outputs, self.gate, value=-1, out=for_gate).mul_(gradient)
        return self.room.mixed

    def further_back(self, room: Tensor) -> Tensor:
        """The gradient of the inputs, from that of the product, which lies in the layer's room."""
        mixed = self.room.mixed
        if mixed.shape[1] == 2 and self.weight.shape[2] in _SHORT and _is_narrow(mixed):
            torch.mul(self.weight[:, 0].unsqueeze(2), mixed[:, :1], out=room)
            room.addcmul_(self.weight[:, 1].unsqueeze(2), mixed[:, 1:])
        elif _is_narrow(mixed):
            torch.bmm(mixed.transpose(1, 2), self.weight, out=room.transpose(1, 2))
        else:
            torch.bmm(self.weight.transpose(1, 2), mixed, out=room)
        return room


class _Gates(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, link: Tensor, gated: Gated, dropout: float) -> Tensor:  # noqa: ARG004
        ctx.gated, ctx.masks, kept = gated, gated.masks(inputs, dropout), gated.kept(inputs)
        for block, layers in gated.blocks(inputs, kept):
            hidden = inputs[block]
            for layer, mask in zip(layers, ctx.masks, strict=True):
                hidden = layer.forth(mask(hidden, block))
        ctx.save_for_backward(
            inputs, *kept, *gated.tied.values
        )  # the values so that a change of them is noticed
        return kept[-1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        refuse_second_order()
        inputs, *kept = ctx.saved_tensors[: 1 + len(ctx.gated.tied.values)]
        found = _room(inputs, *inputs.shape[:2])
        sums = ctx.gated.tied.sums() if ctx.needs_input_grad[1] else None
        for block, layers in ctx.gated.blocks(inputs, kept):
            gradient, seen = gradients[0][block], [inputs[block], *(layer.outputs for layer in layers)]
            for i, (layer, mask) in reversed([*enumerate(zip(layers, ctx.masks, strict=True))]):
                mixed = layer.back(gradient)
                if sums is not None:
                    add_product(sums[2 * i][block], mixed, mask(seen[i], block).transpose(1, 2))
                    add_sum(sums[2 * i + 1][block], mixed, 2)
                gradient = mask.apply_(layer.further_back(layer.room.back if i else found[block]), block)
        return found, None, None, None


def _room(like: Tensor, neurons: int, rows: int) -> Float[Tensor, "neurons rows batch"]:
    """Room for products as they are written: few columns as rows, which are longer and so take half the time."""
    batch = like.shape[-1]
    if batch < _NARROW:
        return like.new_empty(neurons, batch, rows).transpose(1, 2)
    return like.new_empty(neurons, rows, batch)


def _is_narrow(product: Tensor) -> bool:
    return product.shape[-1] < _NARROW
