r"""RAM: average where fine-tunes changed the same weights, add where only one did.

An entry of a task vector is *active* if $\lvert\delta_i\rvert > \epsilon$; $c$ counts the models active there.

| method | entry with $c = 1$ | entry with $c > 1$ |
| --- | --- | --- |
| ram | $\delta_i$ | $\frac1c \sum_{\text{active}} \delta_i$ |
| ramplus | $\lambda_i \delta_i$ with $\lambda_i = 1 + r \cdot \mathrm{clamp}(\rho_i, 0, \alpha)$ | the same |

$\rho_i$ is how many of model $i$'s active entries are shared beside how many are its own: over the whole model, or
over each tensor as in mergekit (`scope="tensor"`).

References:
    https://arxiv.org/abs/2601.13572 (Reinforced Agent Merging, 2026).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast, final

import numpy as np
from jaxtyping import Float, Int

from merganser.merging.methods._method import MergeMethod, Part, Rule, Scan, Scope, parameter

if TYPE_CHECKING:
    from torch import Tensor


def _activity(
    part: Part, epsilon: float
) -> tuple[Float[Tensor, "models elements"], Float[Tensor, " elements"]]:
    active = part.values.abs().gt_(epsilon)
    return active, active.sum(dim=0)


@final
@dataclass(frozen=True)
class Ram(MergeMethod):
    """Average of what is shared, sum of what is not."""

    rule: ClassVar[Rule] = Rule(
        "changes that models share averaged, changes of one model kept whole",
        "2601.13572",
        laws=frozenset({"symmetric", "fixed_base"}),
    )
    epsilon: float = parameter("magnitude above which a weight counts as changed", 1e-5, low=0.0)

    def combine(self, part: Part, stats: Any) -> Float[Tensor, " elements"]:
        """Average over the active; where one is active this is the entry itself."""
        active, count = _activity(part, self.epsilon)
        return part.values.mul_(active).sum(dim=0).div_(count.clamp_min_(1.0))


@final
@dataclass(frozen=True)
class RamPlus(MergeMethod):
    """RAM with what is not shared amplified."""

    rule: ClassVar[Rule] = Rule(
        "as ram, with the unshared changes of models that share much amplified",
        "2601.13572",
        laws=frozenset({"symmetric", "fixed_base"}),
    )
    epsilon: float = parameter("magnitude above which a weight counts as changed", 1e-5, low=0.0)
    r: float = parameter("how much a share amplifies", 0.1, low=0.0)
    alpha: float = parameter("greatest share that counts", 0.2, low=0.0)
    scope_: str = parameter(
        "count over the whole model, or each tensor", "model", choices=("model", "tensor")
    )

    @property
    def scope(self) -> Scope:
        """Where shares are counted."""
        return cast("Scope", self.scope_)

    def prepare(self, scan: Scan) -> Float[np.ndarray, " models"]:
        r"""Amplification $\lambda_i$ of each model."""

        def measure(part: Part) -> Int[np.ndarray, "models 2"]:
            active, count = _activity(part, self.epsilon)
            unique = (active * count.eq(1.0).to(active)).sum(dim=1)
            return np.stack([unique.cpu().numpy(), active.sum(dim=1).cpu().numpy()], axis=1).astype(np.int64)

        unique, active = sum(scan(measure), start=np.zeros((scan.models, 2), np.int64)).T
        shares = np.divide(active - unique, unique, out=np.zeros(scan.models), where=unique > 0)
        return 1 + self.r * np.clip(shares, 0.0, self.alpha)

    def combine(self, part: Part, stats: Float[np.ndarray, " models"]) -> Float[Tensor, " elements"]:
        """Average over the active, amplified where one is alone."""
        active, count = _activity(part, self.epsilon)
        alone = count.eq(1.0).to(count)
        part.values.mul_(active)
        total = part.values.sum(dim=0).div_(count.clamp_min_(1.0))
        for delta, factor in zip(part.values, stats.tolist(), strict=True):
            total.addcmul_(delta, alone, value=factor - 1.0)
        return total
