r"""Singular value decomposition of one matrix, $W = U\,\mathrm{diag}(\sigma)\,V^\top$.

The eigenvectors of the smaller Gram matrix in float64: products of float32 numbers are exact there, and what squaring
costs is lost from digits that float32 never had, unless singular values are very far apart. Where the smallest is below
$10^{-4}$ of the largest, a whole decomposition in float64 is taken instead.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_SMALLEST = 1e-4
"""Down to this part of the largest singular value, directions are orthogonal to what float32 rounds."""

_PIECE = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    r"""What a matrix $W$ is made of, largest singular value first.

    Args:
        left: $U^\top$: directions of the rows, one in each line.
        sigma: $\sigma$, descending.
        right: $V^\top$: directions of the columns.
        digest: Digest of the matrix's numbers ([`matrix_digest`][]).
    """

    left: Float[Tensor, "directions rows"]
    sigma: Float[Tensor, " directions"]
    right: Float[Tensor, "directions columns"]
    digest: str

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return self.left.shape[1], self.right.shape[1]

    def leading(self, rank: int | None) -> Factors:
        """The first directions only; None for all."""
        if rank is None or rank >= len(self.sigma):
            return self
        return Factors(self.left[:rank], self.sigma[:rank], self.right[:rank], self.digest)

    def change(self, gains: Float[Tensor, " directions"]) -> Float[Tensor, "rows columns"]:
        r"""$U\,\mathrm{diag}(\sigma \circ (e - 1))\,V^\top$ in float32, for gains of as many leading directions."""
        k = len(gains)
        return (self.left[:k].T * (self.sigma[:k] * gains)) @ self.right[:k]


def factorise(matrix: Float[Tensor, "rows columns"]) -> Factors:
    """Decompose a matrix; the factors are float32.

    Raises:
        ValueError: If it is no matrix, or holds NaN or infinite numbers.

    Examples:
        >>> import torch
        >>> factorise(torch.tensor([[0.0, 2.0, 0.0], [3.0, 0.0, 0.0]])).sigma
        tensor([3., 2.])
    """
    import torch

    if matrix.ndim != 2 or not matrix.numel():
        raise ValueError(f"Expected a matrix, found a tensor of shape {tuple(matrix.shape)}.")
    if not torch.isfinite(matrix).all():
        raise ValueError("Expected finite numbers, but the matrix holds NaN or infinite ones.")
    is_wide = matrix.shape[0] < matrix.shape[1]
    u, sigma, v = _tall(matrix.T.double() if is_wide else matrix.double())
    left, right = (v, u) if is_wide else (u, v)
    digest = matrix_digest(matrix)
    return Factors(left.T.float().contiguous(), sigma.float(), right.T.float().contiguous(), digest)


def matrix_digest(matrix: Float[Tensor, "rows columns"]) -> str:
    """Digest of a matrix's shape and numbers, taken as float32: a copy in a wider type has the same.

    Examples:
        >>> import torch
        >>> matrix = torch.tensor([[0.5, 2.0]])
        >>> matrix_digest(matrix) == matrix_digest(matrix.bfloat16())
        True
    """
    state = hashlib.blake2b(json.dumps(list(matrix.shape)).encode(), digest_size=32)
    flat = matrix.detach().reshape(-1)
    for begin in range(0, len(flat), _PIECE):
        state.update(flat[begin : begin + _PIECE].float().cpu().numpy().data)
    return state.hexdigest()


def _tall(
    matrix: Float[Tensor, "rows columns"],
) -> tuple[Float[Tensor, "rows columns"], Float[Tensor, " columns"], Float[Tensor, "columns columns"]]:
    """U, sigma and V of a matrix with at least as many rows as columns, in float64."""
    import torch

    _, ascending = torch.linalg.eigh(matrix.T @ matrix)
    v = ascending.flip(1)
    scaled = matrix @ v
    sigma: torch.Tensor = torch.linalg.vector_norm(scaled, dim=0)
    if sigma[-1] > _SMALLEST * sigma[0]:
        return scaled / sigma, sigma, v
    u, sigma, vh = torch.linalg.svd(matrix, full_matrices=False)
    return u, sigma, vh.T
