r"""mergekit's SCE: as ours, but for floors.

| step | there |
| --- | --- |
| select | `select_topk` of the entries whose variance is not zero, rounded down in float32; of equals the first |
| calculate | $v_i$ is the mean of $\delta_i^2$ over that of all |
| | $1/n$ each where the means sum to less than $10^{-6}$, as those of most fine-tunes do |
| erase | votes that cancel go to the positive side |
| merge | $\theta = \theta_0 + \sum_i v_i m_i \delta_i \,/ \max(\sum_i v_i m_i, 10^{-6})$ |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, final

import numpy as np
from jaxtyping import Float

from merganser.merging.methods import _sce
from merganser.merging.methods._method import MergeMethod, Part, Rule, Scan, Scope, parameter
from merganser.merging.methods._runs import run_dots
from merganser.merging.methods.mergekit._consensus import agreeing_, counted
from merganser.merging.methods.mergekit._order import Border, Take, borders, taken_
from merganser.merging.methods.mergekit._renamed import rule_like

if TYPE_CHECKING:
    from torch import Tensor

_FLOOR = 1e-6


class Selection(NamedTuple):
    """What one tensor's first pass found: the last entry selected, if not all are, and each model's weight."""

    border: Border | None
    weights: tuple[float, ...]


def _variance(part: Part) -> Float[Tensor, " elements"]:
    return part.values.var(dim=0, correction=0)


def _select_(part: Part, border: Border | None) -> None:
    if border is not None:
        part.values.mul_(taken_(_variance(part), border, part.begin))


@final
@dataclass(frozen=True)
class Sce(MergeMethod):
    """Entries that vary most, weighted by energy, signs elected."""

    rule: ClassVar[Rule] = rule_like(_sce.Sce)
    int8_mask: bool = parameter("accepted; it has no effect on the result", False)
    select_topk: float = parameter("fraction of entries kept, by variance across models", 1.0)

    @property
    def scope(self) -> Scope:
        """Variances are compared within each tensor."""
        return "tensor"

    def prepare(self, scan: Scan) -> Selection:
        """Selection and weights."""
        border = self._border(scan)

        def energy(part: Part) -> Float[np.ndarray, "runs models"]:
            _select_(part, border)
            return np.stack([run_dots(delta, delta) for delta in part.values], axis=1)

        means = np.concatenate(list(scan(energy))).sum(axis=0) / max(scan.numel, 1)
        total = means.sum()
        weights = means / total if total >= _FLOOR else np.full(scan.models, 1 / scan.models)
        return Selection(border, tuple(weights.tolist()))

    def combine(self, part: Part, stats: Selection) -> Float[Tensor, " elements"]:
        """Select, elect, average."""
        _select_(part, stats.border)
        side = agreeing_(part.values)
        weighted = part.values * part.values.new_tensor(stats.weights)[:, None]
        return weighted.sum(dim=0).div_(counted(part.values, stats.weights).clamp_min_(_FLOOR)).mul_(side)

    def _border(self, scan: Scan) -> Border | None:
        if self.select_topk >= 1:
            return None
        varying = sum(scan(lambda part: int(_variance(part).count_nonzero())))
        count = int(np.float32(varying) * np.float32(self.select_topk))
        return borders(scan, lambda part: [_variance(part)], [Take(0, max(count, 0))])[0]
