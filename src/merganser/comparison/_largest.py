r"""Which entries are the largest, without sorting them: thresholds from histograms of magnitudes.

Magnitudes are counted by the leading bits of their float32 form, exponent and nine bits of the fraction: $2^{17}$ bins,
each at most $2^{-9}$ (0.2 %) wide relative to its lower edge. The threshold of a share is the lower edge of the bin in
which the sought quantile lies, so it is never above the exact one and less than 0.2 % below it. Counts are integers:
no order of counting changes them.

The largest share $\rho$ of two models' entries, chosen independently, overlap in $\rho / (2 - \rho)$ of their union:
0.5 % for $\rho = 1\,\%$, 5.3 % for $\rho = 10\,\%$.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from merganser.comparison._moments import coincidences, differences
from merganser.weights import Aligned, Buffers, Execution

if TYPE_CHECKING:
    import torch

SHARES = (0.01, 0.1)
"""Shares of the entries whose overlap is told."""

_DROPPED = 14
_BINS = 1 << (31 - _DROPPED)


class Histogram:
    """How many entries of each model's difference from the pivot have which magnitude.

    Args:
        models: How many models there are.
    """

    def __init__(self, models: int) -> None:
        self.counts: Int[np.ndarray, "models bins"] = np.zeros((models, _BINS), np.int64)

    def add(self, rows: Float[torch.Tensor, "rows elements"]) -> None:
        """Count a block of differences, the pivot first."""
        import torch

        bins = _magnitudes(rows[1:]).view(torch.int32) >> _DROPPED
        for i, row in enumerate(bins):
            self.counts[i] += torch.bincount(row, minlength=_BINS).cpu().numpy()


def threshold(counts: Int[np.ndarray, " bins"], share: float) -> float:
    """The magnitude that the largest entries reach.

    Args:
        counts: Entries by magnitude.
        share: Which share of all entries, in (0, 1].

    Returns:
        The threshold; positive, so that entries that are zero never are among the largest.
    """
    wanted = math.ceil(share * counts.sum())
    above = np.cumsum(counts[::-1])
    place = _BINS - 1 - int(np.searchsorted(above, wanted))
    edge = (np.array([max(place, 0)], np.int32) << _DROPPED).view(np.float32)[0]
    return max(float(edge), float(np.finfo(np.float32).smallest_subnormal))


def overlaps(
    aligned: Aligned,
    thresholds: Float[np.ndarray, "shares models"],
    execution: Execution,
    buffers: Buffers,
) -> Int[np.ndarray, "shares models models"]:
    """Entries that are among the largest of both models; on the diagonal, of one.

    Args:
        aligned: The tensor: of the pivot, then of the models.
        thresholds: For each share and model the magnitude that counts as large.
        execution: How to walk.
        buffers: Where to.
    """
    import torch

    shares, models = thresholds.shape
    edges = torch.from_numpy(thresholds.astype(np.float32)).to(execution.device)
    found = np.zeros((shares, models, models), np.int64)
    for rows in differences(aligned, execution, buffers):
        magnitudes = _magnitudes(rows[1:])
        for i, edge in enumerate(edges):
            found[i] += coincidences((magnitudes >= edge[:, None]).float())
    return found


def _magnitudes(rows: Float[torch.Tensor, "models elements"]) -> Float[torch.Tensor, "models elements"]:
    return rows.abs().float()
