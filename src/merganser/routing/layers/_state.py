"""The settings and the state of a training of routers, as values; the state can be written and read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from merganser._errors import CheckpointError, RunError
from merganser.weights import open_checkpoint, save

Weights = Mapping[str, Float[np.ndarray, "..."]]
"""Numbers for each router, by its name."""

_PARTS = ("weights", "first", "second", "best")


@dataclass(frozen=True, slots=True)
class RouterTraining:
    """How routers are trained; the defaults of the first two rows are the paper's.

    Args:
        learning_rate: Of AdamW.
        weight_decay: Of AdamW; static shares do not decay.
        steps: Most steps.
        batch: Rows of a step.
        every: Steps between two looks at the validation rows.
        patience: Looks without an improvement after which it stops; None to take all steps.
        validation: Fraction of the rows that is held out, in (0, 1).
        seed: Of the split, and of the rows of each step.

    Raises:
        ValueError: If a number is out of its range.
    """

    learning_rate: float = 5e-3
    weight_decay: float = 0.1
    steps: int = 400
    batch: int = 8
    every: int = 20
    patience: int | None = 5
    validation: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        least = {
            "steps": self.steps,
            "batch": self.batch,
            "every": self.every,
            "patience": self.patience or 1,
        }
        if wrong := [name for name, value in least.items() if value < 1]:
            raise ValueError(f"Expected `{wrong[0]}` of at least 1, found {least[wrong[0]]}.")
        if not 0 < self.validation < 1:
            raise ValueError(f"Expected `validation` between 0 and 1, found {self.validation:g}.")
        if self.learning_rate <= 0 or self.weight_decay < 0:
            raise ValueError(
                "Expected a positive `learning_rate` and a `weight_decay` that is not negative, found "
                f"{self.learning_rate:g} and {self.weight_decay:g}."
            )


class Look(NamedTuple):
    """What was seen on the validation rows.

    Attributes:
        step: Steps taken before.
        training: Mean cross-entropy of the steps since the last look, in nats; NaN before the first step.
        validation: Mean cross-entropy, in nats.
    """

    step: int
    training: float
    validation: float


@dataclass(frozen=True, slots=True)
class RouterState:
    """Where a training is.

    Attributes:
        step: Steps taken.
        weights: Of the routers.
        first: First moments of the gradient.
        second: Second moments.
        best: The weights that were best on the validation rows.
        looks: What was seen there.
        losses: Cross-entropy of each step since the last look.
    """

    step: int
    weights: Weights
    first: Weights
    second: Weights
    best: Weights
    looks: tuple[Look, ...] = ()
    losses: tuple[float, ...] = ()

    @classmethod
    def start(cls, weights: Weights) -> RouterState:
        """Before the first step."""
        zeros = {name: np.zeros_like(value) for name, value in weights.items()}
        return cls(0, weights, zeros, zeros, weights)

    def looked(self, validation: float) -> RouterState:
        """After a look at the validation rows."""
        training = float(np.mean(self.losses)) if self.losses else float("nan")
        look = Look(self.step, training, validation)
        is_best = not self.looks or validation < min(seen.validation for seen in self.looks)
        best = self.weights if is_best else self.best
        return replace(self, best=best, looks=(*self.looks, look), losses=())

    @property
    def best_look(self) -> Look:
        """The look at which the best weights were seen.

        Raises:
            ValueError: If there was none yet.
        """
        return min(self.looks, key=lambda look: look.validation)

    def is_over(self, settings: RouterTraining) -> bool:
        """Whether all steps are taken, or validation has not improved for too long."""
        if self.step >= settings.steps:
            return True
        if settings.patience is None or not self.looks:
            return False
        return len(self.looks) - 1 - self.looks.index(self.best_look) >= settings.patience

    def save(self, path: str | Path, *, of: str) -> None:
        """Write it as a ``.safetensors`` file, atomically.

        Args:
            path: The file; replaced if it is there.
            of: A name for the training: what the state is no good for if it differs.

        Raises:
            OutputError: If it cannot be written.
        """
        tensors = {f"{part}/{name}": value for part in _PARTS for name, value in getattr(self, part).items()}
        facts = {"step": self.step, "looks": self.looks, "losses": self.losses, "of": of}
        save(tensors, path, metadata={"training": json.dumps(facts)}, overwrite=True)

    @classmethod
    def open(cls, path: str | Path, *, of: str) -> RouterState:
        """Read a state.

        Args:
            path: The file.
            of: What `save` was given.

        Raises:
            CheckpointError: If the file is damaged.
            RunError: If it is the state of another training.
        """
        file = open_checkpoint(Path(path))
        try:
            facts: dict[str, Any] = json.loads(file.metadata["training"])
            whose = str(facts["of"])
            parts: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
            for key in file:
                part, _, name = key.partition("/")
                parts[part][name] = file.read(key).numpy().copy()
            looks = tuple(Look(int(s), float(t), float(v)) for s, t, v in facts["looks"])
            found = cls(int(facts["step"]), **parts, looks=looks, losses=tuple(map(float, facts["losses"])))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} is no state of a training of routers: {error}.") from error
        if whose != of:
            raise RunError(
                f"{path} is the state of a training with other models, data or settings. Go on with those, or remove "
                "it to begin anew."
            )
        return found


def fingerprint_of(settings: RouterTraining, *parts: Any) -> str:
    """A name for a training: its settings but for the number of steps, and whatever else decides what it does."""
    import hashlib

    said = {name: value for name, value in asdict(settings).items() if name != "steps"}
    return hashlib.sha256(json.dumps([said, *parts]).encode()).hexdigest()
