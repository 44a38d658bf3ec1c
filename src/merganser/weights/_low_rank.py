r"""The product of an adapter's factors, placed on the rows of the weight it belongs to.

With $A \in \mathbb{R}^{r \times n}$ and $B \in \mathbb{R}^{m \times r}$ the update is $L R$, where

| the weight has the shape | $L$ | $R$ |
| --- | --- | --- |
| $(m, n, \dots)$: linear layers and convolutions | $B$ | $A$ |
| $(n, m)$: layers that store (in, out), embeddings | $A^\top$ | $B^\top$ |
| $(m,)$: a bias $c$ of the adapter | $c$ as a column | $(1)$ |

so that the rows of the update are always rows of $L$ times $R$.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from merganser._errors import CheckpointError
from merganser.weights._adapter_config import LoraSettings
from merganser.weights._adapter_names import Change
from merganser.weights._checkpoint import Checkpoint
from merganser.weights._spec import TensorSpec

if TYPE_CHECKING:
    import torch

_PLAIN = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True, slots=True)
class LowRank:
    """An update of low rank, and perhaps the norms that rows get after it.

    Args:
        left: One row for each row of the weight, shape (rows, r).
        right: Shape (r, columns).
        scaling: What the product is multiplied with.
        magnitude: Norm of each row after the update; None to leave them as they come.
    """

    left: torch.Tensor
    right: torch.Tensor
    scaling: float
    magnitude: torch.Tensor | None = None

    def to(self, like: torch.Tensor) -> LowRank:
        """The same with the element type and on the device of another tensor."""
        magnitude = None if self.magnitude is None else self.magnitude.to(like)
        return LowRank(self.left.to(like), self.right.to(like), self.scaling, magnitude)

    def apply(self, rows: torch.Tensor, top: int) -> None:
        """Turn rows of the base's weight, from row `top` on, into rows of the new one, in place."""
        below = top + len(rows)
        rows.addmm_(self.left[top:below], self.right, alpha=self.scaling)
        if self.magnitude is not None:
            rows.mul_((self.magnitude[top:below] / rows.norm(dim=1)).unsqueeze(1))


@dataclass(frozen=True, slots=True)
class Placement:
    """How an adapter's factors lie on one tensor of the base; holds no data.

    Args:
        change: The adapter's tensors.
        transposed: Whether the weight is stored as (in, out).
        scaling: What the product is multiplied with.
    """

    change: Change
    transposed: bool
    scaling: float

    def load(self, adapter: Checkpoint) -> LowRank:
        """The factors themselves, mapped from the adapter's file."""
        import torch

        if self.change.added is not None:
            return LowRank(adapter.read(self.change.added).reshape(-1, 1), torch.ones(1, 1), self.scaling)
        assert self.change.factors is not None
        a, b = (adapter.read(key) for key in self.change.factors)
        a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
        magnitude = None if self.change.magnitude is None else adapter.read(self.change.magnitude).reshape(-1)
        left, right = (a.T, b.T) if self.transposed else (b, a)
        return LowRank(left, right, self.scaling, magnitude)


def place(change: Change, weight: TensorSpec, adapter: Checkpoint, settings: LoraSettings) -> Placement:
    """Find out how the factors lie on a weight, from shapes alone.

    Raises:
        CheckpointError: If they do not fit it, or the weight is quantised.
    """
    assert change.factors is not None
    a, b = (adapter.spec(key) for key in change.factors)
    check_base_type(weight, adapter)
    rank = a.shape[0] if a.shape else 0
    if rank < 1 or b.numel != rank * b.shape[0]:
        raise CheckpointError(_misfit(weight, a, b, adapter.source))
    scaling = settings.scaling(change.module, rank)
    if change.added is not None:
        if adapter.spec(change.added).numel != weight.numel:
            raise CheckpointError(_misfit(weight, adapter.spec(change.added), b, adapter.source))
        return Placement(change, False, scaling)
    transposed = _transposed(change, weight, a, b, settings)
    if transposed is None:
        raise CheckpointError(_misfit(weight, a, b, adapter.source))
    _check_magnitude(change, weight, transposed, adapter)
    return Placement(change, transposed, scaling)


def check_base_type(weight: TensorSpec, adapter: Checkpoint) -> None:
    """Make sure that a tensor of the base holds plain numbers, not codes that mean something with a scale.

    Raises:
        CheckpointError: If it is quantised.
    """
    if weight.dtype not in _PLAIN:
        raise CheckpointError(
            f"{adapter.source} changes {weight.name!r}, which is {weight.dtype} in the base. "
            f"Use a base that is not quantised: {', '.join(_PLAIN)}."
        )


def _transposed(
    change: Change, weight: TensorSpec, a: TensorSpec, b: TensorSpec, settings: LoraSettings
) -> bool | None:
    """Whether the weight is stored as (in, out); None if the factors do not fit it either way."""
    if len(weight.shape) < 2:
        return None
    matrix = weight.shape[0], math.prod(weight.shape[1:])
    plain, flipped = (b.shape[0], math.prod(a.shape[1:])), (math.prod(a.shape[1:]), b.shape[0])
    if change.embedding or (plain == flipped and settings.fan_in_fan_out):
        return True if matrix == flipped else None
    if matrix == plain:
        return False
    return True if matrix == flipped and len(weight.shape) == 2 else None


def _check_magnitude(change: Change, weight: TensorSpec, transposed: bool, adapter: Checkpoint) -> None:
    if change.magnitude is None:
        return
    if transposed or len(weight.shape) != 2:
        raise CheckpointError(
            f"{adapter.source} gives norms (DoRA) for {weight.name!r}, which is no linear layer stored as (out, in); "
            "that is not supported. Merge the adapter with PEFT (`merge_and_unload`) and open the saved model."
        )
    if adapter.spec(change.magnitude).numel != weight.shape[0]:
        found = adapter.spec(change.magnitude)
        raise CheckpointError(
            f"{adapter.source}: {found.name!r} must have {weight.shape[0]} norms, one for each row of "
            f"{weight.name!r}, but has the shape {found.shape}."
        )


def _misfit(weight: TensorSpec, a: TensorSpec, b: TensorSpec, source: str) -> str:
    return (
        f"{source}: {a.name!r} of shape {a.shape} and {b.name!r} of shape {b.shape} do not fit {weight.name!r} of "
        f"shape {weight.shape}. Was the adapter trained on another base?"
    )
