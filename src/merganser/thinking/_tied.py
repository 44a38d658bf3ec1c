"""Tensors that every tick uses: their gradients are summed up aside, and handed to autograd once.

Autograd by itself makes a whole gradient of every weight at every tick and adds it to the others: with a small batch
that moves more bytes than all else. Here a tick notes the two factors of its gradient, and many ticks' factors become
one matrix product; or it adds in place.

A tied tensor meets autograd through a *link*, an empty tensor that every use of it takes in. Autograd comes back to
where the link was made when all uses have been gone through, and there the sums leave. Links must not be kept by what
their own graph keeps: such a ring would never be freed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from merganser.thinking._packed import Linear, linear_of

_ROWS = 1024

Noted = Sequence[Sequence[Tensor]]


class Tied:
    """Tensors without their gradients, and the sums of these during one backward pass.

    Args:
        values: The tensors as the ticks use them; of any shape with the same elements, and of any type.
        add: Adds what was noted at some ticks to the sums; None where nothing is noted.
        every: After how many notes that is done.
    """

    def __init__(
        self,
        values: Sequence[Tensor],
        add: Callable[[list[Tensor], Noted], None] | None = None,
        *,
        every: int = 1,
    ) -> None:
        self.values = [value.detach() for value in values]
        self._add, self._every = add, every
        self._pass: int | None = None
        self._sums: list[Tensor] | None = None
        self._noted: list[Sequence[Tensor]] = []

    def link(self, tensors: Sequence[Tensor]) -> Tensor:
        """What uses take in, so that gradients reach these tensors, of which the values were made."""
        return _Tie.apply(self, *tensors)  # pyright: ignore[reportReturnType]

    def sums(self) -> list[Tensor]:
        """The sums of this backward pass, to be added to in place; those of half-precision values are in single."""
        self._enter()
        if self._sums is None:
            self._sums = [torch.zeros_like(value, dtype=_precise(value)) for value in self.values]
        return self._sums

    def note(self, *factors: Tensor) -> None:
        """Remember what a gradient is made of."""
        self._enter()
        self._noted.append(factors)
        if len(self._noted) >= self._every:
            self._settle()

    def finish(self) -> list[Tensor] | None:
        """The sums of this backward pass, which are forgotten here; None if nothing was noted."""
        if self._pass != torch._C._current_graph_task_id():
            return None
        self._settle()
        sums, self._sums, self._pass = self._sums, None, None
        return sums

    def _enter(self) -> None:
        now = torch._C._current_graph_task_id()
        if self._pass != now:
            self._pass, self._sums, self._noted = now, None, []

    def _settle(self) -> None:
        if self._noted:
            assert self._add is not None
            self._add(self.sums(), self._noted)
            self._noted = []


class _Tie(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tied: Tied, *tensors: Tensor) -> Tensor:
        ctx.tied, ctx.like = tied, [(tensor.shape, tensor.dtype) for tensor in tensors]
        return tensors[0].new_empty(0)

    @staticmethod
    def backward(ctx: Any, *_links: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_order()
        sums = ctx.tied.finish()
        if sums is None:
            return (None,) * (1 + len(ctx.like))
        return None, *(
            total.view(shape).to(dtype) for total, (shape, dtype) in zip(sums, ctx.like, strict=True)
        )


class TiedMap:
    """A linear map that all ticks apply.

    Args:
        weight: (outputs, inputs).
        bias: Of every output.
        rows: How many rows a tick has; sets how many ticks' gradients are one product.
        ticks: How many there are.
    """

    def __init__(self, weight: Tensor, bias: Tensor, rows: int, *, ticks: int = 1) -> None:
        dtype = working_dtype(weight)
        self._tied = Tied([weight.to(dtype), bias.to(dtype)], _add_products, every=max(1, _ROWS // rows))
        self._link = self._tied.link([weight, bias])
        self._linears = _Linears(self._tied.values[0], rows, ticks)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Apply it to rows."""
        inputs = inputs.to(self._tied.values[0].dtype)
        return _Apply.apply(inputs, self._link, self._tied, self._linears)  # pyright: ignore[reportReturnType]


class _Linears:
    """A matrix and its transpose, as they are applied; each is laid out when it is first needed."""

    def __init__(self, matrix: Tensor, rows: int, uses: int) -> None:
        self._matrix, self._rows, self._uses = matrix, rows, uses

    @cached_property
    def forth(self) -> Linear:
        """From inputs to outputs."""
        return linear_of(self._matrix, rows=self._rows, uses=self._uses)

    @cached_property
    def back(self) -> Linear:
        """From gradients of outputs to those of inputs."""
        return linear_of(self._matrix.t(), rows=self._rows, uses=self._uses)


class _Apply(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, link: Tensor, tied: Tied, linears: _Linears) -> Tensor:  # noqa: ARG004
        weight, bias = tied.values
        ctx.tied, ctx.linears = tied, linears
        ctx.save_for_backward(inputs, weight)  # the weight only so that a change of it is noticed
        return linears.forth(inputs, bias=bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None, None]:
        refuse_second_order()
        [gradient] = gradients
        inputs, _weight = ctx.saved_tensors
        if ctx.needs_input_grad[1]:
            ctx.tied.note(gradient, inputs)
        return ctx.linears.back(gradient) if ctx.needs_input_grad[0] else None, None, None, None


class Maps:
    """Applies a network's linear layers tick by tick; one of these serves one thought.

    Args:
        ticks: How many the thought has at most.
    """

    def __init__(self, ticks: int) -> None:
        self._ticks = ticks
        self._maps: dict[nn.Linear, TiedMap] = {}

    def __call__(self, layer: nn.Linear, inputs: Tensor) -> Tensor:
        """What the layer makes of rows."""
        if layer not in self._maps:
            self._maps[layer] = TiedMap(layer.weight, layer.bias, len(inputs), ticks=self._ticks)
        return self._maps[layer](inputs)


def _add_products(sums: list[Tensor], noted: Noted) -> None:
    """Gradients of weights and biases from those of outputs, and inputs, of several ticks."""
    gradients, inputs = (torch.cat([factors[i] for factors in noted]) for i in range(2))
    weight, bias = sums
    add_product(weight, gradients.t(), inputs)
    add_sum(bias, gradients, 0)


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a matrix product, or a batch of them, in place; sums of half-precision products are in single precision."""
    if total.dtype != left.dtype:
        total += left @ right
    elif total.ndim == 3:
        total.baddbmm_(left, right)
    else:
        total.addmm_(left, right)


def add_sum(total: Tensor, terms: Tensor, dim: int) -> None:
    """Add a sum over one dimension, in place."""
    total += terms.sum(dim, dtype=total.dtype).view_as(total)


def _precise(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


def refuse_second_order() -> None:
    """Raise where a backward pass shall be differentiated itself: sums that are taken aside would be missing there."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "Gradients of a thought cannot be differentiated again. Leave out `create_graph=True`, or take second "
            "derivatives by differences."
        )


def working_dtype(tensor: Tensor) -> torch.dtype:
    """The type that autocast computes in, so that what ticks share need not be converted tick by tick."""
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tensor.dtype
