r"""From the features of one batch to what is compared: how its rows relate to one another.

| measure | vector of a site | product of two sites' vectors |
| --- | --- | --- |
| `cka` | $\tilde U$: the Gram matrix without its diagonal, U-centred | $n(n-3)\,\mathrm{HSIC}_1$ |
| `cknna` | Gram matrix at each row's $k$ nearest neighbours, 0 elsewhere | Align, over neighbours in common |
| `mutual_knn` | 1 at each row's $k$ nearest neighbours, 0 elsewhere | number of neighbours in common |

Each measure is a product of two vectors over the root of their own products, so one matrix product a batch gives it for
all pairs of sites.

With $K$ the Gram matrix of $n$ rows, diagonal 0, $r_i = \sum_j K_{ij}$ and $s = \sum_i r_i$,

$$\tilde U_{ij} = K_{ij} - \frac{r_i + r_j}{n-2} + \frac{s}{(n-1)(n-2)}, \qquad \tilde U_{ii} = 0,$$

and $\langle \tilde U_K, \tilde U_L \rangle / (n(n-3))$ is the unbiased $\mathrm{HSIC}_1$ (Song et al., eq. 5), in the
form of Székely and Rizzo. What is added to all rows of the features changes nothing in it; still the mean is subtracted
first, since products of numbers far from 0 lose their digits.

Differences from Huh et al.: neighbours are those of greatest cosine after the batch's mean is subtracted, so that a
common offset does not decide; inner products in CKNNA are centred in the same way.

References:
    Song et al., *Feature Selection via Dependence Maximization*, JMLR 13, 2012.
    Székely, Rizzo, *Partial Distance Correlation with Methods for Dissimilarities*, Annals of Statistics 42, 2014.
    Kornblith et al., *Similarity of Neural Network Representations Revisited*, ICML 2019,
    https://arxiv.org/abs/1905.00414
    Huh et al., *The Platonic Representation Hypothesis*, ICML 2024, https://arxiv.org/abs/2405.07987
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

_SAFE = (1e-12, 1e12)
"""Mean square norms of rows whose fourth powers float32 can sum over a whole Gram matrix."""

_LOOKED_AT = 32
"""Rows of a batch, or up to twice as many, of which the energy of each dimension is taken."""


def centre(features: Float[np.ndarray, "rows d"], out: Float[np.ndarray, "rows d"]) -> None:
    """Subtract the mean of the rows.

    The difference of two floating numbers is rounded once, relative to itself, and any vector near the mean would do:
    so float32 is good enough, however large an offset all rows have.
    """
    count = len(features)
    np.subtract(features, np.full(count, 1 / count, features.dtype) @ features, out=out)


def energy(rows: Float[np.ndarray, "rows d"]) -> Float[np.ndarray, " d"]:
    """Sum of squares of each dimension of centred features, of some of the rows."""
    some = np.square(rows[:: max(1, len(rows) // _LOOKED_AT)])
    return (np.ones(len(some), some.dtype) @ some).astype(np.float64)


def mean_squares(kernels: Float[np.ndarray, "sites rows rows"]) -> Float[np.ndarray, " sites"]:
    """Mean square norms of the rows whose Gram matrices these are."""
    n = kernels.shape[1]
    return kernels.reshape(len(kernels), -1)[:, :: n + 1].mean(axis=1, dtype=np.float64)


def are_safe(squares: Float[np.ndarray, " sites"]) -> bool:
    """Whether products of Gram matrices of such rows neither overflow nor vanish in float32."""
    return bool(((squares == 0) | ((squares > _SAFE[0]) & (squares < _SAFE[1]))).all())


def u_centre(kernels: Float[np.ndarray, "sites rows rows"]) -> None:
    """Turn Gram matrices of at least four rows into their U-centred form, in place."""
    n = kernels.shape[1]
    diagonals = kernels.reshape(len(kernels), -1)[:, :: n + 1]
    diagonals[:] = 0
    sums = np.ones(n, kernels.dtype) @ kernels
    shifts = sums / (n - 2) - sums.sum(axis=1, keepdims=True) / (2 * (n - 1) * (n - 2))
    kernels -= shifts[:, None, :]
    kernels -= shifts[:, :, None]
    diagonals[:] = 0


def nearest(kernel: Float[np.ndarray, "rows rows"], neighbours: int) -> Bool[np.ndarray, "rows rows"]:
    """Where in each row its nearest neighbours by cosine stand; a row is no neighbour of its own."""
    lengths = np.sqrt(np.maximum(kernel.diagonal(), np.finfo(kernel.dtype).tiny))
    cosines = kernel / lengths / lengths[:, None]
    np.fill_diagonal(cosines, -np.inf)
    found = np.argpartition(-cosines, neighbours - 1, axis=1)[:, :neighbours]
    mask = np.zeros(kernel.shape, bool)
    np.put_along_axis(mask, found, True, axis=1)
    return mask
