r"""Task vectors as whole matrices, for methods that look at their singular directions or solve with them.

| what | formula | function |
| --- | --- | --- |
| singular triplets | $W = U\,\mathrm{diag}(\sigma)\,V^\top$, those with $\sigma > 10^{-6} \sigma_1$ | [`singular`][] |
| polar factor | $U V^\top$ over the same directions | [`polar_factor`][] |

Both come from the eigenvectors of the smaller of $W^\top W$ and $W W^\top$, formed in float64, where squares of float32
numbers are exact. Directions below the limit hold nothing but the rounding of the models; the polar factor of a matrix
that lacks some is defined on its row and column space alone, and 0 elsewhere.

*What counts as a matrix*: tensors of two or more dimensions, kernels flattened to (out, in · height · width). Merged as
vectors, that is by the mean, are

- tensors with a side shorter than the number of models: it has no room for a direction each;
- tables of embeddings and heads over a vocabulary, by name: their rows belong to tokens, not to a space between two
  layers, and the authors of these methods leave them out;
- tensors with a side above 65,536, which no linear layer has: tables under other names, and experts packed into one
  tensor.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from jaxtyping import Bool, Float

from merganser.merging.methods._method import MergeMethod, Part, Scan, Scope

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_ZERO = 1e-6
"""Singular values up to this part of the largest count as zero."""

_LONGEST = 1 << 16
_TABLE = re.compile(r"embed|(^|\.)(wte|wpe|lm_head|shared)\.weight$")


class Triplets(NamedTuple):
    """Singular values, largest first, with their directions as columns."""

    u: Float[Tensor, "rows directions"]
    s: Float[Tensor, " directions"]
    v: Float[Tensor, "columns directions"]


class MatrixMethod(MergeMethod):
    """A method of this kind: what it has to say is how one matrix follows from several.

    Everything else, biases and norms above all, becomes the mean of the task vectors. `alpha` scales both.
    """

    alpha: float

    @property
    def scope(self) -> Scope:
        """Whole matrices."""
        return "tensor"

    def whole_tensors(self, models: int) -> int:
        """The task vectors, the result, and some five matrices in float64."""
        return models + 11

    @property
    def equivariant(self) -> bool:
        """Singular values and Gram matrices are the same in every basis."""
        return True

    @abstractmethod
    def merged(
        self, deltas: Float[Tensor, "models rows columns"], sides: tuple[int, int] | None = None
    ) -> Float[Tensor, "rows columns"]:
        """One matrix for all, in float64.

        Args:
            deltas: The task vectors.
            sides: Rows and columns of the matrices whose cores they are (`_core_space`); None where they are no cores.
        """

    def prepare(self, scan: Scan) -> Float[Tensor, " elements"] | None:
        """The merged task vector; None where it is the mean."""
        if not is_matrix(scan.shape or (), scan.models) or is_table(next(scan(_name))):
            return None
        return self.scaled(task_matrices(scan))

    def scaled(
        self, deltas: Float[Tensor, "models rows columns"], sides: tuple[int, int] | None = None
    ) -> Float[Tensor, " elements"]:
        """The merged task vector, of the type of the models'; arguments as those of `merged`."""
        return self.merged(deltas, sides).mul_(self.alpha).to(deltas.dtype).flatten()

    def combine(self, part: Part, stats: Float[Tensor, " elements"] | None) -> Float[Tensor, " elements"]:
        """Its elements."""
        first = part.values[0]
        if stats is None:
            return part.values.mean(dim=0).mul_(self.alpha)
        return first.copy_(stats[part.begin : part.begin + len(first)])


def is_matrix(shape: tuple[int, ...], models: int) -> bool:
    """Whether a tensor of this shape is merged as a matrix, unless it is a table."""
    return len(shape) > 1 and models <= min(sides := sides_of(shape)) and max(sides) <= _LONGEST


def is_table(name: str) -> bool:
    """Whether a tensor of this name has a row for every token."""
    return _TABLE.search(name) is not None


def sides_of(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a tensor as a matrix."""
    return shape[0], math.prod(shape[1:])


def task_matrices(scan: Scan) -> Float[Tensor, "models rows columns"]:
    """The task vectors of a tensor, whole.

    Raises:
        ValueError: If one of them holds a number that is none, or is too large.
    """
    import torch

    deltas = whole(scan)
    if not all(math.isfinite(torch.linalg.vector_norm(d, dtype=torch.float64).item()) for d in deltas):
        raise ValueError("A model holds NaN or infinite numbers, or some too large to be squared.")
    return deltas.view(scan.models, *sides_of(scan.shape or ()))


def whole(scan: Scan) -> Float[Tensor, "models elements"]:
    """A tensor of all models, with all its elements."""
    held: list[torch.Tensor] = []

    def hold(part: Part) -> None:
        if not held:
            held.append(part.values.new_empty(scan.models, scan.numel))
        held[0][:, part.begin : part.begin + part.values.shape[1]] = part.values

    for _ in scan(hold):
        pass
    return held[0]


def singular(matrix: Float[Tensor, "rows columns"], most: int, *, beside: float = 0.0) -> Triplets:
    """The largest singular values that are not zero, and their directions, in float64.

    Args:
        matrix: The matrix.
        most: How many at most.
        beside: A length beside which zero is zero too: that of what a difference was taken of.

    Examples:
        >>> import torch
        >>> singular(torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), 2).s
        tensor([3.], dtype=torch.float64)
    """
    import torch

    if matrix.shape[0] < matrix.shape[1]:
        v, s, u = singular(matrix.T, most, beside=beside)
        return Triplets(u, s, v)
    tall = matrix.double()
    squares, directions = torch.linalg.eigh(tall.T @ tall)
    s = squares[_is_not_zero(squares, beside)].sqrt().flip(0)[:most]
    v = directions.flip(1)[:, : len(s)]
    return Triplets(tall @ v / s, s, v)


def polar_factor(matrix: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    r"""$U V^\top$ of $U\,\mathrm{diag}(\sigma)\,V^\top$, over the singular values that are not zero, in float64.

    Examples:
        >>> import torch
        >>> polar_factor(torch.tensor([[0.0, -3.0, 0.0], [0.5, 0.0, 0.0]])) + 0.0
        tensor([[ 0., -1.,  0.],
                [ 1.,  0.,  0.]], dtype=torch.float64)
    """
    import torch

    if matrix.shape[0] < matrix.shape[1]:
        return polar_factor(matrix.T).T
    tall = matrix.double()
    squares, directions = torch.linalg.eigh(tall.T @ tall)
    kept = _is_not_zero(squares)
    v = directions[:, kept]
    return tall @ ((v / squares[kept].sqrt()) @ v.T)


def _is_not_zero(squares: Float[Tensor, " directions"], beside: float = 0.0) -> Bool[Tensor, " directions"]:
    """Which of some squared singular values, in ascending order, count."""
    return squares > _ZERO**2 * squares[-1:].clamp_min(beside**2)


def _name(part: Part) -> str:
    return part.tensor
