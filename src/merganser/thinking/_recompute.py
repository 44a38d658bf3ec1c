"""Thinking in parts whose inner values are not kept for the backward pass, but computed again there.

Between parts only the state is kept: what neurons received within their memory, their activations, running sums.
Random numbers are the same the second time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from merganser.thinking._thought import ThoughtState

if TYPE_CHECKING:
    from merganser.thinking._loop import Loop


def think_in_parts(
    begin: Callable[[ThoughtState, int], Loop], state: ThoughtState, ticks: int, every: int
) -> tuple[Float[Tensor, "ticks neurons batch"], ThoughtState]:
    """Activations at all ticks, and the state after them as far as the loop knows of it.

    Args:
        begin: Gives a loop from a state, for so many ticks.
        state: Where the first part begins.
        ticks: How many in all.
        every: Ticks of a part.

    Raises:
        ValueError: If parts have no ticks.
    """
    if every < 1:
        raise ValueError(f"`recompute` must be at least 1 tick, but is {every}. Leave it out to keep everything.")

    def part(state: ThoughtState, count: int) -> tuple[Tensor, ThoughtState]:
        loop = begin(state, count)
        return torch.stack([loop.tick() for _ in range(count)]), loop.state()

    parts: list[Tensor] = []
    for done in range(0, ticks, every):
        found: Any = checkpoint(part, state, min(every, ticks - done), use_reentrant=False)
        activations, state = found
        parts.append(activations)
    return torch.cat(parts), state
