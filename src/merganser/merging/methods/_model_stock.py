r"""Model stock: how far to trust the mean of fine-tunes, read off the angle between them.

Fine-tunes of one base lie on a shell around an unknown centre. If the $n$ task vectors $\delta_i$ have the pairwise
cosine $c$, the point nearest to the centre on the segment from base to mean is

$$\theta = t\, \bar\theta + (1 - t)\, \theta_0, \qquad t = \frac{n\, c}{1 + (n - 1)\, c} .$$

Here $c$ is the mean over all pairs. Like the paper we measure one angle per tensor (or per row, `along="rows"`).
Where $t$ has no value ($1 + (n-1)c = 0$) the base is kept. $t$ is not clamped: opposed task vectors give $t < 0$.

References:
    Jang, Yun, Han, *Model Stock: All we need is just a few fine-tuned models*, ECCV 2024,
    https://arxiv.org/abs/2403.19522 (eq. 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar, final

import numpy as np
from jaxtyping import Float

from merganser.merging.methods._method import Rule, parameter
from merganser.merging.methods._span import Span, SpanMethod

_SINGULAR = 1e-6


def stock_weights(span: Span) -> Float[np.ndarray, "... models"]:
    """Coefficient of each task vector, $t / n$; 0 where $t$ has no value. Zero task vectors have cosine 0 with all."""
    n = len(span.basis)
    cosines = [np.nan_to_num(np.cos(span.angle(a, b))) for a, b in combinations(span.basis, 2)]
    c = np.mean(cosines, axis=0)
    bottom = 1 + (n - 1) * c  # eq. 4
    t = np.divide(n * c, bottom, out=np.zeros_like(c), where=np.abs(bottom) >= _SINGULAR)
    return np.repeat(t[..., None] / n, n, axis=-1)


@final
@dataclass(frozen=True)
class ModelStock(SpanMethod):
    """Between base and mean, by the angle of the task vectors."""

    rule: ClassVar[Rule] = Rule(
        "between base and mean, by the angle between the fine-tunes",
        "2403.19522",
        models=(2, None),
        space="weights",
        laws=frozenset({"idempotent", "symmetric", "fixed_base"}),
    )
    along: str = parameter("one angle per tensor, or per row", "tensor", choices=("tensor", "rows"))

    @property
    def by_rows(self) -> bool:
        """Whether rows are the vectors."""
        return self.along == "rows"

    def coefficients(self, span: Span) -> Float[np.ndarray, "... models"]:
        """Coefficients of the task vectors."""
        return stock_weights(span)
