"""What neurons received: every pre-activation is written once, and a memory is a window over the buffer.

The buffer is (neurons, memory + ticks, batch). A queue would copy the whole memory at every tick, and autograd would
keep each of the copies. Autograd forbids to write into a tensor that it keeps; here that is safe, since a window never
shows a place that is written later, so windows are handed out with version counters of their own. Gradients of the
windows overlap; they are summed up in one buffer, from the last tick to the first.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


class History:
    """Pre-activations of all neurons during one thought.

    Args:
        start: The memory at its beginning, oldest first.
        ticks: How many will be added at most.
        dtype: In which they are kept.
    """

    def __init__(self, start: Float[Tensor, "neurons memory batch"], ticks: int, dtype: torch.dtype) -> None:
        self._places, self._ticks = _Places(start, ticks, dtype), 0
        self._link: Any = _Begin.apply(start, self._places)

    def remember(self, received: Float[Tensor, "neurons batch"]) -> Float[Tensor, "neurons memory batch"]:
        """Add what was received at a tick; gives the memory, oldest first."""
        self._ticks += 1
        remembered: Any = _Remember.apply(received, self._link, self._places, self._ticks)
        window, self._link = remembered
        return window

    def latest(self) -> Float[Tensor, "neurons memory batch"]:
        """The memory now, as something of its own."""
        window: Any = _Latest.apply(self._link, self._places, self._ticks)
        return window.clone()

    def received(self) -> Float[Tensor, "ticks batch neurons"]:
        """What was received at every tick, without a gradient."""
        first = self._places.memory
        return self._places.buffer[:, first : first + self._ticks].permute(1, 2, 0)

    def keep(self, rows: Tensor) -> None:
        """Forget all but these rows of the batch; for thoughts without gradients."""
        self._places.buffer = self._places.buffer[..., rows]


class _Places:
    """The buffer and its gradient: all that autograd holds, which must not hold the history and so itself."""

    def __init__(self, start: Tensor, ticks: int, dtype: torch.dtype) -> None:
        neurons, self.memory, batch = start.shape
        self.buffer = start.detach().new_empty(neurons, self.memory + ticks, batch, dtype=dtype)
        self._gradient: tuple[int, Tensor] | None = None

    def write(self, begin: int, values: Float[Tensor, "neurons times batch"]) -> None:
        """Fill places of the buffer."""
        self.buffer.data[:, begin : begin + values.shape[1]].copy_(values)

    def window(self, tick: int) -> Float[Tensor, "neurons memory batch"]:
        """The memory after so many ticks."""
        return self.buffer.data[:, tick : tick + self.memory]

    def gradient(self) -> Float[Tensor, "neurons times batch"]:
        """Gradients of this backward pass; another pass begins with zeros."""
        now = torch._C._current_graph_task_id()
        if self._gradient is None or self._gradient[0] != now:
            precise = torch.promote_types(self.buffer.dtype, torch.float32)
            self._gradient = (now, torch.zeros_like(self.buffer, dtype=precise))
        return self._gradient[1]

    def forget_gradient(self) -> None:
        """Free the buffer of gradients."""
        self._gradient = None


class _Begin(torch.autograd.Function):
    """Fills the buffer with the memory at the beginning; gives an empty tensor that ties the ticks together."""

    @staticmethod
    def forward(ctx: Any, start: Tensor, places: _Places) -> Tensor:
        ctx.places, ctx.dtype = places, start.dtype
        places.write(0, start)
        return start.new_empty(0)

    @staticmethod
    def backward(ctx: Any, *_links: Tensor) -> tuple[Tensor, None]:
        gradient = ctx.places.gradient()[:, : ctx.places.memory].to(ctx.dtype, copy=True)
        ctx.places.forget_gradient()
        return gradient, None


class _Remember(torch.autograd.Function):
    """Writes a tick; its gradient is complete when all later ticks have added theirs, for which the link sees."""

    @staticmethod
    def forward(
        ctx: Any, received: Tensor, link: Tensor, places: _Places, tick: int
    ) -> tuple[Tensor, Tensor]:
        ctx.places, ctx.tick, ctx.dtype = places, tick, received.dtype
        ctx.set_materialize_grads(False)
        places.write(tick + places.memory - 1, received.unsqueeze(1))
        return places.window(tick), torch.empty_like(link)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor, Tensor, None, None]:
        window, _link = gradients
        gradient, memory = ctx.places.gradient(), ctx.places.memory
        if window is not None:
            gradient[:, ctx.tick : ctx.tick + memory] += window
        own = gradient[:, ctx.tick + memory - 1].to(ctx.dtype, copy=True)
        return own, own.new_empty(0), None, None


class _Latest(torch.autograd.Function):
    """The memory at the end of a thought, for the one that goes on from there."""

    @staticmethod
    def forward(ctx: Any, link: Tensor, places: _Places, tick: int) -> Tensor:  # noqa: ARG004
        ctx.places, ctx.tick = places, tick
        return places.window(tick)

    @staticmethod
    def backward(ctx: Any, *windows: Tensor) -> tuple[Tensor, None, None]:
        [window] = windows
        ctx.places.gradient()[:, ctx.tick : ctx.tick + ctx.places.memory] += window
        return window.new_empty(0), None, None
