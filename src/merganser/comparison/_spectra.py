r"""Singular values of task vectors, matrix by matrix, and which directions two of them share.

With $\tau_i = \theta_i - \theta_0 = U_i\,\mathrm{diag}(\sigma_i)\,V_i^\top$ for one matrix, in descending order:

| figure | formula | between |
| --- | --- | --- |
| stable rank | $\lVert\tau_i\rVert_F^2 / \sigma_{i,1}^2$ | 1 and the smaller side |
| cosine of spectra | $\langle\sigma_i, \sigma_j\rangle / \lVert\sigma_i\rVert\,\lVert\sigma_j\rVert$ | 0 and 1 |
| shared outputs | $\lVert U_{i,k}^\top U_{j,k}\rVert_F^2 / k$ | 0 and 1; by chance $k$ / rows |
| shared inputs | $\lVert V_{i,k}^\top V_{j,k}\rVert_F^2 / k$ | 0 and 1; by chance $k$ / columns |

Of $U$ and $V$ the first $k$ columns are taken, at most a quarter of the smaller side: of all, all would be shared.
Rows are outputs where layers are stored (out, in), as in most models. Kernels are flattened to (out, the rest).
Singular values are roots of the eigenvalues of the Gram matrix of the smaller side, in float64: those below $10^{-8}$
of the largest are noise. One matrix of all models is in memory at a time.

References:
    Gargiulo et al., *Task Singular Vectors*, CVPR 2025, https://arxiv.org/abs/2412.00081 (interference of directions).
    Rudelson, Vershynin, *Sampling from large matrices*, JACM 2007 (stable rank).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from merganser.comparison._geometry import Geometry, plain
from merganser.comparison._moments import cosines_of, differences
from merganser.comparison._tick import Tick, Watch
from merganser.merging import default_workers
from merganser.weights import Aligned, Buffers, Checkpoint, Execution, single_threaded

TOP = 8
"""Directions that are compared."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Of one matrix, the task vectors of all models. NaN where one is zero.

    Args:
        values: Singular values, in descending order.
        stable_ranks: Stable rank of each.
        cosines: Between every two spectra.
        outputs: Share of the leading left directions that every two have in common.
        inputs: The same of the right directions.
        top: How many directions that are.
    """

    values: Float[np.ndarray, "models directions"]
    stable_ranks: Float[np.ndarray, " models"]
    cosines: Float[np.ndarray, "models models"]
    outputs: Float[np.ndarray, "models models"]
    inputs: Float[np.ndarray, "models models"]
    top: int


def spectra(
    models: Sequence[Checkpoint],
    base: Checkpoint,
    found: Geometry,
    *,
    top: int = TOP,
    execution: Execution | None = None,
    watch: Watch | None = None,
) -> Mapping[str, Spectrum]:
    """Decompose the task vectors of all matrices within blocks.

    Args:
        models: The models, as they were measured.
        base: Their base.
        found: What was measured: says which tensors all of them have.
        top: How many leading directions to compare, at most.
        execution: How; by default with one worker for each processor.
        watch: Told about matrices that were decomposed.

    Returns:
        By tensor, in flat order.

    Raises:
        ValueError: If no direction is to be compared.
    """
    if top < 1:
        raise ValueError(f"Expected at least one direction to compare, but found {top}.")
    blocks = {name for layer in base.layers if layer.kind == "block" for name in layer.tensors}
    names = [
        name for name, shape in found.shapes.items() if name in blocks and min(shape) > 1 and len(shape) > 1
    ]
    execution = execution or Execution(default_workers())
    buffers = Buffers()

    def spectrum(name: str) -> Spectrum:
        aligned = Aligned(tuple((row, name) for row in (base, *models)), in_one=True)
        return _spectrum(aligned, top, execution, buffers)

    decomposed: dict[str, Spectrum] = {}
    with single_threaded():
        for name, each in zip(names, execution.map(spectrum, names), strict=True):
            decomposed[name] = each
            if watch is not None:
                watch(Tick("decomposing task vectors", len(decomposed), len(names), "matrices"))
    return decomposed


@dataclass(frozen=True, eq=False)
class LayerSpectra:
    """Means over the matrices of one layer; those in which a task vector is zero do not count for it.

    Args:
        matrices: How many there are.
        stable_rank: Mean stable rank of each task vector.
        cosine: Mean cosine of every two spectra.
        outputs: Mean share of the leading left directions that every two have in common.
        inputs: The same of the right directions.
    """

    matrices: int
    stable_rank: Float[np.ndarray, " models"]
    cosine: Float[np.ndarray, "models models"]
    outputs: Float[np.ndarray, "models models"]
    inputs: Float[np.ndarray, "models models"]

    @classmethod
    def of(cls, spectra: Sequence[Spectrum]) -> LayerSpectra:
        """The means of some spectra."""
        columns = (
            [getattr(each, name) for each in spectra]
            for name in ("stable_ranks", "cosines", "outputs", "inputs")
        )
        return cls(len(spectra), *(_mean(np.stack(column)) for column in columns))

    def to_json(self) -> dict[str, Any]:
        """As plain data; None where a number is undefined."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}


def spectra_by_layer(found: Mapping[str, Spectrum], places: Geometry) -> Mapping[str, LayerSpectra]:
    """Means over the matrices of every layer.

    Args:
        found: The spectra, by tensor.
        places: Says in which layer a tensor is.
    """
    layers: dict[str, list[Spectrum]] = defaultdict(list)
    for name, spectrum in found.items():
        layers[places.places[name][0]].append(spectrum)
    return {layer: LayerSpectra.of(each) for layer, each in layers.items()}


class _Decomposed(NamedTuple):
    """One task vector, or nothing where it is zero."""

    values: Any
    left: Any
    right: Any


def _spectrum(aligned: Aligned, top: int, execution: Execution, buffers: Buffers) -> Spectrum:
    [rows] = differences(aligned, execution, buffers)
    smaller = min(aligned.shape[0], aligned.numel // aligned.shape[0])
    top = min(top, max(1, smaller // 4))
    parts = [_decomposed(row.reshape(aligned.shape[0], -1), top) for row in rows[1:]]
    values = np.stack([part.values.cpu().numpy() for part in parts])
    first = values[:, 0]
    known = np.where(first > 0, first, np.nan)
    return Spectrum(
        values,
        np.sum((values / known[:, None]) ** 2, axis=1),
        cosines_of(values @ values.T),
        _shared([part.left for part in parts], known, top),
        _shared([part.right for part in parts], known, top),
        top,
    )


def _decomposed(matrix: Any, top: int) -> _Decomposed:
    """Singular values, and the leading directions of both sides."""
    import torch

    if matrix.shape[0] < matrix.shape[1]:
        values, left, right = _decomposed(matrix.T, top)
        return _Decomposed(values, right, left)
    squares, directions = torch.linalg.eigh(matrix.T @ matrix)
    values = squares.clamp_min(0).sqrt().flip(0)
    right = directions.flip(1)[:, :top]
    # normalised anew: where a value is small, division by it would amplify the error
    left, _ = torch.linalg.qr(matrix @ right)
    return _Decomposed(values, left, right)


def _shared(
    bases: Sequence[Any], known: Float[np.ndarray, " models"], top: int
) -> Float[np.ndarray, "models models"]:
    overlap = [[(a.T @ b).square().sum().item() / top for b in bases] for a in bases]
    return np.where(np.isnan(known[:, None] + known[None, :]), np.nan, overlap)


def _mean(values: Float[np.ndarray, "matrices *shape"]) -> Float[np.ndarray, "*shape"]:
    """The mean of what is known; NaN where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)
