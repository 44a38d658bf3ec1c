"""From what a layer puts out, a vector for each position, to rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from merganser.comparison._view import View

if TYPE_CHECKING:
    from torch import Tensor


def reduced(
    output: Float[Tensor, "batch *positions d"],
    mask: Bool[Tensor, "batch positions"] | None,
    view: View,
    first: int,
) -> Float[Tensor, "rows d"]:
    """Rows of features of one layer.

    Args:
        output: What the layer put out; of two axes it is left as it is.
        mask: Which positions count; None for all.
        view: What becomes of positions.
        first: Number of the first sample in the data.

    Raises:
        ValueError: If the output has another number of axes, or positions that the mask does not know.
    """
    import torch

    if output.ndim == 2:
        return output
    if output.ndim != 3 or (mask is not None and mask.shape != output.shape[:2]):
        raise ValueError(
            f"Expected outputs with the axes (batch, d) or (batch, positions, d), found the shape {tuple(output.shape)}"
            + (f" with a mask of {tuple(mask.shape)}." if mask is not None else ".")
            + " Choose a layer before or after it."
        )
    counts = mask if mask is not None else output.new_ones(output.shape[:2], dtype=torch.bool)
    if view.reduce == "all":
        return output[counts]
    if view.reduce == "sampled":
        return output[_sampled(counts, view, first)]
    wide = output if output.dtype == torch.float64 else output.float()
    if view.reduce == "mean":
        return (wide * counts[..., None]).sum(dim=1) / counts.sum(dim=1, keepdim=True)
    places = torch.arange(counts.shape[1], device=counts.device)
    last = torch.where(counts, places, -1).amax(dim=1)
    return wide[torch.arange(len(wide), device=wide.device), last]


def _sampled(
    counts: Bool[Tensor, "batch positions"], view: View, first: int
) -> Bool[Tensor, "batch positions"]:
    """Some of the positions that count, keyed by seed and sample: the same for every model."""
    import torch

    chosen = torch.zeros_like(counts)
    for i, row in enumerate(counts):
        [places] = torch.nonzero(row, as_tuple=True)
        generator = np.random.default_rng([view.seed, first + i])
        drawn = generator.permutation(len(places))[: view.sampled]
        chosen[i, places[torch.from_numpy(drawn).to(places.device)]] = True
    return chosen
