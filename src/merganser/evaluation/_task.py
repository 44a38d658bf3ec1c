"""What a task is: samples, and one number in [0, 1] for a model on each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from merganser.evaluation._samples import Samples
from merganser.models import LiveModel
from merganser.weights import Checkpoint


@runtime_checkable
class Task(Protocol):
    """Scores a live model on chosen samples."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def digest(self) -> str:
        """Hash over data, scorer and settings: equal digests give equal scores."""
        ...

    @property
    def samples(self) -> Samples:
        """The samples."""
        ...

    @property
    def binary(self) -> bool:
        """Whether every score is 0 or 1."""
        ...

    def score(self, model: Any, ids: np.ndarray) -> Float[np.ndarray, " ids"]:
        """Score of the model on the samples at these positions, each in [0, 1]; 1 is best.

        Raises:
            Exception: Whatever goes wrong costs the candidate, not the run.
        """
        ...


@runtime_checkable
class OwnModels(Protocol):
    """A task that knows what kind of model it asks; others ask language models, or networks of plain layers."""

    def live(self, checkpoint: Checkpoint) -> LiveModel:
        """The model that becomes child after child.

        Args:
            checkpoint: One of the models that it will become.

        Raises:
            CheckpointError: If it is a model of another kind.
        """
        ...


@dataclass(frozen=True, slots=True)
class Splits:
    """One task's data, divided for honest evidence.

    Attributes:
        search: What the search sees.
        validation: What the winner is chosen on; None in the paper's protocol, which chooses on search scores.
        test: What is scored once, at the end, for the winner and every parent; None if there is none.
        dropped: Samples left out because the same content is in a later split.
        notes: What somebody who uses the data should know.
        weight: How much the task counts among others, unless said otherwise.
    """

    search: Task
    validation: Task | None = None
    test: Task | None = None
    dropped: int = 0
    notes: tuple[str, ...] = ()
    weight: float = 1.0
