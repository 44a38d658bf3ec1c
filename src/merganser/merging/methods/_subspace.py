r"""TSV-M, Iso-C and Iso-CTS: give the directions that tasks use room beside each other.

$W_1 \dots W_T$ are the task vectors of one matrix and $r$ is its shorter side. A triplet is a singular value with its
two directions; $[\,\cdot\,]$ puts the directions of several matrices side by side as the columns of $U$ and $V$, and
their values into $\sigma$, whose mean is $\bar\sigma$. $\hat X$ is the polar factor $P Q^\top$ of $X = P D Q^\top$.

| method | triplets | merged |
| --- | --- | --- |
| tsv_m | $[W_1, \dots, W_T]$, the $k$ largest of each | $\alpha\,\hat U\,\mathrm{diag}(\sigma)\,\hat V^\top$ |
| iso_c | all $r$ of the sum $\sum_t W_t$ | $\alpha\,\bar\sigma\,\hat U \hat V^\top$ |
| iso_cts | $[W_c, W_1', \dots, W_T']$, see below | $\alpha\,\bar\sigma\,\hat U \hat V^\top$ |

For tsv_m $k = \lfloor r/T \rfloor$.

For iso_cts $W_c$ are the $k_c$ largest triplets of the sum, with directions $U_c$, and $W_t'$ the $s$ largest of
$(I - U_c U_c^\top) W_t$. Of all $r$, a fraction `common` is meant for the sum: $s$ is the rest, $r$ less the whole part
of `common` · $r$, divided by $T$ and rounded, as far as there is room, and $k_c = r - T s$.

In iso_c $U$ and $V$ are orthogonal already: $\hat U \hat V^\top$ is the polar factor of the sum, and $r \bar\sigma$ its
inner product with the sum.

Singular values that are zero count in the mean, but their directions, which could be any, are left out; in the authors'
code they are what the decomposition happens to return. What is not a matrix, and what counts as zero: `_matrices`.

References:
    Gargiulo et al., *Task Singular Vectors: Reducing Task Interference in Model Merging*, CVPR 2025,
    https://arxiv.org/abs/2412.00081 (TSV-M).
    Marczak et al., *No Task Left Behind: Isotropic Model Merging with Common and Task-Specific Subspaces*, ICML 2025,
    https://arxiv.org/abs/2502.04959 (Iso-C, Iso-CTS).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from jaxtyping import Float

from merganser.merging.methods._matrices import MatrixMethod, Triplets, polar_factor, singular
from merganser.merging.methods._method import Rule, parameter

if TYPE_CHECKING:
    from torch import Tensor


@final
@dataclass(frozen=True)
class TsvM(MatrixMethod):
    """Each task's main directions, made orthogonal to the other tasks'."""

    rule: ClassVar[Rule] = Rule(
        "the main singular directions of each task vector, made orthogonal to each other",
        "2412.00081",
        laws=frozenset({"symmetric", "fixed_base"}),
    )
    alpha: float = parameter("scale of the merged task vector", 1.0)

    def merged(
        self, deltas: Float[Tensor, "models rows columns"], sides: tuple[int, int] | None = None
    ) -> Float[Tensor, "rows columns"]:
        """Side by side, then orthogonal."""
        k = min(sides or deltas.shape[1:]) // len(deltas)
        u, s, v = _side_by_side([singular(delta, k) for delta in deltas])
        return (polar_factor(u) * s) @ polar_factor(v).T


@final
@dataclass(frozen=True)
class IsoC(MatrixMethod):
    """The sum of all task vectors with equal singular values."""

    rule: ClassVar[Rule] = Rule(
        "the sum of the task vectors, all its singular values replaced by their mean",
        "2502.04959",
        laws=frozenset({"symmetric", "fixed_base"}),
    )
    alpha: float = parameter("scale of the merged task vector", 1.0)

    def merged(
        self, deltas: Float[Tensor, "models rows columns"], sides: tuple[int, int] | None = None
    ) -> Float[Tensor, "rows columns"]:
        """The polar factor at the mean length."""
        total = _sum(deltas)
        factor = polar_factor(total)
        return factor.mul_((factor * total).sum() / min(sides or total.shape))


@final
@dataclass(frozen=True)
class IsoCts(MatrixMethod):
    """Directions of the sum and directions of each task that the sum lacks, with equal singular values."""

    rule: ClassVar[Rule] = Rule(
        "main directions of the sum, and of each task vector outside them, with equal singular values",
        "2502.04959",
        laws=frozenset({"symmetric", "fixed_base"}),
    )
    alpha: float = parameter("scale of the merged task vector", 1.0)
    common: float = parameter("fraction of directions taken from the sum", 0.8, low=0.0, high=1.0)

    def merged(
        self, deltas: Float[Tensor, "models rows columns"], sides: tuple[int, int] | None = None
    ) -> Float[Tensor, "rows columns"]:
        """Common directions, then each task's own."""
        r, tasks = min(sides or deltas.shape[1:]), len(deltas)
        own = min(round((r - math.floor(self.common * r)) / tasks), r // tasks)
        common = singular(_sum(deltas), r - tasks * own)
        u, s, v = _side_by_side([common, *(_outside(common.u, delta.double(), own) for delta in deltas)])
        return polar_factor(u) @ polar_factor(v).T * (s.sum() / r)


def _outside(u: Float[Tensor, "rows common"], delta: Float[Tensor, "rows columns"], most: int) -> Triplets:
    r"""The largest triplets of $(I - U U^\top) W$."""
    import torch

    length = torch.linalg.vector_norm(delta).item()
    return singular(delta - u @ (u.T @ delta), most, beside=length)


def _sum(deltas: Float[Tensor, "models rows columns"]) -> Float[Tensor, "rows columns"]:
    total = deltas[0].double().clone()
    for delta in deltas[1:]:
        total += delta
    return total


def _side_by_side(parts: Sequence[Triplets]) -> Triplets:
    import torch

    u, s, v = (torch.cat(each, dim=-1) for each in zip(*parts, strict=True))
    return Triplets(u, s, v)
