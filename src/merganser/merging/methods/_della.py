r"""DELLA: like DARE, but large entries of a row are dropped less often.

Entries of a row are ranked by magnitude, $r = 1$ for the smallest of $R$. With the `density` $p$ and width $\epsilon$,

$$p_r = p - \epsilon + 2\epsilon\, \frac{r - 1}{R - 1}, \qquad
\tilde\delta = \frac{m \odot \delta}{p_r}, \quad m \sim \mathrm{Bernoulli}(p_r) .$$

Then TIES' election of signs (`della`) or a plain sum (`della_linear`). A vector is one row; of entries with one
magnitude the first in the row has the lowest rank. `rescale` as in DARE: `exact` divides by each entry's own $p_r$, as
published (rounded to a multiple of 1/65,536, as it is drawn), `l1` restores the tensor's L1 norm, as in mergekit.

References:
    Deep, Bhardwaj, Poria, *DELLA-Merging: Reducing Interference in Model Merging through Magnitude-Based Sampling*,
    2024, https://arxiv.org/abs/2406.11617
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from jaxtyping import Float

from merganser.merging.methods._consensus import thinned_sum
from merganser.merging.methods._dare import RESCALE, l1_factors
from merganser.merging.methods._method import MergeMethod, Part, PerModel, Rule, Scan, Scope, parameter
from merganser.merging.methods._noise import LEVELS

if TYPE_CHECKING:
    from torch import Tensor


def row_ranks(magnitude: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    """Rank of each entry in its row, from 0 for the smallest; earlier ones rank lower among equals.

    Examples:
        >>> import torch
        >>> row_ranks(torch.tensor([[3.0, 1.0, 3.0, 2.0]]))
        tensor([[2., 0., 3., 1.]])
    """
    import torch

    columns = magnitude.shape[1]
    places = torch.arange(columns, device=magnitude.device)
    if magnitude.dtype == torch.float32 and magnitude.device.type == "cpu":
        # non-negative floats sort like their bits: one sort of whole numbers, with the place in the low half
        keys = magnitude.view(torch.int32).long().bitwise_left_shift_(32).bitwise_or_(places).numpy()
        keys.sort(axis=1)
        order = torch.from_numpy(keys).bitwise_and_(0xFFFFFFFF)
    else:
        order = magnitude.argsort(dim=1, stable=True)
    return torch.empty_like(magnitude).scatter_(1, order, places.to(magnitude).expand_as(magnitude))


def _drop_(part: Part, density: PerModel, epsilon: float, *, rescale: bool) -> None:
    for i, (delta, p) in enumerate(zip(part.values, density, strict=True)):
        if p >= 1:
            continue
        chance = row_ranks(delta.abs().view(-1, part.columns)).view(-1)
        slope = 2 * epsilon / max(part.columns - 1, 1)
        chance.mul_(slope * LEVELS).add_((p - epsilon if part.columns > 1 else p) * LEVELS)
        chance.round_().clamp_min_(1.0).mul_(1 / LEVELS)  # as it is drawn
        delta.mul_(part.noise.keep(i, part.begin, chance, like=delta))
        if rescale:
            delta.div_(chance)


@dataclass(frozen=True)
class _Della(MergeMethod):
    """What both kinds share."""

    elects: ClassVar[bool]

    weight: PerModel = parameter("weight of each model's task vector", 1.0)
    density: PerModel = parameter("mean chance of an entry to be kept", 0.5, low=0.0, high=1.0)
    epsilon: float = parameter(
        "how far the chances reach to both sides of the density", 0.1, low=0.0, high=0.5
    )
    normalize: bool = parameter("divide by the weights that take part, rather than add up", False)
    rescale: str = parameter(
        "factor on what is kept: 1/chance, or to the old L1 norm", "exact", choices=RESCALE
    )
    lambda_: float = parameter("scale of the merged task vector", 1.0)

    def __post_init__(self) -> None:
        for p in self.density:
            if p < 1 and not (self.epsilon < p < 1 - self.epsilon):
                raise ValueError(
                    "DELLA keeps entries with chances from density − epsilon to density + epsilon, which must lie in "
                    f"(0, 1), but they are {p - self.epsilon:g} and {p + self.epsilon:g}. Change density or epsilon."
                )

    @property
    def scope(self) -> Scope:
        """L1 norms need a first pass."""
        return "tensor" if self.rescale == "l1" else "none"

    @property
    def whole_rows(self) -> bool:
        """Ranks are those of rows."""
        return True

    def prepare(self, scan: Scan) -> list[float] | None:
        """Factors that restore the L1 norms, if that is asked for."""
        if self.rescale != "l1":
            return None
        return l1_factors(
            scan, lambda part: _drop_(part, self.density, self.epsilon, rescale=False), whole_rows=True
        )

    def combine(self, part: Part, stats: list[float] | None) -> Float[Tensor, " elements"]:
        """Drop, scale, add up."""
        _drop_(part, self.density, self.epsilon, rescale=self.rescale == "exact")
        scales = stats or [1.0] * len(part.values)
        return thinned_sum(
            part.values,
            self.weight,
            scales,
            elect=self.elects,
            normalize=self.normalize,
            lambda_=self.lambda_,
        )


@final
@dataclass(frozen=True)
class Della(_Della):
    """Drop by rank, then elected signs."""

    rule: ClassVar[Rule] = Rule(
        "task vectors thinned at random, small entries more; those that agree in sign averaged",
        "2406.11617",
        laws=frozenset({"fixed_base"}),
    )
    elects = True

    normalize: bool = parameter("divide by the weights that take part, rather than add up", True)


@final
class DellaLinear(_Della):
    """Drop by rank, then a weighted sum."""

    rule: ClassVar[Rule] = Rule(
        "task vectors thinned at random, small entries more, then added",
        "2406.11617",
        laws=frozenset({"fixed_base"}),
    )
    elects = False
