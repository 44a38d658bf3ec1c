r"""Means on the sphere, for any number of models.

Every model is taken apart into its length $r_i = |\theta_i|$ and its direction $u_i = \theta_i / r_i$. Directions are
averaged on the sphere, lengths on the line. With $\theta = \angle(u, u_i)$,

| map | formula |
| --- | --- |
| tangent at $u$ towards $u_i$ | $v_i = (u_i - \cos\theta\, u)$ |
| logarithm | $\log_u u_i = \frac{\theta}{\sin\theta}\, v_i$ |
| exponential | $\exp_u v = \cos\lvert v\rvert\, u + \sin\lvert v\rvert\, v / \lvert v\rvert$ |

| method | direction | length | here |
| --- | --- | --- | --- |
| karcher | $u \leftarrow \exp_u \big(\sum_i w_i \log_u u_i\big)$ until still | $\sum_i w_i r_i$ | [`Karcher`][] |
| multislerp | one step $\exp_m \big(\sum_i w_i v_i\big)$ from the mean $m$ | $\sum_i w_i r_i$ | [`MultiSlerp`][] |

All of it happens in the span of the models (see `_span`), on a few numbers in float64. With a base, multislerp works
on differences from it.

References:
    https://arxiv.org/abs/2603.04972 (the Karcher mean for merging, 2026).
    Goddard, *multislerp*, https://goddard.blog/posts/multislerp-wow-what-a-cool-idea
    Karcher, *Riemannian Center of Mass and Mollifier Smoothing*, CPAM 1977.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from jaxtyping import Float

from merganser.merging.methods._method import PerModel, Rule, parameter
from merganser.merging.methods._span import Span, SpanMethod

_ZERO = 1e-8
_OPPOSITE = 1e-3
"""Radians around the opposite pole from where every way is as long; float32 can tell no closer."""

Coefficients = Float[np.ndarray, " models"]


def karcher_mean(
    span: Span, weights: Float[np.ndarray, " models"], *, max_iter: int, tol: float
) -> Coefficients:
    """Riemannian mean of the directions, at the mean length.

    Models of length zero count towards the mean length, not towards the direction; nor do, in a step, models on the
    opposite side of the mean.

    Args:
        span: Where the models lie.
        weights: Their weights, which sum to 1.
        max_iter: Most steps.
        tol: Step length in radians below which the mean stands still.
    """
    lengths = span.norm_of_basis
    seen = (lengths > 0) & (weights > 0)
    if not seen.any():
        return weights
    units, shares = span.basis[seen] / lengths[seen, None], weights[seen] / weights[seen].sum()
    mean = shares @ units
    if span.norm(mean) < _OPPOSITE:  # they cancel: start from any of them
        mean = units[0]
    mean = span.unit(mean)
    for _ in range(max_iter):
        step = np.zeros_like(mean)
        for unit, share in zip(units, shares, strict=True):
            angle = float(span.angle(mean, unit))
            step += share * _stretch(angle) * (unit - np.cos(angle) * mean)
        length = float(span.norm(step))
        if length <= tol:
            break
        mean = span.unit(_exponential(mean, step, length))
    return float(weights @ lengths) * mean


def tangent_mean(span: Span, weights: Float[np.ndarray, " models"], eps: float) -> Coefficients:
    """One step of averaging in the tangent space at the normalised mean, at the mean length.

    Args:
        span: Where the models lie.
        weights: Their weights.
        eps: Length below which a sum of directions is nothing; what float32 cannot tell from nothing is so too.
    """
    lengths = span.norm_of_basis
    units = span.unit(span.basis)
    mean = weights @ units
    if float(span.norm(mean)) < max(eps, _OPPOSITE * np.abs(weights).sum()):
        return weights  # there is no mean direction: the line is taken
    mean = span.unit(mean)
    step = np.zeros_like(mean)
    for unit, weight, length in zip(units, weights, lengths, strict=True):
        if length > 0:
            step += weight * (unit - np.cos(span.angle(mean, unit)) * mean)
    length = float(span.norm(step))
    direction = _exponential(mean, step, length) if length > eps else mean
    return float(weights @ lengths) * direction


@final
@dataclass(frozen=True)
class Karcher(SpanMethod):
    """Riemannian mean on the sphere."""

    rule: ClassVar[Rule] = Rule(
        "mean on the sphere of any number of models, found by iteration",
        "2603.04972",
        base="refused",
        space="weights",
        laws=frozenset({"idempotent", "symmetric", "endpoints"}),
    )
    weight: PerModel = parameter("weight of each model", 1.0, low=0.0)
    max_iter: int = parameter("most steps", 100, low=1.0)
    tol: float = parameter("step in radians below which the mean stands still", 1e-9, low=0.0)

    def __post_init__(self) -> None:
        if sum(self.weight) <= 0:
            raise ValueError("`karcher` needs at least one weight above zero, but all are zero.")

    def coefficients(self, span: Span) -> Coefficients:
        """Coefficients of the mean."""
        weights = np.array(self.weight) / sum(self.weight)
        return karcher_mean(span, weights, max_iter=self.max_iter, tol=self.tol)


@final
@dataclass(frozen=True)
class MultiSlerp(SpanMethod):
    """Tangent-space mean on the sphere."""

    rule: ClassVar[Rule] = Rule(
        "mean on the sphere of any number of models, in one step",
        "https://goddard.blog/posts/multislerp-wow-what-a-cool-idea",
        base="optional",
        space="weights",
        laws=frozenset({"idempotent", "symmetric", "endpoints", "fixed_base"}),
    )
    weight: PerModel = parameter("weight of each model", 1.0)
    normalize_weights: bool = parameter("divide the weights by their sum", True)
    eps: float = parameter("length below which a sum of directions is nothing", 1e-8, low=0.0)

    def __post_init__(self) -> None:
        if self.normalize_weights and abs(sum(self.weight)) < _ZERO:
            raise ValueError(f"The weights {list(self.weight)} of `multislerp` sum to zero. Change them.")

    def coefficients(self, span: Span) -> Coefficients:
        """Coefficients of the mean."""
        weights = np.array(self.weight)
        if self.normalize_weights:
            weights = weights / weights.sum()
        return tangent_mean(span, weights, self.eps)


def _stretch(angle: float) -> float:
    """Length of the logarithm beside that of the tangent; 0 at the opposite pole."""
    sine = np.sin(angle)
    if angle > 1 and sine < _OPPOSITE:
        return 0.0
    return angle / sine if sine > 0 else 1.0


def _exponential(point: Coefficients, step: Coefficients, length: float) -> Coefficients:
    return np.cos(length) * point + np.sin(length) / length * step
