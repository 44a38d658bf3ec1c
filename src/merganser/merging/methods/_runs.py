"""Sums over a tensor that do not depend on how it is cut into parts.

Floating-point addition is not associative, so a sum over parts would change with their size in its last digits, and
now and then a merged weight with it. Here every sum is first taken over runs of 4,096 elements, whose ends are fixed;
the float64 sums of all runs are then added up at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from merganser.weights import REDUCTION

if TYPE_CHECKING:
    from torch import Tensor


def run_dots(a: Float[Tensor, " elements"], b: Float[Tensor, " elements"]) -> Float[np.ndarray, " runs"]:
    """Inner products, run by run."""
    return np.concatenate([row_dots(x, y) for x, y in zip(_runs(a), _runs(b), strict=True)])


def run_sums(a: Float[Tensor, " elements"], length: int = REDUCTION) -> Float[np.ndarray, " runs"]:
    """Sums, run by run; where parts hold whole rows, runs must have the length that `row_run` says."""
    return np.concatenate([x.sum(dim=1).double().cpu().numpy() for x in _runs(a, length)])


def row_dots(
    a: Float[Tensor, "rows columns"], b: Float[Tensor, "rows columns"]
) -> Float[np.ndarray, " rows"]:
    """Inner products, row by row."""
    if a.device.type != "cpu":
        return (a * b).sum(dim=1).cpu().numpy().astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.vecdot(a.numpy(), b.numpy()).astype(np.float64)


def _runs(vector: Float[Tensor, " elements"], length: int = REDUCTION) -> list[Float[Tensor, "rows columns"]]:
    whole = len(vector) // length * length
    runs = [vector[:whole].view(-1, length)] if whole else []
    return runs if whole == len(vector) else [*runs, vector[whole:].view(1, -1)]
