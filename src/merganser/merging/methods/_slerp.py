r"""Interpolation on an arc between two models.

With $\Omega$ the angle between $a$ and $b$,

$$\mathrm{slerp}(a, b; t) = \frac{\sin((1-t)\Omega)}{\sin\Omega}\, a + \frac{\sin(t\Omega)}{\sin\Omega}\, b .$$

| method | vectors | $t$ | here |
| --- | --- | --- | --- |
| slerp | a tensor of the first and of the second model | `t` | [`Slerp`][] |
| nuslerp | the same, or differences from a base; tensors or their rows | $w_2 / (w_1 + w_2)$ | [`NuSlerp`][] |

Where the vectors are parallel ($\sin\Omega \le 10^{-6}$), opposite (to $10^{-3}$, which is what float32 can tell apart
from opposite), or zero there is no one arc: the line is taken.
Other tools take the line already from a cosine of 0.9995 on, which holds for most pairs of fine-tunes; here angles are
exact enough that this is not needed.

References:
    Shoemake, *Animating Rotation with Quaternion Curves*, SIGGRAPH 1985.
    Goddard et al., *Arcee's MergeKit*, 2024, https://arxiv.org/abs/2403.13257 (nuslerp's parameters).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from jaxtyping import Float

from merganser.merging.methods._method import PerModel, Rule, parameter
from merganser.merging.methods._span import Span, SpanMethod

_PARALLEL, _OPPOSITE = 1e-6, 1e-3


def arc_weights(angle: Float[np.ndarray, "..."], t: float) -> Float[np.ndarray, "... 2"]:
    r"""Weights $(\sin((1-t)\Omega), \sin(t\Omega)) / \sin\Omega$, or $(1-t, t)$ where there is no arc.

    Args:
        angle: $\Omega$ in radians; NaN where there is none.
        t: Where on the arc, from 0 (first) to 1 (second).

    Examples:
        >>> arc_weights(np.array(np.pi / 2), 0.5).round(4).tolist()
        [0.7071, 0.7071]
        >>> arc_weights(np.array(0.0), 0.25).tolist()
        [0.75, 0.25]
    """
    sine = np.nan_to_num(np.sin(angle))
    line = np.broadcast_to([1.0 - t, t], (*np.shape(angle), 2))
    arc = np.stack([np.sin((1.0 - t) * angle), np.sin(t * angle)], axis=-1)
    is_arc = (sine > np.where(np.cos(angle) > 0, _PARALLEL, _OPPOSITE))[..., None]
    return np.divide(arc, sine[..., None], out=line.copy(), where=is_arc)


@final
@dataclass(frozen=True)
class Slerp(SpanMethod):
    """Spherical linear interpolation of whole tensors."""

    rule: ClassVar[Rule] = Rule(
        "interpolation on an arc between two models, tensor by tensor",
        "https://dl.acm.org/doi/10.1145/325334.325242",
        base="refused",
        models=(2, 2),
        space="weights",
        laws=frozenset({"idempotent", "endpoints"}),
    )
    t: float = parameter("where on the arc: 0 is the first model, 1 the second", 0.5, low=0.0, high=1.0)

    def coefficients(self, span: Span) -> Float[np.ndarray, "... 2"]:
        """Weights of the two models."""
        return arc_weights(span.angle(*span.basis), self.t)


@final
@dataclass(frozen=True)
class NuSlerp(SpanMethod):
    """Slerp with weights, of models or of task vectors."""

    rule: ClassVar[Rule] = Rule(
        "interpolation on an arc between two models, or between their differences from a base",
        "2403.13257",
        base="optional",
        models=(2, 2),
        space="weights",
        laws=frozenset({"idempotent", "symmetric", "endpoints", "fixed_base"}),
    )
    weight: PerModel = parameter("weight of each model", 1.0, low=0.0)
    along: str = parameter("vectors are whole tensors, or the rows", "tensor", choices=("tensor", "rows"))

    @property
    def by_rows(self) -> bool:
        """Whether rows are the vectors."""
        return self.along == "rows"

    def coefficients(self, span: Span) -> Float[np.ndarray, "... 2"]:
        """Weights of the two models, or differences from the base."""
        total = sum(self.weight)
        t = self.weight[1] / total if total > 0 else 0.5
        return arc_weights(span.angle(*span.basis), t)
