"""What a model answers to many samples at every tick, and how good that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from merganser.models import evaluating
from merganser.thinking._readout import readout_named
from merganser.thinking._thinker import Thinker
from merganser.thinking._thought import certainty, split_positions


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers to samples whose right classes are known.

    Attributes:
        logits: At every position and tick.
        certainties: How sure the model was, in [0, 1].
        targets: The right classes, from 0.
        readout: How the model makes one answer of many ticks, unless a call says otherwise; one of [`READOUTS`][].
    """

    logits: Float[Tensor, "samples positions classes ticks"]
    certainties: Float[Tensor, "samples ticks"]
    targets: Int[Tensor, "samples positions"]
    readout: str = "certain"

    def probabilities(self, readout: str | None = None) -> Float[Tensor, "samples positions classes ticks"]:
        """Of each class, after each tick.

        Args:
            readout: One of [`READOUTS`][]; None for the model's own.

        Raises:
            ValueError: If there is no such readout.
        """
        return readout_named(readout or self.readout)(self.logits, self.certainties)

    def right(self, readout: str | None = None) -> Bool[Tensor, "samples positions ticks"]:
        """Whether each position is answered right, after each tick.

        Raises:
            ValueError: If there is no such readout.
        """
        return self.probabilities(readout).argmax(dim=2) == self.targets[:, :, None]

    def certainties_by(self, by: str) -> Float[Tensor, "samples ticks"]:
        """How sure the model was, in [0, 1], on the mean over positions or at the least certain one.

        Args:
            by: One of [`CERTAINTIES`][].

        Raises:
            ValueError: If it is something else.
        """
        return certainty(self.logits.flatten(1, 2), self.logits.shape[1], by=by)

    def scores(self, readout: str | None = None, *, whole: bool = False) -> Float[Tensor, "samples ticks"]:
        """Share of positions that are right, after each tick, in [0, 1].

        Args:
            readout: One of [`READOUTS`][]; None for the model's own.
            whole: Count a sample only if all of its positions are right.

        Raises:
            ValueError: If there is no such readout.
        """
        right = self.right(readout)
        return right.all(dim=1).float() if whole else right.float().mean(dim=1)


def answers_of(
    model: Thinker[Any],
    inputs: Float[Tensor, "samples ..."],
    targets: Int[Tensor, "samples positions"],
    *,
    ticks: int | None = None,
    batch: int = 256,
) -> Answers:
    """Let a model think about samples, for all ticks.

    Args:
        model: The model, which is left in the mode it was in.
        inputs: What it takes.
        targets: The right classes, from 0.
        ticks: How long it thinks; None for what its configuration says.
        batch: Samples at once.
    """
    logits, certainties = [], []
    with evaluating(model), torch.no_grad():
        for part in inputs.split(batch):
            thought = model(part, ticks=ticks)
            logits.append(split_positions(thought.predictions, thought.positions))
            certainties.append(thought.certainties)
    return Answers(torch.cat(logits), torch.cat(certainties), targets, model.readout)
