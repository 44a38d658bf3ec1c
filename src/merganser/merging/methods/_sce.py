r"""SCE: select, calculate, erase.

| step | formula, per tensor |
| --- | --- |
| select | keep the entries with the largest variance across models: `select_topk` of those where it is not zero |
| calculate | $v_i = \lVert\delta_i\rVert^2 / \sum_j \lVert\delta_j\rVert^2$ over what was selected |
| erase | $\gamma = \mathrm{sgn}\sum_i \delta_i$; $m_i = [\mathrm{sgn}\,\delta_i = \gamma]$ |
| merge | $\theta = \theta_0 + \sum_i v_i m_i \delta_i \,/ \sum_i v_i m_i$ |

Entries equal to the threshold are all kept.

References:
    Wan et al., *FuseChat: Knowledge Fusion of Chat Models*, 2024, https://arxiv.org/abs/2408.07990 (section 3.3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, final

import numpy as np
from jaxtyping import Float

from merganser.merging.methods._consensus import elected_sum
from merganser.merging.methods._method import MergeMethod, Part, Rule, Scan, Scope, parameter
from merganser.merging.methods._runs import run_dots
from merganser.merging.methods._select import Wanted, largest

if TYPE_CHECKING:
    from torch import Tensor


class Selection(NamedTuple):
    """What one tensor's first pass found: least spread selected, and each model's share of the energy."""

    threshold: float
    weights: tuple[float, ...]


def _spread(part: Part) -> Float[Tensor, " elements"]:
    r"""Variance across the models, times their number squared.

    As $n \sum_i d_i^2 - (\sum_i d_i)^2$ with differences $d_i$ from the first model: exactly zero where all agree.
    """
    first, *others = part.values
    total, squares = first - first, first - first
    for other in others:
        difference = other - first
        total.add_(difference)
        squares.addcmul_(difference, difference)
    return squares.mul_(len(part.values)).sub_(total.square_())


def _select_(part: Part, threshold: float) -> None:
    if threshold > 0:
        part.values.mul_(_spread(part).ge_(threshold))


@final
@dataclass(frozen=True)
class Sce(MergeMethod):
    """Entries that vary most, weighted by energy, signs elected."""

    rule: ClassVar[Rule] = Rule(
        "task vectors where models differ most, weighted by their energy, those that agree in sign averaged",
        "2408.07990",
        laws=frozenset({"symmetric", "fixed_base"}),
    )
    select_topk: float = parameter(
        "fraction of entries kept, by variance across models", 1.0, low=0.0, high=1.0
    )

    @property
    def scope(self) -> Scope:
        """Variances are compared within each tensor."""
        return "tensor"

    def prepare(self, scan: Scan) -> Selection:
        """Threshold and weights."""
        threshold = self._threshold(scan)

        def energy(part: Part) -> Float[np.ndarray, "runs models"]:
            _select_(part, threshold)
            return np.stack([run_dots(delta, delta) for delta in part.values], axis=1)

        energies = np.concatenate(list(scan(energy))).sum(axis=0)
        total = energies.sum()
        if not math.isfinite(total):
            raise ValueError("A model holds NaN or infinite numbers, or some too large to be squared.")
        weights = energies / total if total > 0 else np.full(scan.models, 1 / scan.models)
        return Selection(threshold, tuple(weights.tolist()))

    def combine(self, part: Part, stats: Selection) -> Float[Tensor, " elements"]:
        """Select, elect, average."""
        _select_(part, stats.threshold)
        return elected_sum(part.values, stats.weights, normalize=True, weighted_vote=False)

    def _threshold(self, scan: Scan) -> float:
        if self.select_topk >= 1:
            return 0.0
        varying = sum(scan(lambda part: int(_spread(part).count_nonzero())))
        kept = math.floor(self.select_topk * varying)
        return largest(scan, lambda part: [_spread(part)], [Wanted(0, kept)])[0]
