r"""Sums of models with given weights.

| method | formula | here |
| --- | --- | --- |
| linear (model soup) | $\theta = \sum_i w_i \theta_i \,/\, \sum_i w_i$ | [`Linear`][] |
| task arithmetic | $\theta = \theta_0 + \lambda \sum_i w_i (\theta_i - \theta_0)$ | [`TaskArithmetic`][] |
| passthrough | $\theta = s\, \theta_1$ | [`Passthrough`][] |

References:
    Wortsman et al., *Model soups*, ICML 2022, https://arxiv.org/abs/2203.05482
    Ilharco et al., *Editing Models with Task Arithmetic*, ICLR 2023, https://arxiv.org/abs/2212.04089
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
from jaxtyping import Float

from merganser.merging.methods._method import MergeMethod, Part, PerModel, Rule, parameter
from merganser.merging.methods._mixture import Mixture
from merganser.merging.methods._span import mixture_of, weighted_sum

if TYPE_CHECKING:
    from torch import Tensor


@final
@dataclass(frozen=True)
class Linear(MergeMethod):
    """Weighted average."""

    rule: ClassVar[Rule] = Rule(
        "weighted average of the models",
        "2203.05482",
        base="refused",
        space="weights",
        laws=frozenset({"idempotent", "symmetric", "endpoints"}),
    )
    weight: PerModel = parameter("weight of each model", 1.0)
    normalize: bool = parameter("divide by the sum of the weights", True)

    @property
    def equivariant(self) -> bool:
        """The base stays if the weights sum to 1."""
        return self.normalize or math.isclose(sum(self.weight), 1.0, rel_tol=1e-12)

    def __post_init__(self) -> None:
        if self.normalize and abs(sum(self.weight)) < 1e-8:
            raise ValueError(
                f"The weights {list(self.weight)} of `linear` sum to zero, so they cannot be normalised. Change them, "
                "or set normalize to false."
            )

    def combine(self, part: Part, stats: Any) -> Float[Tensor, " elements"]:
        """Add up."""
        return weighted_sum(part, self._weights)

    @property
    def _weights(self) -> Float[np.ndarray, " models"]:
        weights = np.array(self.weight)
        return weights / weights.sum() if self.normalize else weights

    def mixture(self, tensor: str, begin: int, end: int, *, stats: Any, has_base: bool) -> Mixture | None:
        """The weights."""
        return mixture_of(self._weights, end - begin, has_base=has_base)


@final
@dataclass(frozen=True)
class TaskArithmetic(MergeMethod):
    """The base plus weighted task vectors."""

    rule: ClassVar[Rule] = Rule(
        "the base plus weighted differences from it",
        "2212.04089",
        space="weights",
        laws=frozenset({"symmetric", "endpoints", "fixed_base"}),
    )
    weight: PerModel = parameter("weight of each model's difference from the base", 1.0)
    normalize: bool = parameter("divide by the sum of the weights", False)
    lambda_: float = parameter("scale of the merged difference", 1.0)

    @property
    def equivariant(self) -> bool:
        """A sum is."""
        return True

    def __post_init__(self) -> None:
        if self.normalize and abs(sum(self.weight)) < 1e-8:
            raise ValueError(
                f"The weights {list(self.weight)} of `task_arithmetic` sum to zero, so they cannot be normalised. "
                "Change them, or set normalize to false."
            )

    def combine(self, part: Part, stats: Any) -> Float[Tensor, " elements"]:
        """Add up; in the models' own coordinates, which saves the subtractions."""
        return weighted_sum(part, self._weights)

    @property
    def _weights(self) -> Float[np.ndarray, " models"]:
        weights = self.lambda_ * np.array(self.weight)
        return weights / sum(self.weight) if self.normalize else weights

    def mixture(self, tensor: str, begin: int, end: int, *, stats: Any, has_base: bool) -> Mixture | None:
        """The weights."""
        return mixture_of(self._weights, end - begin, has_base=has_base)


@final
@dataclass(frozen=True)
class Passthrough(MergeMethod):
    """One model as it is, perhaps scaled."""

    rule: ClassVar[Rule] = Rule(
        "one model as it is, perhaps scaled",
        "https://github.com/arcee-ai/mergekit",
        base="refused",
        models=(1, 1),
        space="weights",
        laws=frozenset({"idempotent", "endpoints"}),
    )
    scale: PerModel = parameter("factor on every weight", 1.0)

    def combine(self, part: Part, stats: Any) -> Float[Tensor, " elements"]:
        """Scale."""
        return weighted_sum(part, np.array(self.scale))

    def mixture(self, tensor: str, begin: int, end: int, *, stats: Any, has_base: bool) -> Mixture | None:
        """The weights."""
        return mixture_of(np.array(self.scale), end - begin, has_base=has_base)
