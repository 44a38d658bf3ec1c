"""Training the specialists of the demonstrations: full-batch Adam on a perceptron, seconds on one core."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int

from merganser.models._perceptron import perceptron_tensors


def train_perceptron(
    start: Float32[np.ndarray, " positions"],
    widths: tuple[int, ...],
    inputs: Float32[np.ndarray, "samples features"],
    labels: Int[np.ndarray, " samples"],
    *,
    steps: int = 10,
    learning_rate: float = 0.003,
) -> Float32[np.ndarray, " positions"]:
    """Flat parameters after `steps` full-batch Adam steps on the cross-entropy.

    The defaults are those of the paper's specialists: ten steps, which leaves them barely trained on purpose.

    Args:
        start: Where to begin, in the order of [`perceptron_tensors`][].
        widths: Inputs, hidden units, …, outputs.
        inputs: Training inputs.
        labels: Their classes.
        steps: Number of steps.
        learning_rate: Of Adam.
    """
    import torch
    from torch.nn import functional

    tensors = {n: torch.tensor(t, requires_grad=True) for n, t in perceptron_tensors(start, widths).items()}
    optimizer = torch.optim.Adam(tensors.values(), lr=learning_rate)
    x, y = torch.tensor(inputs), torch.tensor(labels, dtype=torch.long)
    for _ in range(steps):
        optimizer.zero_grad()
        hidden = x
        for i in range(len(widths) - 1):
            hidden = hidden @ tensors[f"layers.{i}.weight"] + tensors[f"layers.{i}.bias"]
            hidden = hidden if i == len(widths) - 2 else hidden.relu()
        functional.cross_entropy(hidden, y).backward()
        optimizer.step()
    return np.concatenate([t.detach().numpy().ravel() for t in tensors.values()])
