"""The Continuous Thought Machine: a network that thinks about its inputs for a while.

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from merganser.thinking._attention import Attention
from merganser.thinking._backbones import direct_width
from merganser.thinking._config import CTMConfig
from merganser.thinking._loop import Loop
from merganser.thinking._neurons import Neurons
from merganser.thinking._observe import Observed, observe
from merganser.thinking._synapse import synapse
from merganser.thinking._synchronisation import Synchronisation, pairs_of
from merganser.thinking._think import Synchronising, Thinking
from merganser.thinking._thinker import Thinker
from merganser.thinking._thought import Thought, ThoughtState, Trace


class CTM(Thinker[CTMConfig]):
    """A Continuous Thought Machine.

    Its weights are drawn from torch's generator, as those of any module; its pairs of neurons by the seed of `config`.

    Args:
        config: Sizes and parts.

    Examples:
        >>> model = CTM(CTMConfig(outputs=2, ticks=5, neurons=16, width=8, memory=4, heads=2, channels=3))
        >>> thought = model(torch.randn(7, 3, 10))  # a batch of 7 inputs, each 10 tokens of 3 numbers
        >>> thought.predictions.shape, thought.certainties.shape
        (torch.Size([7, 2, 5]), torch.Size([7, 5]))
    """

    def __init__(self, config: CTMConfig) -> None:
        super().__init__(config)
        self.output = Synchronisation(*pairs_of(config, "output"), config.max_decay)
        self.action = self.attention = None
        if config.heads:
            self.action = Synchronisation(*pairs_of(config, "action"), config.max_decay)
            self.attention = Attention(
                len(self.action.left),
                self.channels,
                width=config.width,
                heads=config.heads,
                dropout=config.dropout,
            )
        self.synapse = synapse(
            direct_width(config) + config.neurons,
            config.neurons,
            depth=config.synapse_depth,
            blocks=config.synapse_blocks,
            dropout=config.dropout,
        )
        self.neurons = Neurons(
            config.neurons,
            config.memory,
            config.hidden,
            norm=config.neuron_norm,
            dropout=config.neuron_dropout,
        )
        start = (config.neurons, config.memory) if config.sliding else (config.neurons,)
        self.start_activations = _drawn(*start)
        self.start_history = _drawn(config.neurons, config.memory)
        self.head = nn.Linear(len(self.output.left), config.outputs) if config.outputs else None

    def forward(
        self,
        inputs: Num[Tensor, "batch ..."] | None,
        *,
        ticks: int | None = None,
        state: ThoughtState | None = None,
        trace: bool = False,
        recompute: bool = False,
    ) -> Thought[ThoughtState]:
        """Think about inputs for a number of ticks.

        Args:
            inputs: What the backbone takes; None, which ``"questions"`` take for an answer's time, needs a `state`.
            ticks: How many; by default the configuration's.
            state: What to go on from, [`Thought.state`][] of the input before; by default the learnt start.
            trace: Whether to keep what happens inside.
            recompute: Whether training computes synapses and neurons twice, in place of keeping what they compute in
                between: less memory, more time, the same gradients.

        Raises:
            ValueError: If there are no ticks, or inputs and state are of different batches.
        """
        loop, state = self._begin(inputs, ticks, state, weights=trace, recompute=recompute)
        activations = torch.stack([loop.tick() for _ in range(self._checked(ticks))])
        if state.recent is not None:
            recent = torch.cat([state.recent, activations])
            values = self.output.sliding(recent[1:], self.config.memory)
            after = replace(loop.state(), recent=recent[-self.config.memory :])
        else:
            assert state.output is not None
            values, output = self.output.follow(state.output, activations)
            after = replace(loop.state(), output=output)
        kept = self._trace(loop, activations) if trace else None
        return Thought(values, after, self.config.positions, kept, self._read_head if self.head else None)

    def think(
        self,
        inputs: Num[Tensor, "batch ..."] | None,
        *,
        ticks: int | None = None,
        state: ThoughtState | None = None,
    ) -> Thinking[ThoughtState]:
        """Think tick by tick, without gradients: rows of the batch that are done may leave.

        Args:
            inputs: As for a call.
            ticks: How many at most; by default the configuration's.
            state: What to go on from.

        Raises:
            ValueError: As for a call, or if the model has no head.
        """
        if self.config.sliding:
            raise ValueError("Models that slide do not think tick by tick. Call the model instead.")
        with torch.no_grad():
            loop, state = self._begin(inputs, ticks, state)
        assert state.output is not None
        return self._thinking(Synchronising(loop, state.output, self.output), state.batch, ticks)

    def start(self, batch: int) -> ThoughtState:
        """The learnt state before the first input.

        Args:
            batch: Rows of the batch.
        """
        history = self.start_history.unsqueeze(-1).expand(-1, -1, batch)
        activations = self.start_activations.unsqueeze(-1).expand(*self.start_activations.shape, batch)
        if self.config.sliding:
            return ThoughtState(activations[:, -1], history, recent=activations.transpose(0, 1))
        action = None if self.action is None else self.action.nothing(activations)
        return ThoughtState(activations, history, action, self.output.begin(activations))

    def observe(self, inputs: Num[Tensor, "batch ..."] | None, batch: int | None = None) -> Observed:
        """What thinking sees of inputs: the backbone, and what attention needs, once for all ticks.

        Args:
            inputs: What the backbone takes.
            batch: Rows of the batch that goes on; None where a thought begins.

        Raises:
            ValueError: If inputs are None and nothing says how many rows there are, there are others, or there are no
                tokens to see.
        """
        return observe(self, inputs, batch)

    def _begin(
        self, inputs: Tensor | None, ticks: int | None, state: ThoughtState | None, **options: bool
    ) -> tuple[Loop, ThoughtState]:
        count = self._checked(ticks)
        observed = self.observe(inputs, None if state is None else state.batch)
        state = self.start(observed.batch) if state is None else state
        return Loop(self, observed, state, count, **options), state

    def _trace(self, loop: Loop, activations: Float[Tensor, "ticks neurons batch"]) -> Trace:
        attention = torch.stack(loop.attention).detach() if loop.attention else None
        seen = activations.transpose(1, 2).detach()
        return Trace(loop.history.received(), seen, attention, loop.observed.grid)


def _drawn(neurons: int, *times: int) -> nn.Parameter:
    bound = 1 / math.sqrt(neurons + sum(times))
    return nn.Parameter(torch.empty(neurons, *times).uniform_(-bound, bound))
