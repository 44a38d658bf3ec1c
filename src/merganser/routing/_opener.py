"""Models brought to life as tasks ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from merganser.evaluation import Classification, Task
from merganser.merging import MergePlan
from merganser.models import Perceptron
from merganser.routing._load import load
from merganser.weights import Checkpoint, flat_read, open_checkpoint


class Opener:
    """Brings a model to life for a task, as `evaluate` asks for it; a language model is kept until the next one comes.

    Args:
        device: Where language models live, as torch names it.
        dtype: Element type of their parameters; by default their own.
        known: Checkpoints, and plans of merges of language models, by the names they are asked for; every other name
            is a reference.
    """

    def __init__(
        self,
        *,
        device: str = "cpu",
        dtype: str | None = None,
        known: Mapping[str, Checkpoint | MergePlan] | None = None,
    ) -> None:
        self._device, self._dtype = device, dtype
        self.known: dict[str, Checkpoint | MergePlan] = dict(known or {})
        self._name, self._model = "", None

    def __call__(self, name: str, task: Task) -> Any:
        """The model, ready for the task.

        Raises:
            CheckpointError: If it cannot be read, or is no model for the task.
        """
        model = self.known.get(name, name)
        if not isinstance(task, Classification):
            if self._name != name:
                self._model = None  # the last one goes before the next one comes
                self._model, self._name = load(model, dtype=self._dtype, device=self._device), name
            return self._model
        checkpoint = model if isinstance(model, Checkpoint) else open_checkpoint(name)
        perceptron = Perceptron.of(checkpoint, task.features)
        perceptron.write(flat_read(checkpoint, dtype=np.float32))
        return perceptron
