"""What a thought machine can be trained on: samples that follow from a seed and a step, so that it can go on."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from jaxtyping import Float, Int
from torch import Tensor

from merganser.thinking._config import CTMConfig

VALIDATION, TEST = 1, 2
"""What held-out samples are drawn for; part of their key, where training has 0."""


class Samples(NamedTuple):
    """Inputs and the right answers.

    Attributes:
        inputs: As the model takes them.
        targets: The right class of each position, from 0.
    """

    inputs: Float[Tensor, "batch ..."]
    targets: Int[Tensor, "batch positions"]


class ThinkingTask(Protocol):
    """Something to train a thought machine on; a frozen dataclass, whose fields a training's folder notes.

    All samples follow from the fields and from what the methods are given.
    """

    @property
    def name(self) -> str:
        """Which kind it is; a training of one of [`TASKS`][] can be opened again."""
        ...

    @property
    def positions(self) -> int:
        """Answers to each sample."""
        ...

    @property
    def classes(self) -> int:
        """Classes of each answer."""
        ...

    @property
    def look_ahead(self) -> int | None:
        """How far training looks beyond what is right so far; see [`thought_loss`][merganser.thinking.thought_loss]."""
        ...

    def config(self, **changes: Any) -> CTMConfig:
        """A small model for it, with some fields changed."""
        ...

    def batch(self, size: int, *, seed: int, step: int) -> Samples:
        """What is trained on at one step."""
        ...

    def validation(self) -> Samples:
        """What is looked at meanwhile."""
        ...

    def test(self) -> Samples:
        """What is looked at once, at the end."""
        ...
