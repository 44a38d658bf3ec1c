r"""Sums over batches of the products of two vectors, for every pair of sites, and how sure their ratio is.

With $t_{ij}$ the product of one batch, $T_{ij} = \sum_b t_{ij}$, $D_{ij} = \sqrt{T_{ii} T_{jj}}$:

| what | formula |
| --- | --- |
| similarity | $c_{ij} = T_{ij} / D_{ij}$ |
| influence of a batch | $u_{ij} = t_{ij}/D_{ij} - \frac12 c_{ij} (t_{ii}/T_{ii} + t_{jj}/T_{jj})$ |
| standard error | $\sqrt{\frac{B}{B-1} \sum_b u_{ij}^2}$ |
| chance | $\sqrt{\sum_b 2\, t_{ii} t_{jj} / (n_b (n_b - 3))} / D_{ij}$ |

The error is the infinitesimal jackknife: leaving a batch out, to first order. It needs only sums of $t_{ij}^2$,
$t_{ij} t_{ii}$ and $t_{ii} t_{jj}$, so shards of data add up, whatever their number.

Chance is the standard deviation of CKA over all permutations of one side's rows, within batches. None has to be drawn:
the rows of $\tilde U$ sum to 0 and its diagonal is 0, so over all $n!$ permutations the mean of
$\langle \tilde U_K, P \tilde U_L P^\top \rangle$ is 0 and its variance
$2 \lVert \tilde U_K \rVert^2 \lVert \tilde U_L \rVert^2 / (n(n-3))$. (The square is a sum over pairs of terms that
share two, one or no index; over permutations each kind has one mean, a ratio of a sum over one matrix to how many there
are.)

References:
    Jaeckel, *The Infinitesimal Jackknife*, Bell Laboratories 1972.
    Mantel, *The Detection of Disease Clustering and a Generalized Regression Approach*, Cancer Research 27, 1967.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, slots=True)
class ProductSums:
    """Sums over batches; `+` adds those of other batches.

    Attributes:
        total: $T$.
        squares: Sum of $t_{ij}^2$.
        own: Sum of $t_{ij} t_{ii}$.
        selves: Sum of $t_{ii} t_{jj}$.
        chance: Sum of $2 t_{ii} t_{jj} / (n (n - 3))$.
    """

    total: Float[np.ndarray, "sites sites"]
    squares: Float[np.ndarray, "sites sites"]
    own: Float[np.ndarray, "sites sites"]
    selves: Float[np.ndarray, "sites sites"]
    chance: Float[np.ndarray, "sites sites"]

    @classmethod
    def of(cls, vectors: Float[np.ndarray, "sites pairs"], rows: int) -> ProductSums:
        """Those of one batch of `rows` rows."""
        t = (vectors @ vectors.T).astype(np.float64)
        diagonal = t.diagonal()
        selves = np.outer(diagonal, diagonal)
        return cls(t, t * t, t * diagonal[:, None], selves, selves * (2 / (rows * (rows - 3))))

    def __add__(self, other: ProductSums) -> ProductSums:
        return ProductSums(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def similarity(self) -> Float[np.ndarray, "sites sites"]:
        """$c$; NaN where a site's features do not differ between rows."""
        return self._ratio(self.total)

    def errors(self, batches: int) -> Float[np.ndarray, "sites sites"]:
        """Standard errors of the similarities; NaN of a single batch."""
        if batches < 2:
            return np.full_like(self.total, np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            c, t = self.similarity(), self.total.diagonal()
            scale = np.sqrt(np.outer(t, t))
            own = self.own / t[:, None] / scale  # Σ t_ij t_ii / (T_ii D_ij)
            alike = self.squares.diagonal() / t**2  # Σ t_ii² / T_ii²
            squares = self.squares / scale**2 - c * (own + own.T)
            squares += c**2 / 4 * (alike + alike[:, None] + 2 * self.selves / scale**2)
        np.fill_diagonal(squares, np.where(t > 0, 0, np.nan))
        return np.sqrt(np.maximum(squares, 0) * batches / (batches - 1))

    def chances(self) -> Float[np.ndarray, "sites sites"]:
        """Standard deviation of CKA when the rows of one side are permuted."""
        return self._ratio(np.sqrt(self.chance))

    def _ratio(self, of: Float[np.ndarray, "sites sites"]) -> Float[np.ndarray, "sites sites"]:
        scale = np.sqrt(self.total.diagonal())
        with np.errstate(divide="ignore", invalid="ignore"):
            return of / scale / scale[:, None]
