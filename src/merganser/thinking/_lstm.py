r"""An LSTM that thinks as a thought machine does: at every tick it asks, looks, and goes on.

With tokens $X$ that stay the same, hidden states $h^l$ and memories $c^l$ of cells $l = 1 \dots L$, at each tick:

| rule | formula |
| --- | --- |
| the last cell asks | $o = \mathrm{attention}(W h^L + b,\ X)$ |
| cells go on | $h^l, c^l = \mathrm{LSTM}(h^{l-1}, h^l, c^l)$ with $h^0 = o$ |
| the head reads | $y = W h^L + b$ |

It answers at its last tick, and is trained there and at its best one.

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from merganser._errors import ConfigError
from merganser.thinking._attention import Attended, Attention
from merganser.thinking._backbones import direct_width
from merganser.thinking._baseline_config import BaselineConfig
from merganser.thinking._dropout import Dropout
from merganser.thinking._lstm_cell import Cell, CellState, LSTMState
from merganser.thinking._observe import Observed, observe
from merganser.thinking._think import Thinking
from merganser.thinking._thinker import Thinker
from merganser.thinking._thought import Thought, Trace
from merganser.thinking._tied import Maps


class LSTM(Thinker[BaselineConfig]):
    """An LSTM that looks at its inputs for a number of ticks.

    Args:
        config: Sizes and parts; `kind` is ``"lstm"``.

    Raises:
        ConfigError: If it is that of another kind of baseline.

    Examples:
        >>> config = BaselineConfig(kind="lstm", outputs=2, ticks=5, neurons=16, width=8, heads=2, channels=3)
        >>> thought = LSTM(config)(torch.randn(7, 3, 10))  # a batch of 7 inputs, each 10 tokens of 3 numbers
        >>> thought.predictions.shape, thought.certainties.shape
        (torch.Size([7, 2, 5]), torch.Size([7, 5]))
    """

    readout = "instant"

    def __init__(self, config: BaselineConfig) -> None:
        if config.kind != "lstm":
            raise ConfigError(f"Expected the configuration of an LSTM, found one of kind `{config.kind}`.")
        super().__init__(config)
        neurons = config.neurons
        self.attention = None
        if config.heads:
            self.attention = Attention(
                neurons, self.channels, width=config.width, heads=config.heads, dropout=config.dropout
            )
        inputs = [direct_width(config), *[neurons] * (config.layers - 1)]
        self.cells = nn.ModuleList(Cell(count, neurons) for count in inputs)
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(neurons, config.outputs) if config.outputs else None

    def forward(
        self,
        inputs: Num[Tensor, "batch ..."] | None,
        *,
        ticks: int | None = None,
        state: LSTMState | None = None,
        trace: bool = False,
    ) -> Thought[LSTMState]:
        """Think about inputs for a number of ticks.

        Args:
            inputs: What the backbone takes; None, which ``"questions"`` take for an answer's time, needs a `state`.
            ticks: How many; by default the configuration's.
            state: What to go on from, [`Thought.state`][] of the input before; by default the learnt start.
            trace: Whether to keep what happens inside.

        Raises:
            ValueError: If there are no ticks, or inputs and state are of different batches.
        """
        count = self._checked(ticks)
        steps = self._begin(inputs, state, count, weights=trace)
        last = [steps.advance() for _ in range(count)]
        hidden = torch.stack([each.hidden for each in last])
        kept = None
        if trace:
            attention = torch.stack(steps.attention) if steps.attention else None
            remembered = torch.stack([each.memory for each in last])
            kept = Trace(remembered.detach(), hidden.detach(), attention, steps.grid)
        head = self._read_head if self.head else None
        reached, positions = steps.reached(), self.config.positions
        return Thought(hidden.transpose(1, 2), reached, positions, kept, head, readout=self.readout)

    def think(
        self,
        inputs: Num[Tensor, "batch ..."] | None,
        *,
        ticks: int | None = None,
        state: LSTMState | None = None,
    ) -> Thinking[LSTMState]:
        """Think tick by tick, without gradients: rows of the batch that are done may leave.

        Args:
            inputs: As for a call.
            ticks: How many at most; by default the configuration's.
            state: What to go on from.

        Raises:
            ValueError: As for a call, or if the model has no head.
        """
        with torch.no_grad():
            steps = self._begin(inputs, state, self._checked(ticks))
        return self._thinking(steps, steps.reached().batch, ticks)

    def start(self, batch: int) -> LSTMState:
        """The learnt state before the first input.

        Args:
            batch: Rows of the batch.
        """
        return LSTMState(tuple(cell.start(batch) for cell in self._cells()))

    def _begin(
        self, inputs: Tensor | None, state: LSTMState | None, ticks: int, *, weights: bool = False
    ) -> _Steps:
        observed = observe(self, inputs, None if state is None else state.batch)
        return _Steps(self, observed, state or self.start(observed.batch), ticks, weights=weights)

    def _cells(self) -> list[Cell]:
        return [cell for cell in self.cells if isinstance(cell, Cell)]


class _Steps:
    """A thought in progress."""

    def __init__(
        self, model: LSTM, observed: Observed, state: LSTMState, ticks: int, *, weights: bool
    ) -> None:
        self._model, self._observed, self._weights = model, observed, weights
        self.grid = observed.grid
        self._cells, self._states, self._maps = model._cells(), list(state.cells), Maps(ticks)
        self._question = self._attended = None
        if model.attention is not None and observed.tokens is not None:
            self._question = model.attention.question(state.batch, ticks)
            self._attended = Attended(observed.tokens)
        self.attention: list[Tensor] = []

    def advance(self) -> CellState:
        """Think one tick further; gives the last cell's state."""
        seen = self._look()
        for place, cell in enumerate(self._cells):
            inputs = seen if place == 0 else self._model.dropout(seen)
            self._states[place] = cell(inputs, self._states[place], self._maps)
            seen = self._states[place].hidden
        return self._states[-1]

    def step(self) -> Float[Tensor, "rows neurons"]:
        """Think one tick further; gives the last cell's hidden state."""
        return self.advance().hidden

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows of the batch alone; for thoughts without gradients."""
        self._observed = self._observed.rows(rows)
        self._states = list(self.reached().rows(rows).cells)
        if self._observed.tokens is not None:
            self._attended = Attended(self._observed.tokens)

    def reached(self) -> LSTMState:
        """What goes on from here."""
        return LSTMState(tuple(self._states))

    def _look(self) -> Float[Tensor, "batch seen"]:
        if self._attended is None:
            assert self._observed.direct is not None
            return self._observed.direct
        assert self._question is not None
        assert self._model.attention is not None
        query = self._question(self._states[-1].hidden)
        seen, shares = self._model.attention(query, self._attended, self._maps)
        if self._weights:
            self.attention.append(shares)
        return seen
