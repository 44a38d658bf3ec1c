"""What a thought leaves behind, and what the next one goes on from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from merganser.thinking._synchronisation import Decayed

Read = Callable[[Tensor], Tensor]
S = TypeVar("S")
"""What a thought goes on from."""

CERTAINTIES = ("mean", "least")
"""How the certainties of several positions are one: their mean, or the least of them."""


@dataclass(frozen=True, slots=True)
class ThoughtState:
    """What a thought machine remembers between inputs; neurons first, as inside.

    Attributes:
        activations: Post-activations z of the last tick.
        history: Pre-activations of the last `memory` ticks, oldest first.
        action: Sums of the action synchronisation; None without attention.
        output: Sums of the output synchronisation; None where it slides.
        recent: Where it slides, post-activations of the last `memory` ticks, oldest first.
    """

    activations: Float[Tensor, "neurons batch"]
    history: Float[Tensor, "neurons memory batch"]
    action: Decayed | None = None
    output: Decayed | None = None
    recent: Float[Tensor, "times neurons batch"] | None = None

    def detach(self) -> ThoughtState:
        """The same without gradients: where a long sequence is cut for training."""
        return self._with([tensor.detach() for tensor in self._tensors()])

    def rows(self, rows: Int64[Tensor, " kept"] | Bool[Tensor, " batch"]) -> ThoughtState:
        """These rows of the batch alone."""
        return self._with([_chosen(tensor, rows, self.batch) for tensor in self._tensors()])

    def where(self, mask: Bool[Tensor, " batch"], other: ThoughtState) -> ThoughtState:
        """Rows of this state where `mask` holds, of the other elsewhere: how episodes of a batch begin anew.

        Args:
            mask: Rows to keep.
            other: As many rows, such as [`CTM.start`][] gives.
        """
        pairs = zip(self._tensors(), other._tensors(), strict=True)
        return self._with([torch.where(mask, mine, theirs) for mine, theirs in pairs])

    @property
    def batch(self) -> int:
        """Rows of the batch."""
        return self.activations.shape[-1]

    def _tensors(self) -> list[Tensor]:
        sums = [tensor for each in (self.action, self.output) if each is not None for tensor in each]
        recent = [] if self.recent is None else [self.recent]
        return [self.activations, self.history, *sums, *recent]

    def _with(self, tensors: Sequence[Tensor]) -> ThoughtState:
        left = iter(tensors)
        activations, history = next(left), next(left)
        action = None if self.action is None else self.action._make((next(left), next(left)))
        output = None if self.output is None else self.output._make((next(left), next(left)))
        recent = None if self.recent is None else next(left)
        return ThoughtState(activations, history, action, output, recent)


@dataclass(frozen=True, slots=True)
class Trace:
    """What happened inside during a thought, without gradients.

    Attributes:
        received: Pre-activations of every tick; of an LSTM, what its last cell remembers.
        activations: Post-activations of every tick; of an LSTM, its hidden state.
        attention: Shares of tokens by head; None where nothing was attended to.
        grid: Rows and columns in which tokens lie, row by row, where the backbone makes a map of a picture; None where
            they stand in a line.
    """

    received: Float[Tensor, "ticks batch neurons"]
    activations: Float[Tensor, "ticks batch neurons"]
    attention: Float[Tensor, "ticks batch heads tokens"] | None
    grid: tuple[int, int] | None = None

    @property
    def maps(self) -> Float[Tensor, "ticks batch heads rows columns"] | None:
        """Attention as maps of the picture; None without attention, or where tokens stand in a line."""
        if self.attention is None or self.grid is None:
            return None
        return self.attention.unflatten(-1, self.grid)


@dataclass(frozen=True, slots=True)
class Thought(Generic[S]):
    """What a model makes of its inputs, tick by tick.

    The head is applied when it is asked for: all at once by [`Thought.predictions`][], or at chosen ticks by
    [`Thought.read`][], which is all that training needs.

    Attributes:
        latents: What the head reads after every tick: the output synchronisation, or an LSTM's hidden state.
        state: What the next input goes on from; None where nothing goes on.
        positions: Into how many answers a prediction is cut.
        trace: What happened inside, if it was asked for.
        readout: How one answer is made of all ticks, one of [`READOUTS`][]: `certain`, that of the surest tick, or
            `instant`, that of the last one.
    """

    latents: Float[Tensor, "ticks latent batch"]
    state: S
    positions: int
    trace: Trace | None
    _head: Read | None = field(repr=False)
    readout: Literal["certain", "instant"] = "certain"
    _read: list[Tensor] = field(default_factory=list, repr=False, compare=False)

    @property
    def ticks(self) -> int:
        """How long it was."""
        return len(self.latents)

    @property
    def latent(self) -> Float[Tensor, "batch latent"]:
        """What the head reads after the last tick."""
        return self.latents[-1].t()

    @property
    def predictions(self) -> Float[Tensor, "batch outputs ticks"]:
        """Logits at every tick.

        Raises:
            ValueError: If the model has no head.
        """
        remembered = self._read[-1] if self._read else None
        wanted = torch.is_grad_enabled() and self.latents.requires_grad
        if remembered is None or (wanted and not remembered.requires_grad):
            self._read.append(self.read())
        return self._read[-1]

    @property
    def certainties(self) -> Float[Tensor, "batch ticks"]:
        """1 minus the normalised entropy of the prediction at every tick, see [`certainty`][]."""
        return certainty(self.predictions, self.positions)

    @property
    def answered(self) -> Int64[Tensor, " batch"]:
        """The tick whose prediction is the answer, of each row: the surest one, or the last; counted from 0.

        Raises:
            ValueError: If the model has no head.
        """
        surest = self.certainties.argmax(dim=1)
        return surest if self.readout == "certain" else torch.full_like(surest, self.ticks - 1)

    def answer(self) -> Float[Tensor, "batch outputs"]:
        """Logits at the tick that answers, [`Thought.answered`][]: the paper's prediction.

        Raises:
            ValueError: If the model has no head.
        """
        return self.read(self.answered.unsqueeze(1)).squeeze(2)

    def read(
        self, ticks: Int64[Tensor, "batch chosen"] | None = None
    ) -> Float[Tensor, "batch outputs chosen"]:
        """Logits at chosen ticks of each row of the batch.

        Args:
            ticks: Counted from 0; None for all. Negative ones count from the end.

        Raises:
            ValueError: If the model has no head, or there is not one row of ticks for each of the batch.
        """
        if self._head is None:
            raise ValueError(
                "This model has no head (`outputs` is 0), so it makes no predictions. Read `latent`."
            )
        if ticks is None:
            return self._head(self.latents.transpose(1, 2)).permute(1, 2, 0)
        batch = self.latents.shape[-1]
        if ticks.ndim != 2 or len(ticks) != batch:
            raise ValueError(
                f"`ticks` must be (batch, chosen) for a batch of {batch}, but is {tuple(ticks.shape)}. "
                "Give one row of ticks for each row of the batch."
            )
        rows = torch.arange(batch, device=ticks.device).unsqueeze(1)
        chosen = self.latents.permute(2, 0, 1)[rows, ticks]
        return self._head(chosen).transpose(1, 2)


def _chosen(tensor: Tensor, rows: Tensor, batch: int) -> Tensor:
    """Rows of a tensor; what the whole batch shares stays."""
    return tensor if tensor.shape[-1] != batch else tensor[..., rows]


def split_positions(
    predictions: Float[Tensor, "batch outputs *ticks"], positions: int
) -> Float[Tensor, "batch positions classes *ticks"]:
    """Logits cut into the answers at each position.

    Args:
        predictions: Logits.
        positions: How many answers there are; divides the outputs.
    """
    return predictions.unflatten(1, (positions, -1))


def certainty(
    predictions: Float[Tensor, "batch outputs *ticks"], positions: int = 1, *, by: str = "mean"
) -> Float[Tensor, "batch *ticks"]:
    r"""How certain predictions are, between 0 (all classes alike) and 1.

    | by | formula |
    | --- | --- |
    | `mean` | $1 - \frac{1}{P} \sum_p H_p / \ln K$, the paper's |
    | `least` | $1 - \max_p H_p / \ln K$, of the least certain position |

    Args:
        predictions: Logits.
        positions: P, how many answers of K classes they are.
        by: One of [`CERTAINTIES`][].

    Raises:
        ValueError: If `by` is something else.

    Examples:
        >>> half = torch.tensor([[90.0, 0.0, 0.0, 0.0]])  # sure at one position of two
        >>> round(certainty(half, 2).item(), 3), round(certainty(half, 2, by="least").item(), 3)
        (0.5, 0.0)
    """
    if by not in CERTAINTIES:
        raise ValueError(f"Expected one of {', '.join(CERTAINTIES)} as `by`, found {by!r}.")
    logits = split_positions(predictions, positions)
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    logs = logits.log_softmax(2)
    entropies = -(logs.exp() * logs).sum(2) / math.log(logits.shape[2])
    return 1 - (entropies.mean(1) if by == "mean" else entropies.amax(1))
