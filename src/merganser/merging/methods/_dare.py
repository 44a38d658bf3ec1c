r"""DARE: drop entries of task vectors at random, and scale up what stays.

$$\tilde\delta_i = \frac{m_i \odot \delta_i}{p}, \qquad m_i \sim \mathrm{Bernoulli}(p),$$

with $p$ the `density`, so that $\mathbb{E}\,\tilde\delta_i = \delta_i$. Then a plain sum (`dare_linear`) or TIES'
election of signs (`dare_ties`).

| `rescale` | factor on what stays |
| --- | --- |
| `exact` | $1/p$, as published, with $p$ as drawn: rounded to a multiple of 1/65,536 |
| `l1` | $\sum \lvert\delta\rvert / \sum \lvert m \odot \delta\rvert$ of the tensor, as in mergekit |
| `none` | 1 |

References:
    Yu et al., *Language Models are Super Mario: Absorbing Abilities from Homologous Models as a Free Lunch*, ICML 2024,
    https://arxiv.org/abs/2311.03099
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
from jaxtyping import Float

from merganser.merging.methods._consensus import thinned_sum
from merganser.merging.methods._method import MergeMethod, Part, PerModel, Rule, Scan, Scope, parameter
from merganser.merging.methods._noise import drawn_chance
from merganser.merging.methods._runs import run_sums
from merganser.weights import REDUCTION, row_run

if TYPE_CHECKING:
    from torch import Tensor

RESCALE = ("exact", "l1", "none")

_NOTHING = 1e-30


def l1_factors(scan: Scan, mask: Callable[[Part], None], *, whole_rows: bool = False) -> list[float]:
    r"""Factor for each model that restores $\sum\lvert\delta\rvert$ after masking.

    Args:
        scan: Over one tensor.
        mask: Masks a part's values in place.
        whole_rows: Whether parts hold whole rows.
    """

    def measure(part: Part) -> Float[np.ndarray, "runs both_models"]:
        run = row_run(part.columns) if whole_rows else REDUCTION
        before = [run_sums(delta.abs(), run) for delta in part.values]
        mask(part)
        return np.stack([*before, *(run_sums(delta.abs_(), run) for delta in part.values)], axis=1)

    before, after = np.concatenate(list(scan(measure))).sum(axis=0).reshape(2, scan.models)
    return [b / a if a > _NOTHING else 1.0 for b, a in zip(before.tolist(), after.tolist(), strict=True)]


def _drop_(part: Part, density: PerModel) -> None:
    for i, (delta, chance) in enumerate(zip(part.values, density, strict=True)):
        if chance < 1:
            delta.mul_(part.noise.keep(i, part.begin, chance, like=delta))


def _scales(density: PerModel, rescale: str, factors: list[float] | None) -> list[float]:
    if rescale == "l1":
        assert factors is not None
        return factors
    return [1 / drawn_chance(p) if rescale == "exact" and p > 0 else 1.0 for p in density]


@dataclass(frozen=True)
class _Dare(MergeMethod):
    """What both kinds share."""

    elects: ClassVar[bool]

    weight: PerModel = parameter("weight of each model's task vector", 1.0)
    density: PerModel = parameter("chance of each entry to be kept", 0.5, low=0.0, high=1.0)
    normalize: bool = parameter("divide by the weights that take part, rather than add up", False)
    rescale: str = parameter(
        "factor on what is kept: 1/density, or to the old L1 norm", "exact", choices=RESCALE
    )
    lambda_: float = parameter("scale of the merged task vector", 1.0)

    @property
    def scope(self) -> Scope:
        """L1 norms need a first pass."""
        return "tensor" if self.rescale == "l1" else "none"

    def prepare(self, scan: Scan) -> list[float] | None:
        """Factors that restore the L1 norms, if that is asked for."""
        return l1_factors(scan, lambda part: _drop_(part, self.density)) if self.rescale == "l1" else None

    def combine(self, part: Part, stats: list[float] | None) -> Float[Tensor, " elements"]:
        """Drop, scale, add up."""
        _drop_(part, self.density)
        scales = _scales(self.density, self.rescale, stats)
        return thinned_sum(
            part.values,
            self.weight,
            scales,
            elect=self.elects,
            normalize=self.normalize,
            lambda_=self.lambda_,
        )


@final
class DareLinear(_Dare):
    """Random drop, then a weighted sum."""

    rule: ClassVar[Rule] = Rule(
        "task vectors thinned at random and scaled up, then added",
        "2311.03099",
        laws=frozenset({"fixed_base"}),
    )
    elects = False


@final
class DareTies(_Dare):
    """Random drop, then elected signs."""

    rule: ClassVar[Rule] = Rule(
        "task vectors thinned at random and scaled up, those that agree in sign added",
        "2311.03099",
        laws=frozenset({"fixed_base"}),
    )
    elects = True
