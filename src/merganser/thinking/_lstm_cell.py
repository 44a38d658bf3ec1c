r"""LSTM cells, and what they remember.

| rule | formula |
| --- | --- |
| gates | $[i, f, g, o] = W [x; h] + b$ |
| memory | $c \leftarrow \sigma(f) c + \sigma(i) \tanh(g)$ |
| hidden state | $h \leftarrow \sigma(o) \tanh(c)$ |

$h$ and $c$ begin with learnt values. Differences from torch's cells, which the paper has: one bias for each gate in
place of the sum of two.

References:
    Hochreiter, Schmidhuber, *Long Short-Term Memory*, Neural Computation 1997
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn


class CellState(NamedTuple):
    """What one cell goes on from."""

    hidden: Float[Tensor, "batch neurons"]
    memory: Float[Tensor, "batch neurons"]


@dataclass(frozen=True, slots=True)
class LSTMState:
    """What an LSTM remembers between inputs.

    Attributes:
        cells: State of each cell, from the first to the last.
    """

    cells: tuple[CellState, ...]

    def detach(self) -> LSTMState:
        """The same without gradients: where a long sequence is cut for training."""
        return LSTMState(tuple(CellState(*(each.detach() for each in cell)) for cell in self.cells))

    def rows(self, rows: Int64[Tensor, " kept"] | Bool[Tensor, " batch"]) -> LSTMState:
        """These rows of the batch alone."""
        return LSTMState(tuple(CellState(*(each[rows] for each in cell)) for cell in self.cells))

    @property
    def batch(self) -> int:
        """Rows of the batch."""
        return len(self.cells[0].hidden)


class Cell(nn.Module):
    """An LSTM cell.

    Args:
        inputs: Numbers that come in.
        neurons: Of the hidden state.
    """

    def __init__(self, inputs: int, neurons: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs + neurons, 4 * neurons)
        bound = 1 / math.sqrt(neurons)  # as torch draws those of its cells
        nn.init.uniform_(self.linear.weight, -bound, bound)
        nn.init.uniform_(self.linear.bias, -bound, bound)
        self.start_hidden = nn.Parameter(torch.empty(neurons).uniform_(-bound, bound))
        self.start_memory = nn.Parameter(torch.empty(neurons).uniform_(-bound, bound))

    def start(self, batch: int) -> CellState:
        """The learnt state before the first input."""
        return CellState(self.start_hidden.expand(batch, -1), self.start_memory.expand(batch, -1))

    def forward(
        self,
        inputs: Float[Tensor, "batch inputs"],
        state: CellState,
        linear: Callable[[nn.Linear, Tensor], Tensor],
    ) -> CellState:
        """The state one tick later."""
        mixed = torch.cat([inputs, state.hidden.to(inputs.dtype)], dim=1)
        take, keep, new, show = linear(self.linear, mixed).chunk(4, dim=1)
        memory = keep.sigmoid() * state.memory + take.sigmoid() * new.tanh()
        return CellState(show.sigmoid() * memory.tanh(), memory)
