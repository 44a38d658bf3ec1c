r"""TIES: trim task vectors to their largest entries, elect signs, merge what agrees.

| step | here |
| --- | --- |
| trim: keep the `density` largest $\lvert\delta_i\rvert$ of the model | threshold from [`largest`][] |
| elect and merge | [`elected_sum`][] |
| $\theta = \theta_0 + \lambda\, m$ | the executor adds the base |

As published, one threshold per model is found over the whole task vector (`scope="model"`); mergekit finds one for each
tensor (`scope="tensor"`), which keeps as many entries of a layer norm as of a projection, relatively. Entries equal to
the threshold are all kept, as in the authors' code.

References:
    Yadav et al., *TIES-Merging: Resolving Interference When Merging Models*, NeurIPS 2023,
    https://arxiv.org/abs/2306.01708
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast, final

from jaxtyping import Float

from merganser.merging.methods._consensus import elected_sum
from merganser.merging.methods._method import MergeMethod, Part, PerModel, Rule, Scan, Scope, parameter
from merganser.merging.methods._select import Wanted, largest, magnitudes

if TYPE_CHECKING:
    from torch import Tensor


def kept(density: float, numel: int) -> int:
    """How many of a vector's entries a density keeps: at least one, unless it is 0; more than there are, if all."""
    if density <= 0 or density >= 1:
        return 0 if density <= 0 else numel + 1
    return max(1, math.floor(density * numel))


def trim_(delta: Float[Tensor, " elements"], threshold: float) -> Float[Tensor, " elements"]:
    """Zero the entries below a threshold in magnitude, in place; those that equal it stay."""
    import torch

    if threshold <= 0:
        return delta
    if threshold == math.inf:
        return delta.mul_(0.0)
    below = torch.tensor(threshold, dtype=delta.dtype)
    if below.item() >= threshold:
        below = below.nextafter(torch.zeros_like(below))
    return torch.ops.aten.hardshrink.out(delta, below.item(), out=delta)


@final
@dataclass(frozen=True)
class Ties(MergeMethod):
    """Trim, elect sign, disjoint merge."""

    rule: ClassVar[Rule] = Rule(
        "task vectors trimmed to their largest entries, those that agree in sign averaged",
        "2306.01708",
        laws=frozenset({"symmetric", "fixed_base"}),
    )
    weight: PerModel = parameter("weight of each model's task vector", 1.0)
    density: PerModel = parameter("fraction of entries kept", 0.2, low=0.0, high=1.0)
    normalize: bool = parameter("average over the models that agree, rather than add them up", True)
    lambda_: float = parameter("scale of the merged task vector", 1.0)
    scope_: str = parameter(
        "trim over the whole model, as published, or each tensor on its own",
        "model",
        choices=("model", "tensor"),
    )

    @property
    def scope(self) -> Scope:
        """Where the trim is measured."""
        return cast("Scope", self.scope_)

    @property
    def measured(self) -> Hashable:
        """Only densities decide thresholds."""
        return type(self), self.density

    def prepare(self, scan: Scan) -> list[float]:
        """Thresholds, one for each model."""
        wanted = [Wanted(i, kept(density, scan.numel)) for i, density in enumerate(self.density)]
        return largest(scan, magnitudes, wanted)

    def combine(self, part: Part, stats: list[float]) -> Float[Tensor, " elements"]:
        """Trim, elect, add up."""
        for delta, threshold in zip(part.values, stats, strict=True):
            trim_(delta, threshold)
        merged = elected_sum(part.values, self.weight, normalize=self.normalize)
        return merged if self.lambda_ == 1.0 else merged.mul_(self.lambda_)
