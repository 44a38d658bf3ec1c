"""Products of rows with a large matrix that many ticks share: oneDNN's, with the matrix laid out for them once.

The default product of few rows takes most of its time to read a matrix that does not lie as its kernel reads it. With
a matrix that does, 8 rows take half the time, 64 rows four fifths. Numbers are the same up to the order of sums.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

_ELEMENTS = 2**18
_USES = 16


@runtime_checkable
class Linear(Protocol):
    """A linear map with its matrix in it."""

    def __call__(
        self, rows: Float[Tensor, "rows inputs"], *, bias: Float[Tensor, " outputs"] | None = None
    ) -> Float[Tensor, "rows outputs"]:
        """Apply it."""
        ...


def linear_of(matrix: Float[Tensor, "outputs inputs"], *, rows: int, uses: int) -> Linear:
    """The fastest way to apply a matrix that does not change.

    Args:
        matrix: Without a gradient.
        rows: How many it is mostly applied to at once.
        uses: How often it will be applied; for a few times it is not worth laying out.

    Examples:
        >>> linear_of(torch.tensor([[1.0, 2.0]]), rows=1, uses=1)(torch.tensor([[3.0, 4.0]]))
        tensor([[11.]])
    """
    if uses < _USES or matrix.numel() < _ELEMENTS or not _can_pack(matrix):
        return partial(functional.linear, weight=matrix)
    return partial(_apply, torch.ops.mkldnn._reorder_linear_weight(matrix.contiguous(), rows))


def _apply(packed: Tensor, rows: Tensor, *, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(rows, packed, bias, "none", [], "")


def _can_pack(matrix: Tensor) -> bool:
    """These operations are those that torch's compiler emits for a processor; not every build has them."""
    operations = ("_reorder_linear_weight", "_linear_pointwise")
    return (
        matrix.device.type == "cpu"
        and matrix.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and all(hasattr(torch.ops.mkldnn, name) for name in operations)
    )
