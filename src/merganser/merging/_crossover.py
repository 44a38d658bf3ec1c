r"""Two parents, one child: interpolation on a line or an arc, with or without a split point.

Write $w$ for the weight and $x$ for the split point. Before the split the child takes weight $w$ of
parent B, after it weight $1 - w$; $w \in \{0, 1\}$ is the classic one-point crossover, $x = 0$ the plain
interpolation with weight $1 - w$ of B, $w = 1/2$ the midpoint everywhere.

| rule | weights $(a, b)$ at weight $t$ of B | here |
| --- | --- | --- |
| linear | $(1 - t,\ t)$ | [`linear_weights`][] |
| SLERP | $\big(\sin((1-t)\Omega),\ \sin(t\Omega)\big) / \sin\Omega$ | [`slerp_weights`][] |
| split point (eq. 2) | $t = w$ before $x$, $t = 1 - w$ from $x$ on | [`crossover`][] |

Two readings of the angle $\Omega$ in eq. 2 are offered: `angles="whole"`, one angle between the whole
vectors, as in the authors' code (default), and `angles="sides"`, one on each side of the split, as in the
paper's formula. Parents that are (anti)parallel, $\sin\Omega \le 10^{-6}$, or zero are interpolated linearly.

References:
    Abrantes, Lange, Tang, *Competition and Attraction Improve Model Fusion*, GECCO 2025,
    https://arxiv.org/abs/2508.16204 (eq. 2).
    Shoemake, *Animating Rotation with Quaternion Curves*, SIGGRAPH 1985 (SLERP).
"""

from __future__ import annotations

import math
from typing import Literal

from merganser.merging._combination import Combination, blend
from merganser.merging._gram import Gram

Angles = Literal["whole", "sides"]
Rule = Literal["slerp", "linear"]

_PARALLEL = 1e-6


def linear_weights(t: float) -> tuple[float, float]:
    """Weights of the two parents on a line, at weight `t` of the second."""
    return 1.0 - t, t


def slerp_weights(t: float, angle: float | None) -> tuple[float, float]:
    r"""Weights of the two parents on an arc, at weight `t` of the second.

    Args:
        t: Weight of the second parent, in [0, 1].
        angle: $\Omega$ between the parents, radians; None where one of them is zero.

    Examples:
        >>> slerp_weights(0.0, 1.0), slerp_weights(1.0, 1.0)
        ((1.0, 0.0), (0.0, 1.0))
        >>> slerp_weights(0.25, 0.0)
        (0.75, 0.25)
    """
    sine = 0.0 if angle is None else math.sin(angle)
    if angle is None or sine <= _PARALLEL:
        return linear_weights(t)
    return math.sin((1.0 - t) * angle) / sine, math.sin(t * angle) / sine


def crossover(
    first: Combination,
    second: Combination,
    *,
    weight: float,
    split: int = 0,
    gram: Gram | None = None,
    rule: Rule = "slerp",
    angles: Angles = "whole",
) -> Combination:
    """The child of two descendants, again as a combination of the seeds.

    Args:
        first: Parent A.
        second: Parent B.
        weight: Weight of B before the split, in [0, 1]; one minus it after the split.
        split: Position in [0, P]; with 0 the whole child takes weight `1 - weight` of B.
        gram: The seeds' inner products; needed by `slerp`.
        rule: On an arc or on a line.
        angles: One angle for the whole vectors, or one for each side of the split.

    Raises:
        ValueError: If `slerp` is asked for without `gram`, or the parents do not fit.
    """
    if rule == "linear":
        left, right = linear_weights(weight), linear_weights(1.0 - weight)
    elif gram is None:
        raise ValueError(
            "`slerp` needs the seeds' inner products. Pass `gram=Gram.of(seeds)`, or use rule='linear'."
        )
    elif angles == "whole":
        whole = gram.angle(first, second)
        left, right = slerp_weights(weight, whole), slerp_weights(1.0 - weight, whole)
    else:
        left = slerp_weights(weight, gram.angle(first, second, 0, split))
        right = slerp_weights(1.0 - weight, gram.angle(first, second, split))
    return blend(first, second, left, right, split)
