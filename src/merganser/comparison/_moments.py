r"""Sums over the entries of one tensor of several models, from which everything that is told of it follows.

Let $p$ be a *pivot* (the base, or else the first model) and $d_i = \theta_i - p$. Kept are

| sum | formula |
| --- | --- |
| sums | $\sum_x p_x$, $\sum_x d_{i,x}$ |
| products | $\langle p, p\rangle$, $\langle p, d_i\rangle$, $\langle d_i, d_j\rangle$ |
| magnitudes | $\sum_x \lvert d_{i,x} d_{j,x}\rvert$ |
| both | entries where neither $d_i$ nor $d_j$ is zero |
| signs | $\sum_x \mathrm{sgn}\, d_{i,x}\, \mathrm{sgn}\, d_{j,x}$: entries of equal sign less those of opposite ones |

Differences come before products: of models that differ in the sixth digit, the distance is as exact as any other. All
in float64, over runs of `REDUCTION` elements first and then run after run: neither the size of the blocks nor the
number of threads changes a bit. Sums of several tensors add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from merganser.weights import REDUCTION, Aligned, Buffers, Execution

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Moments:
    """The sums, for a pivot and n models.

    Args:
        entries: Number of entries.
        sums: Sums of the entries, the pivot's first.
        products: Inner products, the pivot first.
        magnitudes: Sums of the magnitudes of products of differences.
        both: Entries where both differences are other than zero.
        signs: Sums of the products of signs.
    """

    entries: int
    sums: Float[np.ndarray, " rows"]
    products: Float[np.ndarray, "rows rows"]
    magnitudes: Float[np.ndarray, "models models"]
    both: Int[np.ndarray, "models models"]
    signs: Int[np.ndarray, "models models"]

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.entries + other.entries,
            self.sums + other.sums,
            self.products + other.products,
            self.magnitudes + other.magnitudes,
            self.both + other.both,
            self.signs + other.signs,
        )

    @property
    def differences(self) -> Float[np.ndarray, "rows rows"]:
        r"""$\langle d_i, d_j\rangle$; the pivot's own difference, the first, is zero."""
        gram = self.products.copy()
        gram[0], gram[:, 0] = 0.0, 0.0
        return gram

    @property
    def weights(self) -> Float[np.ndarray, "rows rows"]:
        r"""$\langle \theta_i, \theta_j\rangle$, of the pivot and the models themselves."""
        cross = np.concatenate([[0.0], self.products[0, 1:]])
        return self.products[0, 0] + cross[:, None] + cross[None, :] + self.differences

    @property
    def totals(self) -> Float[np.ndarray, " rows"]:
        """Sum of the entries of the pivot and of each model."""
        return self.sums[0] + np.concatenate([[0.0], self.sums[1:]])

    @property
    def distances(self) -> Float[np.ndarray, "rows rows"]:
        r"""$\lVert\theta_i - \theta_j\rVert$, of the pivot and the models."""
        return distances_of(self.differences)


def distances_of(gram: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Distances between vectors, from their inner products.

    Examples:
        >>> distances_of(np.array([[9.0, 0.0], [0.0, 16.0]])).tolist()
        [[0.0, 5.0], [5.0, 0.0]]
    """
    squares = np.diag(gram)
    return np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * gram, 0.0))


def cosines_of(gram: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Cosines between vectors, from their inner products; NaN beside a vector of length zero.

    Examples:
        >>> cosines_of(np.array([[4.0, 3.0], [3.0, 9.0]])).tolist()
        [[1.0, 0.5], [0.5, 1.0]]
    """
    lengths = np.sqrt(np.diag(gram))
    product = lengths[:, None] * lengths[None, :]
    known = product > 0
    found = np.where(known, gram / np.where(known, product, 1.0), np.nan)
    np.fill_diagonal(found, np.where(lengths > 0, 1.0, np.nan))
    return np.clip(found, -1.0, 1.0)


def moments(
    aligned: Aligned,
    execution: Execution,
    buffers: Buffers,
    *,
    compares_signs: bool = True,
    also: Callable[[Float[torch.Tensor, "rows elements"]], None] | None = None,
) -> Moments:
    """The sums of one tensor.

    Args:
        aligned: The tensor: of the pivot, then of the models.
        execution: How to walk.
        buffers: Where to.
        compares_signs: Whether magnitudes and signs are summed too; without, their sums are zero.
        also: Called with every block of differences, in the same pass.
    """
    models = len(aligned.sources) - 1
    square = (models, models)
    sums, products = np.zeros(models + 1), np.zeros((models + 1, models + 1))
    magnitudes, both, signs = np.zeros(square), np.zeros(square, np.int64), np.zeros(square, np.int64)
    for rows in differences(aligned, execution, buffers):
        if also is not None:
            also(rows)
        if compares_signs:
            marks = rows[1:].sign()
            signs += coincidences(marks)
            both += coincidences(marks.abs_())
        for run in _runs(rows):
            sums = _added(sums, run.sum(dim=2))
            products = _added(products, _gram(run))
            if compares_signs:
                magnitudes = _added(magnitudes, _gram(run[:, 1:].abs()))
    return Moments(aligned.numel, sums, products, magnitudes, both, signs)


def coincidences(marks: Float[torch.Tensor, "rows elements"]) -> Int[np.ndarray, "rows rows"]:
    """Inner products of rows of -1, 0 and 1, exact: over runs this short, float32 holds every count.

    Args:
        marks: The rows.
    """
    import torch

    runs = _runs(marks.float())
    found = [_gram(run).sum(dim=0, dtype=torch.float64).cpu().numpy() for run in runs]
    return np.sum(found, axis=0).astype(np.int64)


def differences(
    aligned: Aligned, execution: Execution, buffers: Buffers
) -> Iterator[Float[torch.Tensor, "rows elements"]]:
    """Blocks of a tensor in float64: the pivot, then each model's difference from it."""
    for block in aligned.blocks(execution, buffers):
        rows = block.values.double()
        rows[1:] -= rows[:1]
        yield rows


def _runs(rows: Float[torch.Tensor, "rows elements"]) -> Iterator[Float[torch.Tensor, "runs rows length"]]:
    """A block cut into runs of `REDUCTION` elements, and what is left as a run of its own."""
    whole = rows.shape[1] // REDUCTION * REDUCTION
    if whole:
        yield rows[:, :whole].unflatten(1, (-1, REDUCTION)).transpose(0, 1)
    if whole < rows.shape[1]:
        yield rows[:, whole:].unsqueeze(0)


def _gram(runs: Float[torch.Tensor, "runs rows length"]) -> Float[torch.Tensor, "runs rows rows"]:
    return runs @ runs.mT


def _added(total: np.ndarray, runs: torch.Tensor) -> np.ndarray:
    """A total and what runs add to it, one run after the other."""
    return np.add.accumulate(np.concatenate([total[None], runs.cpu().numpy()]), axis=0)[-1]
