r"""Fisher merging: every parameter is the models' mean, weighted by how much each of them depends on it.

$$\theta = \frac{\sum_t w_t\, \hat F_t\, \theta_t}{\sum_t w_t\, \hat F_t}, \qquad
\hat F_t = \max(F_t / \bar F_t,\ \varepsilon), \qquad
F_t = \mathbb E_x\, \mathbb E_{y \sim p_t(y|x)} \big[ (\nabla_\theta \log p_t(y|x))^2 \big]$$

element by element: the mode of the product of Gaussians around the models, whose precisions are the diagonals of their
Fisher information. $\bar F_t$ is the mean of $F_t$ over all of the model's parameters, so that no model outweighs
another because its data were harder; $\varepsilon$ is `floor`, so that where no model is sensitive the result is their
mean.

The authors tune $w_t$ on validation data and floor $F_t$ itself; a floor beside the mean knows no scale. Parameters
without Fisher information, such as running means, become the mean with the weights $w_t$.

References:
    Matena and Raffel, *Merging Models with Fisher-Weighted Averaging*, NeurIPS 2022,
    https://arxiv.org/abs/2111.09832
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
from jaxtyping import Float

from merganser.merging.methods._method import MergeMethod, Part, PerModel, Rule, Scan, Scope, parameter
from merganser.merging.methods._runs import run_sums
from merganser.merging.methods._span import weighted_sum

if TYPE_CHECKING:
    from torch import Tensor


@final
@dataclass(frozen=True)
class Fisher(MergeMethod):
    """The mean of the models, weighted by the diagonals of their Fisher information."""

    rule: ClassVar[Rule] = Rule(
        "average weighted by Fisher information: by how much each model depends on a parameter",
        "2111.09832",
        base="refused",
        space="weights",
        laws=frozenset({"idempotent", "symmetric", "endpoints"}),
        statistics="fisher",
    )
    weight: PerModel = parameter("weight of each model", 1.0, low=0.0)
    floor: float = parameter(
        "least Fisher information, beside the mean over the model's parameters", 1e-6, low=1e-12
    )

    def __post_init__(self) -> None:
        if not sum(self.weight):
            raise ValueError("The weights of `fisher` are all zero. At least one model must have a weight.")

    @property
    def scope(self) -> Scope:
        """The whole model, for the means."""
        return "model"

    @property
    def measured(self) -> str:
        """Means do not depend on parameters."""
        return "fisher"

    def prepare(self, scan: Scan) -> Float[np.ndarray, " models"]:
        r"""The means $\bar F_t$; 1 for a model that depends on nothing."""
        found = [sums for sums in scan(_sums) if sums is not None]
        if not found:
            return np.ones(scan.models)
        totals = np.array([math.fsum(row) for row in np.concatenate(found, axis=1)])
        count = totals[-1]
        return np.where(totals[:-1] > 0, totals[:-1] / count, 1.0)

    def combine(self, part: Part, stats: Float[np.ndarray, " models"]) -> Float[Tensor, " elements"]:
        """The weighted mean, in float64."""
        import torch

        if part.fisher is None:
            return weighted_sum(part, np.array(self.weight) / sum(self.weight))
        scale = torch.from_numpy(stats).to(part.fisher.device)
        shares = part.fisher.double().div_(scale[:, None]).clamp_min_(self.floor)
        shares.mul_(shares.new_tensor(self.weight)[:, None])
        shares.div_(shares.sum(dim=0))
        return shares.mul_(part.values).sum(dim=0).to(part.values.dtype)


def _sums(part: Part) -> Float[np.ndarray, "models_and_count runs"] | None:
    """Sums of Fisher information, run by run, one model a row; last, how many elements."""
    if part.fisher is None:
        return None
    sums = np.stack([run_sums(row) for row in part.fisher])
    if not np.isfinite(sums).all():
        raise ValueError("Fisher information is NaN or infinite, or too large to be summed.")
    counts = np.zeros(sums.shape[1])
    counts[0] = part.fisher.shape[1]
    return np.concatenate([sums, counts[None]])
