r"""Model Breadcrumbs: of each task vector keep the middle, neither outliers nor noise.

Per tensor of $N$ entries, sorted by $\lvert\delta\rvert$: the $\lfloor\gamma N\rfloor$ largest are dropped, of the rest
the $\lfloor p N\rfloor$ largest are kept, with `density` $p$ and `gamma` $\gamma$. If fewer are left, less is dropped
at the top. Then a plain sum (`breadcrumbs`) or TIES' election of signs (`breadcrumbs_ties`). Entries equal to the upper
limit are dropped, entries equal to the lower kept.

References:
    Davari, Belilovsky, *Model Breadcrumbs: Scaling Multi-Task Model Merging with Sparse Masks*, ECCV 2024,
    https://arxiv.org/abs/2312.06795
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from jaxtyping import Float

from merganser.merging.methods._consensus import thinned_sum
from merganser.merging.methods._method import MergeMethod, Part, PerModel, Rule, Scan, Scope, parameter
from merganser.merging.methods._select import Wanted, largest, magnitudes
from merganser.merging.methods._ties import trim_

if TYPE_CHECKING:
    from torch import Tensor

Limits = list[tuple[float, float]]


def _limits(scan: Scan, density: PerModel, gamma: PerModel) -> Limits:
    """Lowest magnitude kept, and lowest dropped as an outlier, of each model."""
    wanted: list[Wanted] = []
    for i, (p, g) in enumerate(zip(density, gamma, strict=True)):
        keep = math.floor(p * scan.numel)
        drop = min(math.floor(g * scan.numel), scan.numel - keep)
        wanted += [Wanted(i, drop + keep), Wanted(i, drop)]
    found = largest(scan, magnitudes, wanted)
    return list(zip(found[::2], found[1::2], strict=True))


def _keep_middle_(part: Part, limits: Limits) -> None:
    for delta, (low, high) in zip(part.values, limits, strict=True):
        if math.isfinite(high):
            delta.mul_(delta.abs().lt_(high))
        trim_(delta, low)


@dataclass(frozen=True)
class _Breadcrumbs(MergeMethod):
    """What both kinds share."""

    elects: ClassVar[bool]

    weight: PerModel = parameter("weight of each model's task vector", 1.0)
    density: PerModel = parameter("fraction of entries kept", 0.9, low=0.0, high=1.0)
    gamma: PerModel = parameter("fraction of largest entries dropped", 0.01, low=0.0, high=1.0)
    normalize: bool = parameter("divide by the weights that take part, rather than add up", False)
    lambda_: float = parameter("scale of the merged task vector", 1.0)

    @property
    def scope(self) -> Scope:
        """Limits are those of each tensor."""
        return "tensor"

    def prepare(self, scan: Scan) -> Limits:
        """Limits of each model."""
        return _limits(scan, self.density, self.gamma)

    def combine(self, part: Part, stats: Limits) -> Float[Tensor, " elements"]:
        """Cut, add up."""
        _keep_middle_(part, stats)
        ones = [1.0] * len(part.values)
        return thinned_sum(
            part.values, self.weight, ones, elect=self.elects, normalize=self.normalize, lambda_=self.lambda_
        )


@final
class Breadcrumbs(_Breadcrumbs):
    """The middle of each task vector, added."""

    rule: ClassVar[Rule] = Rule(
        "task vectors without their largest and smallest entries, added",
        "2312.06795",
        laws=frozenset({"symmetric", "fixed_base"}),
    )
    elects = False


@final
class BreadcrumbsTies(_Breadcrumbs):
    """The middle of each task vector, signs elected."""

    rule: ClassVar[Rule] = Rule(
        "task vectors without their largest and smallest entries, those that agree in sign added",
        "2312.06795",
        laws=frozenset({"symmetric", "fixed_base"}),
    )
    elects = True
