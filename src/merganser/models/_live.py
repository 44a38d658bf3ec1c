"""A model that is alive: it takes inputs, and its parameters can be replaced child after child.

| kind | for | here |
| --- | --- | --- |
| [`Perceptron`][] | networks of plain layers, read off the checkpoint; numpy only, no copy per child | `_perceptron` |
| [`TorchModel`][] | any `torch.nn.Module` | `_torch` |
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32


@runtime_checkable
class LiveModel(Protocol):
    """What a task scores."""

    @property
    def size(self) -> int:
        """Number of parameters P."""
        ...

    def write(self, parameters: Float32[np.ndarray, " positions"]) -> None:
        """Become the model with these flat parameters; the array must not change while the model uses it."""
        ...

    def __call__(self, inputs: Float32[np.ndarray, "batch ..."]) -> Float[np.ndarray, "batch outputs"]:
        """Outputs (logits, for a classifier) for a batch of inputs."""
        ...
