r"""Arcee Fusion: take from another model the weights whose change matters most.

Per row, the divergence

$$\kappa = \mathrm{KL}\big(\mathrm{softmax}(\theta_1) \,\Vert\, \mathrm{softmax}(\theta_0)\big)$$

measures how differently the two models read it, and $\lvert\delta\rvert\,\kappa$ the importance of each entry. Entries
with an importance of at least

$$\mathrm{median} + 1.5\,(Q_3 - Q_1)$$

of their tensor move to the other model, the rest stay. Quantiles are exact, over all entries. Softmax probabilities are
raised by $10^{-8}$ before logarithms are taken, as in mergekit.

References:
    Goddard, *Arcee Fusion* (part of mergekit, no paper), https://github.com/arcee-ai/mergekit
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from jaxtyping import Float

from merganser.merging.methods._method import MergeMethod, Part, Rule, Scan, Scope
from merganser.merging.methods._select import Wanted, largest

if TYPE_CHECKING:
    from torch import Tensor

_FLOOR = 1e-8


def importance(part: Part) -> Float[Tensor, " elements"]:
    r"""$\lvert\delta\rvert\,\kappa$ of every entry; the part's values are the other model's weights."""
    assert part.base is not None
    base, other = (vector.view(-1, part.columns) for vector in (part.base, part.values[0]))
    p, q = (rows.double().softmax(dim=1).add_(_FLOOR) for rows in (other, base))
    divergence = (p * (p / q).log_()).sum(dim=1, keepdim=True).to(base.dtype)
    return ((other - base).abs_() * divergence).view(-1)


@final
@dataclass(frozen=True)
class ArceeFusion(MergeMethod):
    """Only the most important changes."""

    rule: ClassVar[Rule] = Rule(
        "the base, with the weights of one model where its change matters most",
        "https://github.com/arcee-ai/mergekit",
        models=(1, 1),
        space="weights",
        laws=frozenset({"fixed_base"}),
    )

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
        places = [quantile * (scan.numel - 1) for quantile in (0.25, 0.5, 0.75)]
        ascending = [index for place in places for index in (math.floor(place), math.ceil(place))]
        found = largest(scan, lambda part: [importance(part)], [Wanted(0, scan.numel - i) for i in ascending])
        first, median, third = (
            low + (place - math.floor(place)) * (high - low)
            for place, low, high in zip(places, found[::2], found[1::2], strict=True)
        )
        return median + 1.5 * (third - first)

    def combine(self, part: Part, stats: float) -> Float[Tensor, " elements"]:
        """Move what is important."""
        assert part.base is not None
        taken = importance(part).ge_(stats)
        return part.base + part.values[0].sub_(part.base).mul_(taken)
