r"""Orthogonal Procrustes distance: how far features are from one another after the best rotation.

With $X$, $Y$ centred over all data and divided by their Frobenius norms,

$$d(X, Y) = \min_{Q^\top Q = I} \lVert X - Y Q \rVert_F = \sqrt{2 - 2 \lVert X^\top Y \rVert_*}, \ 0 \le d \le \sqrt 2$$

Cross-covariances of all pairs of sites grow with the square of all dimensions together. So features with more than
`width` dimensions are projected first, on as many random orthonormal directions, the same for all sites of one
dimension: the distance is then that of what the projection leaves.

References:
    Ding et al., *Grounding Representation Similarity with Statistical Testing*, NeurIPS 2021,
    https://arxiv.org/abs/2108.01661
    Chan et al., *Updating Formulae and a Pairwise Algorithm for Computing Sample Variances*, COMPSTAT 1982.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float

from merganser.comparison._relations import Site, as_numpy

_MOST_COLUMNS = 16_384
"""Columns of all sites together: 2 GiB of cross-covariances."""


@dataclass(frozen=True, slots=True)
class ProcrustesSums:
    """Means and cross-covariances of projected features at all sites; `+` adds those of other rows.

    Begin with `of`, add batches of features or other sums with `+`, and ask for `distances`. Batches may have any size.

    Attributes:
        sites: The sites.
        rows: Rows seen.
        width: Dimensions kept of each site.
        seed: Key of the projections.
        starts: Where each site's columns begin, and where the last ends.
        means: Mean of each column.
        products: Sum of products of centred columns.
    """

    sites: tuple[Site, ...]
    rows: int
    width: int
    seed: int
    starts: tuple[int, ...]
    means: Float[np.ndarray, " columns"]
    products: Float[np.ndarray, "columns columns"]

    @classmethod
    def of(
        cls, features: Mapping[tuple[str, str], Float[Any, "rows d"]], *, width: int = 64, seed: int = 0
    ) -> ProcrustesSums:
        """Those of one batch.

        Args:
            features: Features of the same rows at each site (model, layer), numpy or torch.
            width: Dimensions kept of each site, from 1 on.
            seed: Key of the projections.

        Raises:
            ValueError: If sites have not the same rows, features are NaN or infinite, or there are too many columns.

        Examples:
            >>> x = np.random.default_rng(0).normal(size=(50, 4))
            >>> turned = 2 * x[:, [1, 0, 3, 2]] + 5
            >>> sums = ProcrustesSums.of({("a", "last"): x, ("b", "last"): turned})
            >>> bool(sums.distances()[0, 1] < 1e-6)
            True
        """
        arrays = {Site(*key): as_numpy(each) for key, each in features.items()}
        shapes = {array.shape[:1] for array in arrays.values()}
        if len(shapes) != 1 or any(array.ndim != 2 for array in arrays.values()) or width < 1:
            raise ValueError(
                "Expected features of the same rows at each of one or more sites, with the axes (rows, d), and a "
                f"width from 1 on; found {[array.shape for array in arrays.values()][:4]} and {width}."
            )
        starts = np.cumsum([0, *(min(array.shape[1], width) for array in arrays.values())])
        if starts[-1] > _MOST_COLUMNS:
            raise ValueError(
                f"{len(arrays)} sites have {starts[-1]} columns together, but at most {_MOST_COLUMNS} can be held. "
                "Compare fewer sites, or make `width` smaller."
            )
        columns = np.concatenate([_projected(array, width, seed) for array in arrays.values()], axis=1)
        if not np.isfinite(columns).all():
            raise ValueError("Features are NaN or infinite. Use a sound model, or leave this layer out.")
        means = columns.mean(axis=0)
        columns -= means
        rows = len(columns)
        return cls(tuple(arrays), rows, width, seed, tuple(map(int, starts)), means, columns.T @ columns)

    def __add__(
        self, other: ProcrustesSums | Mapping[tuple[str, str], Float[Any, "rows d"]]
    ) -> ProcrustesSums:
        if not isinstance(other, ProcrustesSums):
            other = ProcrustesSums.of(other, width=self.width, seed=self.seed)
        mine, its = ((s.sites, s.starts, s.width, s.seed) for s in (self, other))
        if mine != its:
            raise ValueError(
                "Expected sums over the same sites with the same width and seed. Only shards of one comparison can be "
                "added."
            )
        rows, shift = self.rows + other.rows, other.means - self.means
        products = self.products + other.products
        products += np.outer(shift, shift * (self.rows * other.rows / rows))  # Chan et al., eq. 2.1
        means = self.means + shift * (other.rows / rows)
        return ProcrustesSums(self.sites, rows, self.width, self.seed, self.starts, means, products)

    def distances(self) -> Float[np.ndarray, "sites sites"]:
        """Distances of all pairs of sites, from 0 to the root of 2; NaN where features do not differ between rows."""
        count = len(self.sites)
        alike = np.empty((count, count))
        for i in range(count):
            for j in range(i + 1):
                alike[i, j] = alike[j, i] = np.linalg.norm(self._block(i, j), "nuc")
        norms = np.sqrt([np.trace(self._block(i, i)) for i in range(count)])
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(np.maximum(2 - 2 * alike / norms / norms[:, None], 0))

    def _block(self, i: int, j: int) -> Float[np.ndarray, "here there"]:
        return self.products[self.starts[i] : self.starts[i + 1], self.starts[j] : self.starts[j + 1]]


def _projected(
    features: Float[np.ndarray, "rows d"], width: int, seed: int
) -> Float[np.ndarray, "rows width"]:
    wide = features.astype(np.float64)
    return wide if wide.shape[1] <= width else wide @ _directions(wide.shape[1], width, seed)


@lru_cache(maxsize=8)
def _directions(dimensions: int, width: int, seed: int) -> Float[np.ndarray, "dimensions width"]:
    """Random orthonormal directions, keyed by seed and dimension."""
    drawn = np.random.default_rng([seed, dimensions]).normal(size=(dimensions, width))
    return np.linalg.qr(drawn)[0]
