"""Thinking tick by tick: it may end early, for some rows of a batch before others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from merganser.thinking._loop import Loop
from merganser.thinking._synchronisation import Decayed, Synchronisation, advance
from merganser.thinking._thought import ThoughtState, certainty

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)
"""What a thought goes on from."""


class Tick(NamedTuple):
    """One moment of a thought.

    Attributes:
        number: Of the tick, from 0 on.
        rows: Which rows of the batch still think.
        predictions: Their logits.
        certainties: Of these predictions, in [0, 1].
        latent: What the head read: their output synchronisation, an LSTM's hidden state.
    """

    number: int
    rows: Int64[Tensor, " rows"]
    predictions: Float[Tensor, "rows outputs"]
    certainties: Float[Tensor, " rows"]
    latent: Float[Tensor, "rows latent"]


@runtime_checkable
class Steps(Protocol[S_co]):
    """A thought in progress, tick by tick."""

    def step(self) -> Float[Tensor, "rows latent"]:
        """Think one tick further; gives what the head reads."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows of the batch alone."""
        ...

    def reached(self) -> S_co:
        """What goes on from here."""
        ...


class Synchronising:
    """A thought machine's thought, and its output synchronisation as it goes on.

    Args:
        loop: What thinks.
        begun: Sums of the output synchronisation so far.
        output: Which pairs it reads.
    """

    def __init__(self, loop: Loop, begun: Decayed, output: Synchronisation) -> None:
        self._loop, self._sums, self._output = loop, begun, output
        with torch.no_grad():
            self._rates = output.rates()

    def step(self) -> Float[Tensor, "rows pairs"]:
        """Think one tick further; gives the output synchronisation."""
        self._sums = advance(self._sums, self._output.products(self._loop.tick()), self._rates)
        return self._sums.value().t()

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows of the batch alone."""
        self._loop.keep(rows)
        self._sums = self._sums.rows(rows)

    def reached(self) -> ThoughtState:
        """What goes on from here."""
        return replace(self._loop.state(), output=self._sums)


class Thinking(Iterator[Tick], Generic[S]):
    """An iterator over ticks, without gradients. Ends when its ticks or its rows do.

    Args:
        steps: What thinks.
        head: From what a tick came to, to logits.
        positions: Into how many answers logits are cut.
        ticks: How many at most.
        rows: Of the batch, by number.
    """

    def __init__(
        self,
        steps: Steps[S],
        head: Callable[[Tensor], Tensor],
        positions: int,
        *,
        ticks: int,
        rows: Int64[Tensor, " rows"],
    ) -> None:
        self._steps, self._head = steps, head
        self._positions, self._left, self._number = positions, ticks, 0
        self._rows = rows

    @torch.no_grad()
    def __next__(self) -> Tick:
        if not self._left or not len(self._rows):
            raise StopIteration
        latent = self._steps.step()
        predictions = self._head(latent)
        self._left, self._number = self._left - 1, self._number + 1
        certainties = certainty(predictions, self._positions)
        return Tick(self._number - 1, self._rows, predictions, certainties, latent)

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
        self._steps.keep(rows)
        self._rows = self._rows[rows]

    @property
    def state(self) -> S:
        """What the rows that still think would go on from."""
        with torch.no_grad():
            return self._steps.reached()
