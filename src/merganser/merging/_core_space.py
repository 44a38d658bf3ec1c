r"""Core space: adapters of one base side by side in the few directions that any of them uses.

An adapter of rank $r_t$ changes a layer by $B_t A_t$. With orthonormal bases $U$ of all columns of the $B_t$ and $V$ of
all rows of the $A_t$, each has a *core*, and nothing is lost:

$$B_t A_t = U M_t V^\top, \qquad M_t = (U^\top B_t)(A_t V) .$$

Cores have $R = \sum_t r_t$ rows and columns, or as many as the layer if these are fewer. Rules that commute with
changes of orthonormal basis (sums, TSV-M, Iso-C, WUDI) can be carried out there, at the cost of $R$ rather than of the
layer; the merged adapter is $(U M)\,V^\top$. Where a side of the matrices enters a rule, as in how many directions
there are to share or in a mean over them, it is now the core's.

References:
    Panariello et al., *Accurate and Efficient Low-Rank Model Merging in Core Space*, NeurIPS 2025,
    https://arxiv.org/abs/2509.17786
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from jaxtyping import Float

if TYPE_CHECKING:
    from torch import Tensor


class Adapter(NamedTuple):
    """Two factors whose product $B A$ is added to a layer, scale included."""

    a: Float[Tensor, "rank columns"]
    b: Float[Tensor, "rows rank"]


class CoreSpace(NamedTuple):
    r"""Adapters in common bases: the one numbered $t$ is $U M_t V^\top$, in float64."""

    u: Float[Tensor, "rows left"]
    cores: Float[Tensor, "models left right"]
    v: Float[Tensor, "columns right"]


def core_space(adapters: Sequence[Adapter]) -> CoreSpace:
    """Bases that hold all adapters, and the cores that are left.

    Args:
        adapters: Of one layer; ranks may differ.

    Raises:
        ValueError: If there are none, or they do not fit one layer.
    """
    import torch

    if not adapters:
        raise ValueError("Expected at least one adapter, but there is none.")
    shapes = {(b.shape[0], a.shape[1]) for a, b in adapters}
    if len(shapes) > 1 or any(a.shape[0] != b.shape[1] for a, b in adapters):
        listed = ", ".join(f"{tuple(b.shape)} times {tuple(a.shape)}" for a, b in adapters)
        raise ValueError(
            f"Adapters of one layer must be (rows, rank) times (rank, columns), but are {listed}."
        )
    u = torch.linalg.qr(torch.cat([b.double() for _, b in adapters], dim=1)).Q
    v = torch.linalg.qr(torch.cat([a.double().T for a, _ in adapters], dim=1)).Q
    return CoreSpace(u, torch.stack([(u.T @ b.double()) @ (a.double() @ v) for a, b in adapters]), v)


def merge_adapters(
    adapters: Sequence[Adapter],
    rule: Callable[[Float[Tensor, "models left right"]], Float[Tensor, "left right"]],
) -> Adapter:
    """One adapter for all, by a rule applied to their cores.

    Args:
        adapters: Of one layer; ranks may differ.
        rule: Makes one matrix of several, such as `MatrixMethod.merged`.

    Returns:
        Factors of rank at most the sum of the ranks, of the type of the first adapter's.

    Raises:
        ValueError: As `core_space`.
    """
    u, cores, v = core_space(adapters)
    dtype = adapters[0].a.dtype
    return Adapter(v.T.to(dtype), (u @ rule(cores)).to(dtype))
