"""What is seen of a model that thinks, as values that a page, a film or a test can read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from merganser.thinking.training._train import ENOUGH


@dataclass(frozen=True, slots=True)
class WatchedThought:
    """One sample, and what happened while a model thought about it. Ticks count from 0.

    Attributes:
        number: Which of the samples it was.
        input: As the model gets it.
        targets: The right classes.
        chances: Probability of each class.
        certainties: In [0, 1].
        losses: Cross-entropy over all positions, in nats.
        attention: Shares of tokens by head; None where nothing was attended to.
        activations: Post-activations of the neurons that are watched; None if the model shows none.
        together: Synchronisation of these neurons; None if the model shows none.
        readout: Where the model answers, as [`Thought`][merganser.thinking.Thought] has it.
    """

    number: int
    input: Float[np.ndarray, "..."]
    targets: Int[np.ndarray, " positions"]
    chances: Float[np.ndarray, "ticks positions classes"]
    certainties: Float[np.ndarray, " ticks"]
    losses: Float[np.ndarray, " ticks"]
    attention: Float[np.ndarray, "ticks heads tokens"] | None = None
    activations: Float[np.ndarray, "ticks neurons"] | None = None
    together: Float[np.ndarray, "ticks neurons neurons"] | None = None
    readout: Literal["certain", "instant"] = "certain"

    @property
    def ticks(self) -> int:
        """How long it was."""
        return len(self.certainties)

    @property
    def answers(self) -> Int[np.ndarray, "ticks positions"]:
        """The most probable class of each position."""
        return self.chances.argmax(axis=2)

    @property
    def right(self) -> Bool[np.ndarray, "ticks positions"]:
        """Which positions are answered right."""
        return self.answers == self.targets

    @property
    def surest(self) -> int:
        """The most certain tick."""
        return int(self.certainties.argmax())

    @property
    def answered(self) -> int:
        """The tick whose answer counts: the most certain one, or of an LSTM the last."""
        return self.surest if self.readout == "certain" else self.ticks - 1

    @property
    def best(self) -> int:
        """The tick of the smallest loss."""
        return int(self.losses.argmin())

    def halted(self, threshold: float = ENOUGH) -> int | None:
        """The first tick that is certain enough; None if none is.

        Args:
            threshold: The certainty that is enough, in [0, 1].
        """
        enough = self.certainties >= threshold
        return int(enough.argmax()) if enough.any() else None


@dataclass(frozen=True, slots=True)
class Watched:
    """Thoughts of one model about samples of one task.

    Attributes:
        kind: How inputs are drawn: `maze`, `signs`, `picture`, or `none`.
        classes: Names of the classes.
        thoughts: The samples.
        grid: Rows and columns in which tokens lie, if they are a map of the picture.
        neurons: Numbers of the neurons that are watched, alike ones beside each other.
        others: Activations of the same neurons for other samples: what they are compared with.
    """

    kind: str
    classes: tuple[str, ...]
    thoughts: tuple[WatchedThought, ...]
    grid: tuple[int, int] | None = None
    neurons: tuple[int, ...] = ()
    others: Float[np.ndarray, "samples ticks neurons"] | None = None
