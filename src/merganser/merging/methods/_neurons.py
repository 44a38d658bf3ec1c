r"""Neurons: rows of a matrix, each a vector that the weights of the base split in two.

For one neuron with base weights $w \in \mathbb{R}^n$ and task vectors $\tau_t$, $t = 1 \dots T$:

| quantity | formula | function |
| --- | --- | --- |
| coefficient along $w$ | $a_t = \langle \tau_t, w\rangle / \lVert w\rVert^2$ | [`along_base`][] |
| what is orthogonal to $w$ | $\tau_t^\perp = \tau_t - a_t w$ | |
| its Gram matrix | $G = (\langle \tau_s, \tau_t\rangle) - \lVert w\rVert^2\, a a^\top$ | [`orthogonal_gram`][] |
| weights of the task vectors | $\alpha = U\, \mathrm{em}(U)$ with $G = U \Lambda U^\top$ | [`orthogonal_weights`][] |

Here $\mathrm{em}$ is the elected mean of each column ([`elected_mean`][]). The singular value decomposition of the
stacked $\tau_t^\perp$, with singular values $\sqrt\Lambda$ and coordinates $C = U \sqrt\Lambda$ along the directions
$V = P^\top U / \sqrt\Lambda$, never has to be taken: the merged vector is
$V\, \mathrm{em}(C) = P^\top U\, \mathrm{em}(U)$, because the mean of a column scales with it. Directions without length
need no care for the same reason. All neurons of a part are computed at once, in float64: signs of coordinates near zero
decide, and products in float32 would make them up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from merganser.merging.methods._method import Part

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1e-9
"""Coordinates, and sums of them, below this part of the direction's largest are what rounding leaves of zero."""

_SLAB = 1 << 18
"""Numbers that are made float64 at a time: few enough for the cache."""


def row_products(part: Part) -> Float[np.ndarray, "rows vectors vectors"]:
    """Inner products of the task vectors and, last, the base, for every row.

    Raises:
        ValueError: If one of them is not finite.
    """
    import torch

    assert part.base is not None
    vectors = [vector.view(-1, part.columns) for vector in (*part.values, part.base)]
    rows, count = len(vectors[0]), len(vectors)
    slab = max(1, _SLAB // (part.columns * count))
    doubled = part.base.new_empty((count, min(slab, rows), part.columns), dtype=torch.float64)
    products = np.empty((rows, count, count))
    for begin in range(0, rows, slab):
        here = slice(begin, min(begin + slab, rows))
        held = doubled[:, : here.stop - begin]
        for double, vector in zip(held, vectors, strict=True):
            double.copy_(vector[here])
        for i in range(count):
            products[here, i, i:] = products[here, i:, i] = _dots(held[i], held[i:]).T
    if not np.isfinite(products).all():
        raise ValueError("A model holds NaN or infinite numbers, or some too large to be squared.")
    return products


def _dots(
    a: Float[Tensor, "rows columns"], others: Float[Tensor, "vectors rows columns"]
) -> Float[np.ndarray, "vectors rows"]:
    """Inner products with each of several, row by row."""
    if a.device.type != "cpu":
        return (a * others).sum(dim=2).cpu().numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        return np.vecdot(a.numpy(), others.numpy())


def along_base(products: Float[np.ndarray, "rows vectors vectors"]) -> Float[np.ndarray, "rows models"]:
    """Coefficients of the task vectors along the base's row; 0 where that is zero."""
    length = products[:, -1, -1:]
    return products[:, :-1, -1] / np.where(length > 0, length, 1.0)


def orthogonal_gram(
    products: Float[np.ndarray, "rows vectors vectors"],
) -> Float[np.ndarray, "rows models models"]:
    """Inner products of what is orthogonal to the base's row."""
    a = along_base(products)
    return products[:, :-1, :-1] - products[:, -1:, -1:] * a[:, :, None] * a[:, None, :]


def orthogonal_weights(
    gram: Float[np.ndarray, "rows models models"], *, least: float = 0.0
) -> Float[np.ndarray, "rows models"]:
    """Weights with which the task vectors add up to the elected means along their principal directions.

    Args:
        gram: Inner products.
        least: Coordinates up to this part of a direction's largest take no part.

    Examples:
        Copies of one vector are averaged:

        >>> orthogonal_weights(np.ones((1, 2, 2))).round(6)
        array([[0.5, 0.5]])
    """
    _, u = np.linalg.eigh(gram)
    means = elected_mean(u, least=least)
    return np.einsum("rtj,rj->rt", u, means)


def elected_mean(
    coordinates: Float[np.ndarray, "rows models directions"], *, least: float = 0.0
) -> Float[np.ndarray, "rows directions"]:
    """Mean over the models that agree with the sign of the sum; 0 where the sum is.

    Args:
        coordinates: Along each direction one coordinate for each model.
        least: Coordinates up to this part of the direction's largest take no part.

    Examples:
        >>> elected_mean(np.array([[[3.0], [1.0], [-2.0]]]))
        array([[2.]])
    """
    magnitude = np.abs(coordinates)
    largest = magnitude.max(axis=1, keepdims=True)
    counted = coordinates * (magnitude > max(least, ROUNDING) * largest)
    total = counted.sum(axis=1, keepdims=True)
    sign = np.sign(total) * (np.abs(total) > ROUNDING * largest)
    agreeing = np.maximum(counted * sign, 0.0)
    count = np.count_nonzero(agreeing, axis=1)
    return sign[:, 0] * agreeing.sum(axis=1) / np.maximum(count, 1)


def add_rows(part: Part, coefficients: Float[np.ndarray, "rows vectors"]) -> Float[Tensor, " elements"]:
    """Sum of task vectors and, last, the base, with coefficients for each row."""
    import torch

    assert part.base is not None
    factors = torch.from_numpy(np.ascontiguousarray(coefficients.T)).to(part.values)[..., None]
    total = torch.zeros_like(part.base)
    rows = total.view(-1, part.columns)
    for vector, factor in zip([*part.values, part.base], factors, strict=True):
        rows.addcmul_(vector.view(-1, part.columns), factor)
    return total
