"""Thinking tick by tick: it may end early, for some rows of a batch before others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from merganser.thinking._loop import Loop
from merganser.thinking._synchronisation import Decayed, Synchronisation, advance
from merganser.thinking._thought import ThoughtState, certainty


class Tick(NamedTuple):
    """One moment of a thought.

    Attributes:
        number: Of the tick, from 0 on.
        rows: Which rows of the batch still think.
        predictions: Their logits.
        certainties: Of these predictions, in [0, 1].
        synchronisation: Their output synchronisation.
    """

    number: int
    rows: Int64[Tensor, " rows"]
    predictions: Float[Tensor, "rows outputs"]
    certainties: Float[Tensor, " rows"]
    synchronisation: Float[Tensor, "rows pairs"]


class Thinking(Iterator[Tick]):
    """An iterator over ticks, without gradients. Ends when its ticks or its rows do.

    Args:
        loop: What thinks.
        begun: Sums of the output synchronisation so far.
        output: Which pairs it reads.
        head: From synchronisation to logits.
        positions: Into how many answers logits are cut.
        ticks: How many at most.
    """

    def __init__(
        self,
        loop: Loop,
        begun: Decayed,
        output: Synchronisation,
        head: Callable[[Tensor], Tensor],
        positions: int,
        ticks: int,
    ) -> None:
        self._loop, self._sums, self._output, self._head = loop, begun, output, head
        self._positions, self._left, self._number = positions, ticks, 0
        self._rows = torch.arange(loop.activations.shape[-1], device=loop.activations.device)
        with torch.no_grad():
            self._rates = output.rates()

    @torch.no_grad()
    def __next__(self) -> Tick:
        if not self._left or not len(self._rows):
            raise StopIteration
        activations = self._loop.tick()
        self._sums = advance(self._sums, self._output.products(activations), self._rates)
        synchronisation = self._sums.value().t()
        predictions = self._head(synchronisation)
        self._left, self._number = self._left - 1, self._number + 1
        certainties = certainty(predictions, self._positions)
        return Tick(self._number - 1, self._rows, predictions, certainties, synchronisation)

    @torch.no_grad()
    def keep(self, rows: Bool[Tensor, " rows"]) -> None:
        """Go on with these rows alone; the others are done.

        Args:
            rows: One truth value for each row that still thinks.

        Raises:
            ValueError: If there are more or fewer.
        """
        if rows.shape != self._rows.shape or rows.dtype != torch.bool:
            raise ValueError(
                f"Expected {len(self._rows)} truth values, one for each row that still thinks, but found "
                f"{tuple(rows.shape)} of {rows.dtype}."
            )
        if rows.all():
            return
        self._loop.keep(rows)
        self._sums = self._sums.rows(rows)
        self._rows = self._rows[rows]

    @property
    def state(self) -> ThoughtState:
        """What the rows that still think would go on from."""
        with torch.no_grad():
            return replace(self._loop.state(), output=self._sums)
