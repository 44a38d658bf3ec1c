r"""mergekit's means of several models, by their angles.

The terms are those of our `_spherical` and `_model_stock`; this is what differs:

| method | there, and not here | class |
| --- | --- | --- |
| multislerp | $\epsilon$ is added to lengths that divide, and to that of the step | [`MultiSlerp`][] |
| | one model is the result, whatever its weight; more than two that cancel are an error | |
| karcher | equal weights; ten steps; a step leaves out models nearer than `tol` | [`Karcher`][] |
| | a model no longer than `tol` counts towards the mean length only | |
| model_stock | the product of two lengths is at least $10^{-6}$: light fine-tunes stay at the base | [`ModelStock`][] |

Directions that sum to less than $10^{-3}$ have no mean direction here: their sum is rounding noise in float32. So are
mergekit's angles below $5 \cdot 10^{-4}$, with which karcher starts on very light fine-tunes; here they are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar, final

import numpy as np
from jaxtyping import Float

from merganser.merging.methods import _model_stock, _spherical
from merganser.merging.methods._method import PerModel, Rule, parameter
from merganser.merging.methods._span import Span
from merganser.merging.methods.mergekit._renamed import rule_like
from merganser.merging.methods.mergekit._span import DeltaSpan

_CANCELLED = 1e-3
_FLOOR = 1e-6
_SINGULAR = 1e-6

Coefficients = Float[np.ndarray, " models"]


@final
@dataclass(frozen=True)
class MultiSlerp(DeltaSpan):
    """Tangent-space mean on the sphere."""

    rule: ClassVar[Rule] = rule_like(_spherical.MultiSlerp)
    weight: PerModel = parameter("weight of each model")
    normalize_weights: bool = parameter("divide the weights by their sum", True)
    eps: float = parameter("what is added to lengths before they divide", 1e-8, low=0.0)

    def __post_init__(self) -> None:
        if self.normalize_weights and abs(sum(self.weight)) < 1e-8:
            raise ValueError(f"The weights {list(self.weight)} of `multislerp` sum to zero. Change them.")

    def coefficients(self, span: Span) -> Coefficients:
        """Coefficients of the mean."""
        if len(self.weight) == 1:
            return np.ones(1)
        weights = np.array(self.weight)
        if self.normalize_weights:
            weights = weights / weights.sum()
        lengths = span.norm_of_basis
        units = span.basis / np.maximum(lengths + self.eps, np.finfo(float).tiny)[:, None]
        mean = weights @ units
        if float(span.norm(mean)) < max(self.eps, _CANCELLED * np.abs(weights).sum()):
            if len(weights) == 2:
                return weights
            raise ValueError(
                "the directions of the models cancel with these weights, so `multislerp` has no mean direction. "
                "Change the weights."
            )
        mean = span.unit(mean)
        step = np.zeros_like(mean)
        for unit, weight in zip(units, weights, strict=True):
            step += weight * (unit - (unit @ span.gram @ mean) * mean)
        length = float(span.norm(step)) + self.eps
        sine = np.sin(length) / length if length > 0 else 1.0
        return float(weights @ lengths) * (np.cos(length) * mean + sine * step)


@final
@dataclass(frozen=True)
class Karcher(DeltaSpan):
    """Riemannian mean on the sphere, of equal weights; a base is one more model."""

    rule: ClassVar[Rule] = rule_like(_spherical.Karcher)
    max_iter: int = parameter("most steps", 10)
    tol: float = parameter("step in radians below which the mean stands still", 1e-5)

    def coefficients(self, span: Span) -> Coefficients:
        """Coefficients of the mean."""
        lengths = span.norm_of_basis
        seen = lengths > self.tol
        if len(lengths) == 1 or not seen.any():
            return np.ones(1) if len(lengths) == 1 else np.zeros(len(lengths))
        units, share = span.basis[seen] / lengths[seen, None], 1 / seen.sum()
        mean = share * units.sum(axis=0)
        mean = units[0] if span.norm(mean) < max(self.tol, _CANCELLED) else span.unit(mean)
        for _ in range(self.max_iter):
            step = np.zeros_like(mean)
            for unit in units:
                angle = float(span.angle(mean, unit))
                sine = np.sin(angle)
                if angle >= self.tol and sine > 0 and np.pi - angle > _CANCELLED:
                    step += share * (angle / sine) * (unit - np.cos(angle) * mean)
            length = float(span.norm(step))
            if length <= self.tol:
                break
            mean = span.unit(np.cos(length) * mean + np.sin(length) / length * step)
        return lengths.mean() * mean


@final
@dataclass(frozen=True)
class ModelStock(DeltaSpan):
    """Between base and mean, by the angle of the task vectors."""

    rule: ClassVar[Rule] = rule_like(_model_stock.ModelStock)
    filter_wise: bool = parameter("one angle per row, rather than per tensor", False)

    @property
    def by_rows(self) -> bool:
        """Whether rows are the vectors."""
        return self.filter_wise

    def coefficients(self, span: Span) -> Float[np.ndarray, "... models"]:
        """Coefficients of the task vectors."""
        n, lengths = len(span.basis), span.norm_of_basis
        cosines = [
            np.clip(span.gram[..., i, j] / np.maximum(lengths[..., i] * lengths[..., j], _FLOOR), -1.0, 1.0)
            for i, j in combinations(range(n), 2)
        ]
        c = np.mean(cosines, axis=0)
        bottom = 1 + (n - 1) * c
        t = np.divide(n * c, bottom, out=np.zeros_like(c), where=np.abs(bottom) >= _SINGULAR)
        return np.repeat(t[..., None] / n, n, axis=-1)
