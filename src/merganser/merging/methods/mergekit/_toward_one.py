r"""mergekit's two rules that move the base towards one model, entry by entry.

| method | there, and not here | class |
| --- | --- | --- |
| nearswap | a change below $10^{-6}$ counts as $10^{-6}$: a smaller `t` takes none whole | [`NearSwap`][] |
| arcee_fusion | divergences in the models' own precision | [`ArceeFusion`][] |
| | a quantile that falls between two entries is the lower of them | |

Above a million entries mergekit takes arcee_fusion's quantiles from a random sample, another in every run; here they
are those of all entries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

from jaxtyping import Float

from merganser.merging.methods import _arcee_fusion, _nearswap
from merganser.merging.methods._method import MergeMethod, Part, Rule, Scan, Scope, parameter
from merganser.merging.methods._select import Wanted, largest
from merganser.merging.methods.mergekit._renamed import rule_like

if TYPE_CHECKING:
    from torch import Tensor

_NEAREST = 1e-6
_FLOOR = 1e-8


@final
@dataclass(frozen=True)
class NearSwap(MergeMethod):
    """Small differences in full, large ones capped."""

    rule: ClassVar[Rule] = rule_like(_nearswap.NearSwap)
    t: float = parameter("longest step of a weight; none, if it is below zero")

    def combine(self, part: Part, stats: Any) -> Float[Tensor, " elements"]:
        """Cap."""
        delta = part.values[0]
        share = (self.t / delta.abs().clamp_min_(_NEAREST)).clamp_(0.0, 1.0)
        return delta.mul_(share)


@final
@dataclass(frozen=True)
class ArceeFusion(MergeMethod):
    """Only the most important changes."""

    rule: ClassVar[Rule] = rule_like(_arcee_fusion.ArceeFusion)

    @property
    def scope(self) -> Scope:
        """Importance is compared within each tensor."""
        return "tensor"

    @property
    def whole_rows(self) -> bool:
        """Divergences are those of rows."""
        return True

    def prepare(self, scan: Scan) -> float:
        """The least importance that is taken over."""
        places = [math.floor(quantile * (scan.numel - 1)) for quantile in (0.25, 0.5, 0.75)]
        wanted = [Wanted(0, scan.numel - place) for place in places]
        first, median, third = largest(scan, lambda part: [_importance(part)], wanted)
        return median + 1.5 * (third - first)

    def combine(self, part: Part, stats: float) -> Float[Tensor, " elements"]:
        """Move what is important."""
        assert part.base is not None
        taken = _importance(part).ge_(stats)
        return part.base + part.values[0].sub_(part.base).mul_(taken)


def _importance(part: Part) -> Float[Tensor, " elements"]:
    assert part.base is not None
    base, other = (vector.view(-1, part.columns) for vector in (part.base, part.values[0]))
    p, q = (rows.softmax(dim=1).add_(_FLOOR) for rows in (other, base))
    divergence = (p * (p / q).log_()).sum(dim=1, keepdim=True)
    return ((other - base).abs_() * divergence).view(-1)
