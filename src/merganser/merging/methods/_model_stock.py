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
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
from jaxtyping import Float

from merganser.merging.methods._method import MergeMethod, Part, Rule, Scan, Scope, parameter
from merganser.merging.methods._span import Span, gram, row_grams, weighted_rows, weighted_sum

if TYPE_CHECKING:
    from torch import Tensor

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
class ModelStock(MergeMethod):
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
    def scope(self) -> Scope:
        """Angles of whole tensors need a first pass, those of rows do not."""
        return "tensor" if self.along == "tensor" else "none"

    @property
    def whole_rows(self) -> bool:
        """Whether rows matter."""
        return self.along == "rows"

    def prepare(self, scan: Scan) -> Float[np.ndarray, " models"]:
        """Coefficients of the whole tensors."""
        return stock_weights(Span(gram(scan)))

    def combine(self, part: Part, stats: Float[np.ndarray, " models"] | None) -> Float[Tensor, " elements"]:
        """Add up, row by row where rows have angles of their own."""
        if stats is not None:
            return weighted_sum(part, stats)
        return weighted_rows(part, stock_weights(Span(row_grams(part))))
