"""What neurons received: every pre-activation is written once, and a memory is a window over the buffer.

The buffer is (neurons, memory + ticks, batch). A queue would copy the whole memory at every tick, and autograd would
keep each of the copies. Autograd forbids to write into a tensor that it keeps; here that is safe, since a window never
shows a place that is written later, so windows are handed out with version counters of their own. Gradients of the
windows overlap; they are summed up in one buffer, from the last tick to the first. A link, an empty tensor that goes
from tick to tick, tells autograd of that order; whoever thinks holds it, since history and graph would otherwise hold
each other for ever.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


class History:
    """Pre-activations of all neurons during one thought.

    Args:
        start: Of the shape of the memory at its beginning.
        ticks: How many will be added at most.
        dtype: In which they are kept.
    """

    def __init__(self, start: Float[Tensor, "neurons memory batch"], ticks: int, dtype: torch.dtype) -> None:
        neurons, self.memory, batch = start.shape
        self._buffer = start.new_empty(neurons, self.memory + ticks, batch, dtype=dtype)
        self.dtype, self.ticks = dtype, 0
        self._gradient: tuple[int, Tensor] | None = None

    def begin(self, start: Float[Tensor, "neurons memory batch"]) -> Tensor:
        """Fill in the memory at the beginning; gives the first link."""
        return _Begin.apply(start, self)  # pyright: ignore[reportReturnType]

    def remember(
        self, received: Float[Tensor, "neurons batch"], link: Tensor
    ) -> tuple[Float[Tensor, "neurons memory batch"], Tensor]:
        """Add what was received at a tick; gives the memory, oldest first, and the next link."""
        self.ticks += 1
        return _Remember.apply(received, link, self, self.ticks)  # pyright: ignore[reportReturnType]

    def window(self, tick: int) -> Float[Tensor, "neurons memory batch"]:
        """The memory after so many ticks, without a gradient."""
        return self._buffer.data[:, tick : tick + self.memory]

    def received(self) -> Float[Tensor, "ticks batch neurons"]:
        """What was received at every tick, without a gradient."""
        return self._buffer.data[:, self.memory : self.memory + self.ticks].permute(1, 2, 0)

    def latest(self, link: Tensor) -> Float[Tensor, "neurons memory batch"]:
        """The memory now, as something of its own."""
        return _Latest.apply(link, self).clone()  # pyright: ignore[reportOptionalMemberAccess]

    def keep(self, rows: Tensor) -> None:
        """Forget all but these rows of the batch; for thoughts without gradients."""
        self._buffer = self._buffer[..., rows]

    def write(self, begin: int, values: Float[Tensor, "neurons times batch"]) -> None:
        """Fill places of the buffer."""
        self._buffer.data[:, begin : begin + values.shape[1]].copy_(values)

    def gradient(self) -> Float[Tensor, "neurons times batch"]:
        """Gradients of this backward pass; a second pass begins with zeros."""
        now = torch._C._current_graph_task_id()
        if self._gradient is None or self._gradient[0] != now:
            precise = torch.promote_types(self._buffer.dtype, torch.float32)
            self._gradient = (now, torch.zeros_like(self._buffer, dtype=precise))
        return self._gradient[1]

    def forget_gradient(self) -> None:
        """Free the buffer of gradients."""
        self._gradient = None


class _Begin(torch.autograd.Function):
    """Fills the buffer with the memory at the beginning; gives an empty tensor that ties the ticks together."""

    @staticmethod
    def forward(ctx: Any, start: Tensor, history: History) -> Tensor:
        ctx.history, ctx.dtype = history, start.dtype
        history.write(0, start)
        return start.new_empty(0)

    @staticmethod
    def backward(ctx: Any, *_links: Tensor) -> tuple[Tensor, None]:
        gradient = ctx.history.gradient()[:, : ctx.history.memory].to(ctx.dtype, copy=True)
        ctx.history.forget_gradient()
        return gradient, None


class _Remember(torch.autograd.Function):
    """Writes a tick; its gradient is complete when all later ticks have added theirs, for which the link sees."""

    @staticmethod
    def forward(
        ctx: Any, received: Tensor, link: Tensor, history: History, tick: int
    ) -> tuple[Tensor, Tensor]:
        ctx.history, ctx.tick, ctx.dtype = history, tick, received.dtype
        ctx.set_materialize_grads(False)
        history.write(tick + history.memory - 1, received.unsqueeze(1))
        return history.window(tick), torch.empty_like(link)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor, Tensor, None, None]:
        window, _link = gradients
        gradient, memory = ctx.history.gradient(), ctx.history.memory
        if window is not None:
            gradient[:, ctx.tick : ctx.tick + memory] += window
        own = gradient[:, ctx.tick + memory - 1].to(ctx.dtype, copy=True)
        return own, own.new_empty(0), None, None


class _Latest(torch.autograd.Function):
    """The memory at the end of a thought, for the one that goes on from there."""

    @staticmethod
    def forward(ctx: Any, link: Tensor, history: History) -> Tensor:  # noqa: ARG004
        ctx.history, ctx.tick = history, history.ticks
        return history.window(history.ticks)

    @staticmethod
    def backward(ctx: Any, *windows: Tensor) -> tuple[Tensor, None]:
        [window] = windows
        ctx.history.gradient()[:, ctx.tick : ctx.tick + ctx.history.memory] += window
        return window.new_empty(0), None
