"""Scales of experts as one vector: their logarithms, and which of them change together."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int

from merganser._errors import ConfigError
from merganser.weights import Checkpoint, flat_read


def log_scales(expert: Checkpoint) -> Float32[np.ndarray, " directions"]:
    r"""$\log e$ of all directions, in flat order.

    Raises:
        ConfigError: If a scale is not positive.
    """
    scales = flat_read(expert)
    if not (scales > 0).all():
        raise ConfigError(
            f"`kind: dense` searches logarithms of scales, but {expert.source} has the scale {scales.min():g}. Search "
            "combinations or a recipe, which take any scales."
        )
    return np.log(scales).astype(np.float32)


def pools_of(checkpoint: Checkpoint, bands: int | None) -> Int[np.ndarray, " directions"] | None:
    """For each direction the number of its band: neighbours of one matrix, bands of equal width within one.

    Args:
        checkpoint: Scales.
        bands: Bands of each matrix, at most; None for no bands.
    """
    if bands is None:
        return None
    found, count = [], 0
    for name in checkpoint.layout.names:
        size = checkpoint.spec(name).numel
        found.append(count + np.arange(size) * min(bands, size) // size)
        count += min(bands, size)
    return np.concatenate(found)
