r"""mergekit's arithmetic on task vectors: one procedure, eight names.

| step | formula, per tensor |
| --- | --- |
| thin out | $d_i$ is $\delta_i$ where the method keeps it, else 0; all is kept if the `density` is 1 or more |
| rescale, if asked for | $d_i \leftarrow d_i \sum\lvert\delta_i\rvert / \sum\lvert d_i\rvert$ |
| elect, if the method does | $\gamma = +1$ where $\sum_i w_i d_i \ge 0$, else $-1$; only what has this sign counts |
| add up | $m = \sum_i w_i d_i$ |
| normalize, if asked for | $m \leftarrow m / \sum_i w_i$ over what counts; where weights cancel, $m$ is left as it is |
| scale | $\theta = \theta_0 + \lambda m$ |

Nothing is rescaled that sums to less than $10^{-7}$, before or after.

| method | keeps, of $N$ entries | elects | by default |
| --- | --- | --- | --- |
| task_arithmetic | all | | |
| ties | the $\max(1, \lfloor pN \rfloor)$ largest | yes | normalises |
| dare_linear, dare_ties | each with chance $p$ | the second | rescales |
| breadcrumbs, breadcrumbs_ties | the $\lfloor pN \rfloor$ largest after $\lfloor\gamma N\rfloor$ | the second | |
| della, della_linear | each with chance $p - \epsilon$ to $p + \epsilon$, by rank in the row | the first | rescales |

`della` normalises too. Where breadcrumbs has fewer than $\lfloor pN \rfloor$ left, it drops fewer of the largest.
Of entries with equal magnitudes the first in the tensor are kept (see `_order`). Random masks are ours, keyed and drawn
as in our `dare` and `della`: mergekit's come from one generator that all tensors share. Rows are those of the last
dimension; mergekit ranks tensors of three and more dimensions for della along the second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, final

import numpy as np
from jaxtyping import Float

from merganser.merging.methods import _breadcrumbs, _dare, _della, _linear, _ties
from merganser.merging.methods._della import row_ranks
from merganser.merging.methods._method import MergeMethod, Part, PerModel, Rule, Scan, Scope, parameter
from merganser.merging.methods._runs import run_sums
from merganser.merging.methods._ties import kept
from merganser.merging.methods.mergekit._consensus import agreeing_, counted
from merganser.merging.methods.mergekit._order import Border, Take, borders, taken_
from merganser.merging.methods.mergekit._renamed import rule_like
from merganser.weights import REDUCTION, row_run

if TYPE_CHECKING:
    from torch import Tensor

_NO_NORM = 1e-7
_NO_WEIGHT = 1e-8


class Found(NamedTuple):
    """What the first pass over a tensor found.

    Args:
        limits: What is kept of each model, as the method has it.
        factors: What each model's thinned task vector is multiplied with.
    """

    limits: Any
    factors: Sequence[float]


@dataclass(frozen=True)
class _TaskVectors(MergeMethod):
    """What all eight share."""

    elects: ClassVar[bool] = False
    thins: ClassVar[bool] = True
    measures: ClassVar[bool] = False

    weight: PerModel = parameter("weight of each model's task vector")
    density: PerModel = parameter("fraction of entries kept, or chance of each; all, from 1 on", 1.0, low=0.0)
    normalize: bool = parameter("divide by the weights that take part, rather than add up", False)
    rescale: bool = parameter("restore the L1 norm of what was thinned out", False)
    lambda_: float = parameter("scale of the merged task vector", 1.0)
    int8_mask: bool = parameter("accepted; it has no effect on the result", False)

    @property
    def scope(self) -> Scope:
        """What is kept may depend on the whole tensor, and L1 norms do."""
        return "tensor" if self._thins_any and (self.measures or self.rescale) else "none"

    @property
    def _thins_any(self) -> bool:
        return self.thins and min(self.density) < 1

    def limits(self, scan: Scan) -> Any:
        """What is kept of each model, where that depends on the whole tensor."""
        return None

    def thin_(self, part: Part, limits: Any) -> None:
        """Zero, in place, what is not kept of the models whose density is below 1."""

    def prepare(self, scan: Scan) -> Found:
        """Limits, and factors that restore the L1 norms."""
        limits = self.limits(scan)
        if not self.rescale:
            return Found(limits, [1.0] * scan.models)
        return Found(
            limits, _l1_factors(scan, lambda part: self.thin_(part, limits), whole_rows=self.whole_rows)
        )

    def combine(self, part: Part, stats: Found | None) -> Float[Tensor, " elements"]:
        """Thin out, scale, elect, add up."""
        if self._thins_any:
            self.thin_(part, None if stats is None else stats.limits)
        factors = [1.0] * len(part.values) if stats is None else stats.factors
        for delta, factor, weight in zip(part.values, factors, self.weight, strict=True):
            if factor != 1.0:
                delta.mul_(factor)
            delta.mul_(weight)
        merged = self._elected(part) if self.elects else self._sum(part)
        return merged if self.lambda_ == 1.0 else merged.mul_(self.lambda_)

    def _elected(self, part: Part) -> Float[Tensor, " elements"]:
        side = agreeing_(part.values)
        mixed = part.values.sum(dim=0).mul_(side)
        if not self.normalize:
            return mixed
        divisor = counted(part.values, self.weight)
        return mixed.div_(divisor.add_(divisor.eq(0.0)))

    def _sum(self, part: Part) -> Float[Tensor, " elements"]:
        total, divisor = part.values.sum(dim=0), sum(self.weight)
        return total.div_(divisor) if self.normalize and abs(divisor) >= _NO_WEIGHT else total


def _l1_factors(scan: Scan, thin_: Callable[[Part], None], *, whole_rows: bool) -> list[float]:
    """Factor for each model that restores its L1 norm; 1 where there is next to nothing before or after."""

    def measure(part: Part) -> Float[np.ndarray, "runs both_models"]:
        run = row_run(part.columns) if whole_rows else REDUCTION
        before = [run_sums(delta.abs(), run) for delta in part.values]
        thin_(part)
        return np.stack([*before, *(run_sums(delta.abs_(), run) for delta in part.values)], axis=1)

    before, after = np.concatenate(list(scan(measure))).sum(axis=0).reshape(2, scan.models)
    return [
        b / a if min(a, b) >= _NO_NORM else 1.0 for b, a in zip(before.tolist(), after.tolist(), strict=True)
    ]


def _magnitudes(part: Part) -> list[Float[Tensor, " elements"]]:
    """What entries are ordered by: in float32, whatever the models are."""
    return [delta.abs().float() for delta in part.values]


@final
class TaskArithmetic(_TaskVectors):
    """The base plus weighted task vectors; `density` and `rescale` have no effect."""

    rule: ClassVar[Rule] = rule_like(_linear.TaskArithmetic, space="deltas")
    thins = False


@final
@dataclass(frozen=True)
class Ties(_TaskVectors):
    """The largest entries, those that agree in sign averaged."""

    rule: ClassVar[Rule] = rule_like(_ties.Ties)
    elects = True
    measures = True

    normalize: bool = parameter("divide by the weights that take part, rather than add up", True)

    def limits(self, scan: Scan) -> list[Border]:
        """The last entry kept of each model."""
        return borders(scan, _magnitudes, [Take(i, kept(p, scan.numel)) for i, p in enumerate(self.density)])

    def thin_(self, part: Part, limits: list[Border]) -> None:
        """Zero the smaller entries."""
        for delta, magnitude, border in zip(part.values, _magnitudes(part), limits, strict=True):
            delta.mul_(taken_(magnitude, border, part.begin))


@dataclass(frozen=True)
class _Dare(_TaskVectors):
    """Each entry kept with the same chance."""

    rescale: bool = parameter("restore the L1 norm of what was thinned out", True)

    def thin_(self, part: Part, limits: None) -> None:
        """Zero entries at random."""
        for i, (delta, p) in enumerate(zip(part.values, self.density, strict=True)):
            if p < 1:
                delta.mul_(part.noise.keep(i, part.begin, p, like=delta))


@final
class DareLinear(_Dare):
    """Thinned at random, then added."""

    rule: ClassVar[Rule] = rule_like(_dare.DareLinear)


@final
class DareTies(_Dare):
    """Thinned at random, those that agree in sign added."""

    rule: ClassVar[Rule] = rule_like(_dare.DareTies)
    elects = True


@dataclass(frozen=True)
class _Breadcrumbs(_TaskVectors):
    """The middle of the order."""

    measures = True

    gamma: PerModel = parameter("fraction of largest entries dropped", 0.01, low=0.0)

    def limits(self, scan: Scan) -> list[Border]:
        """The last entries dropped at the bottom and not dropped at the top, of each model in turn."""
        takes: list[Take] = []
        for i, (p, gamma) in enumerate(zip(self.density, self.gamma, strict=True)):
            keep = scan.numel if p >= 1 else math.floor(p * scan.numel)
            bottom = max(0, scan.numel - keep - math.floor(gamma * scan.numel))
            takes += [Take(i, bottom, smallest=True), Take(i, bottom + keep, smallest=True)]
        return borders(scan, _magnitudes, takes)

    def thin_(self, part: Part, limits: list[Border]) -> None:
        """Zero the smallest entries and the outliers."""
        lower, upper = limits[::2], limits[1::2]
        for delta, magnitude, below, within in zip(part.values, _magnitudes(part), lower, upper, strict=True):
            dropped = taken_(magnitude.clone(), below, part.begin)
            delta.mul_(taken_(magnitude, within, part.begin).sub_(dropped))


@final
class Breadcrumbs(_Breadcrumbs):
    """The middle of each task vector, added."""

    rule: ClassVar[Rule] = rule_like(_breadcrumbs.Breadcrumbs)


@final
class BreadcrumbsTies(_Breadcrumbs):
    """The middle of each task vector, those that agree in sign added."""

    rule: ClassVar[Rule] = rule_like(_breadcrumbs.BreadcrumbsTies)
    elects = True


@dataclass(frozen=True)
class _Della(_TaskVectors):
    """Each entry kept with a chance by its rank in the row."""

    rescale: bool = parameter("restore the L1 norm of what was thinned out", True)
    epsilon: PerModel = parameter("how far the chances reach to both sides of the density", 0.15)

    def __post_init__(self) -> None:
        for p, epsilon in zip(self.density, self.epsilon, strict=True):
            if 0 < p < 1 and not 0 < p - abs(epsilon) <= p + abs(epsilon) < 1:
                raise ValueError(
                    "DELLA keeps entries with chances from density − epsilon to density + epsilon, which must lie in "
                    f"(0, 1), but they are {p - epsilon:g} and {p + epsilon:g}. Change density or epsilon."
                )

    @property
    def whole_rows(self) -> bool:
        """Ranks are those of rows."""
        return True

    def thin_(self, part: Part, limits: None) -> None:
        """Zero entries at random, small ones more often."""
        for i, (delta, p, epsilon) in enumerate(zip(part.values, self.density, self.epsilon, strict=True)):
            if 0 < p < 1:
                share = row_ranks(delta.abs().view(-1, part.columns)).view(-1).div_(max(part.columns - 1, 1))
                chance = share.mul_(2 * epsilon).add_(p - epsilon if part.columns > 1 else p)
                delta.mul_(part.noise.keep(i, part.begin, chance, like=delta))
            elif p <= 0:
                delta.mul_(0.0)


@final
@dataclass(frozen=True)
class Della(_Della):
    """Thinned by rank, those that agree in sign averaged."""

    rule: ClassVar[Rule] = rule_like(_della.Della)
    elects = True

    normalize: bool = parameter("divide by the weights that take part, rather than add up", True)


@final
class DellaLinear(_Della):
    """Thinned by rank, then added."""

    rule: ClassVar[Rule] = rule_like(_della.DellaLinear)
