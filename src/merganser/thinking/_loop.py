"""The one tick loop of all thought machines.

At each tick, in this order: what neurons do together asks (action synchronisation, query, attention); the synapse
mixes what was seen with the activations; every neuron's own network turns what it received lately into its next
activation. The output synchronisation and the head feed nothing back, so they follow after the loop, all ticks at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from merganser.thinking._attention import Attended
from merganser.thinking._history import History
from merganser.thinking._observe import Observed
from merganser.thinking._synchronisation import advance
from merganser.thinking._thought import ThoughtState
from merganser.thinking._tied import Maps, working_dtype

if TYPE_CHECKING:
    from merganser.thinking._model import CTM


class Loop:
    """A thought in progress.

    Args:
        model: Whose.
        observed: What there is to see, the same at all ticks.
        state: Where it begins.
        ticks: How many there will be at most.
        weights: Whether to keep what attention looked at.
        recompute: Whether to compute synapses and neurons again for their gradients, in place of keeping what they
            computed in between.
    """

    def __init__(
        self,
        model: CTM,
        observed: Observed,
        state: ThoughtState,
        ticks: int,
        *,
        weights: bool = False,
        recompute: bool = False,
    ) -> None:
        self._model, self.observed = model, observed
        self._weights, self._recompute = weights, recompute
        self.activations = state.activations
        dtype = working_dtype(state.history)
        self.history = History(state.history, ticks, dtype)
        self._maps, self._gated = Maps(ticks), model.neurons.begin(dtype)
        self._action = state.action
        self._rates = None if model.action is None else model.action.rates()
        self._question = self._attended = None
        if model.attention is not None and observed.tokens is not None:
            self._question = model.attention.question(state.batch, ticks)
            self._attended = Attended(observed.tokens)
        self.attention: list[Tensor] = []

    def tick(self) -> Float[Tensor, "neurons batch"]:
        """Think one tick further; gives the new activations."""
        seen = self._look()
        mixed = torch.cat([seen, self.activations.t().to(seen.dtype)], dim=-1)
        window = self.history.remember(self._run(self._model.synapse, mixed, self._maps).t())
        self.activations = self._run(self._model.neurons, window, self._gated)
        return self.activations

    def state(self) -> ThoughtState:
        """What goes on, as far as the loop knows of it: without the output synchronisation."""
        return ThoughtState(self.activations, self.history.latest(), self._action)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows of the batch alone; for thoughts without gradients."""
        self.observed = self.observed.rows(rows)
        self.activations = self.activations[:, rows]
        self.history.keep(rows)
        if self.observed.tokens is not None:
            self._attended = Attended(self.observed.tokens)
        if self._action is not None:
            self._action = self._action.rows(rows)

    def _run(self, part: Callable[..., Tensor], *inputs: Any) -> Tensor:
        if self._recompute:
            return cast(Tensor, checkpoint(part, *inputs, use_reentrant=False))
        return part(*inputs)

    def _look(self) -> Float[Tensor, "batch seen"]:
        """What the synapse gets to see; the action synchronisation goes on even where nothing asks."""
        model = self._model
        if model.action is not None:
            assert self._action is not None
            assert self._rates is not None
            self._action = advance(self._action, model.action.products(self.activations), self._rates)
        if self._attended is None:
            assert self.observed.direct is not None
            return self.observed.direct
        assert self._action is not None
        assert self._question is not None
        assert model.attention is not None
        query = self._question(self._action.value().t())
        seen, shares = model.attention(query, self._attended, self._maps)
        if self._weights:
            self.attention.append(shares)
        return seen
