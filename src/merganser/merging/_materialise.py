r"""From a recipe to weights, in one pass over the seeds.

Each position is accumulated once from the seeds and rounded once: no rounding error builds up over
generations, however deep the ancestry. Sums run in float32 for half-precision and single-precision seeds
and in float64 for double-precision ones.

| form | for | here |
| --- | --- | --- |
| one flat vector | small models, written into a live network child after child | [`combine_flat`][] |
| a checkpoint in memory | everything that fits | [`materialise`][] |
| flat values with a donor's names | genomes that are vectors | [`checkpoint_of`][] |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from merganser.merging._combination import Combination
from merganser.weights import Checkpoint, check_aligned, flat_read


def combine_flat(
    combination: Combination,
    seeds: Float[np.ndarray, "seeds positions"],
    begin: int = 0,
    end: int | None = None,
) -> Float[np.ndarray, " positions"]:
    """Positions [begin, end) of a descendant, in the seeds' dtype.

    Args:
        combination: What to build.
        seeds: The seeds on exactly these positions.
        begin: First position.
        end: One past the last position; by default P.

    Examples:
        >>> half = Combination(("a", "b"), [0, 1, 3], [[1.0, 0.0], [0.5, 0.5]])
        >>> combine_flat(half, np.array([[2.0, 2.0, 2.0], [4.0, 4.0, 4.0]]))
        array([2., 3., 3.])
    """
    end = combination.size if end is None else end
    if seeds.shape != (len(combination.seeds), end - begin):
        raise ValueError(
            f"Positions [{begin}, {end}) of {len(combination.seeds)} seeds need an array of shape "
            f"{(len(combination.seeds), end - begin)}, but it has {seeds.shape}."
        )
    breaks = combination.breaks
    first = int(np.searchsorted(breaks, begin, side="right")) - 1
    last = int(np.searchsorted(breaks, end, side="left"))
    lengths = np.diff(np.clip(breaks[first : last + 1], begin, end))
    coefficients = combination.coefficients[first:last].astype(seeds.dtype)
    child = np.repeat(coefficients[:, 0], lengths) * seeds[0]
    for k in range(1, len(seeds)):
        child += np.repeat(coefficients[:, k], lengths) * seeds[k]
    return child


def materialise(combination: Combination, seeds: Sequence[Checkpoint]) -> Checkpoint:
    """The model a combination describes, in memory; dtypes, buffers and configuration are the first seed's.

    Args:
        combination: What to build.
        seeds: The seed checkpoints, in any order: they are known by their digests.

    Raises:
        ValueError: If a seed that the recipe names is missing, or they do not align.
    """
    checkpoints = _in_order(combination, seeds)
    layout = check_aligned(checkpoints)
    if layout.size != combination.size:
        raise ValueError(
            f"The recipe counts {combination.size} parameters, but the seeds have {layout.size}. "
            "Was it made for others?"
        )
    donor = checkpoints[0]
    tensors: dict[str, Any] = {name: donor.read(name) for name in donor.buffers}
    for name, span in layout.spans().items():
        dtype = np.float64 if donor.spec(name).dtype == "F64" else np.float32
        values = np.stack([flat_read(c, *span, dtype=dtype) for c in checkpoints])
        child = combine_flat(combination, values, *span)
        tensors[name] = stored_as(child.reshape(donor.spec(name).shape), donor, name)
    return Checkpoint.from_tensors(tensors, config=donor.config, copy=False)


def checkpoint_of(flat: Float[np.ndarray, " positions"], donor: Checkpoint) -> Checkpoint:
    """Flat parameters as a checkpoint; names, shapes, dtypes, buffers and configuration are the donor's.

    Raises:
        ValueError: If there are more or fewer parameters than the donor has.
    """
    tensors: dict[str, Any] = {name: donor.read(name) for name in donor.buffers}
    for name, values in donor.layout.unflatten(flat).items():
        tensors[name] = stored_as(values, donor, name)
    return Checkpoint.from_tensors(tensors, config=donor.config)


def stored_as(values: Float[np.ndarray, "*shape"], donor: Checkpoint, name: str) -> Any:
    """Values in the element type in which the donor stores this tensor, rounded once."""
    if donor.array(name).dtype == values.dtype and donor.spec(name).dtype in ("F32", "F64"):
        return values
    import torch

    return torch.tensor(values).to(donor.read(name).dtype)


def _in_order(combination: Combination, seeds: Sequence[Checkpoint]) -> tuple[Checkpoint, ...]:
    by_digest = {c.digest: c for c in seeds}
    missing = [d for d in combination.seeds if d not in by_digest]
    if missing:
        raise ValueError(
            f"The recipe needs the seed with digest {missing[0]}, but the given ones have "
            f"{', '.join(sorted(by_digest)) or 'none'}. A recipe is only valid for the very files it was made from."
        )
    return tuple(by_digest[d] for d in combination.seeds)
