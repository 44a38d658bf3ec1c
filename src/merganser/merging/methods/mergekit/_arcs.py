r"""mergekit's interpolation between two models, on an arc.

With the cosine $c$ of the two vectors, $\theta = \arccos c$,

$$a, b \mapsto \frac{\sin((1-t)\theta)}{\sin\theta}\, a + \frac{\sin(t\theta)}{\sin\theta}\, b .$$

| method | vectors | $t$ | a line where | class |
| --- | --- | --- | --- | --- |
| slerp | a tensor of base and model | `t` | $\lvert c\rvert > 0.9995$ | [`Slerp`][] |
| nuslerp | tensors, rows or columns; of models or task vectors | $w_2 / (w_1 + w_2)$ | $c = \pm 1$ | [`NuSlerp`][] |

In $c$, lengths up to $10^{-8}$ count as 1 (slerp), those below $10^{-7}$ as $10^{-7}$ (nuslerp). So a vector of
length zero is at a right angle to all others, and not, as in our methods, on a line with them. $c = \pm 1$ is meant in
float32: near the opposite pole, mergekit's float32 cosine leaves the choice to rounding.

The columns (`nuslerp_row_wise`, whose name says rows) are those of a matrix. A tensor with one row is one vector: for
a matrix of one row mergekit takes every entry for a vector of its own. In tensors of three and more dimensions its
vectors lie along the first one, here along all but the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
from jaxtyping import Float

from merganser.merging.methods import _slerp
from merganser.merging.methods._method import MergeMethod, Part, PerModel, Rule, Scan, Scope, parameter
from merganser.merging.methods._runs import run_dots
from merganser.merging.methods._span import Span
from merganser.merging.methods.mergekit._renamed import rule_like
from merganser.merging.methods.mergekit._span import DeltaSpan

if TYPE_CHECKING:
    from torch import Tensor

_SLERP_LINE = 0.9995
_NUSLERP_LINE = 1 - 2**-25  # what is above rounds to 1 in float32
_SLERP_ZERO = 1e-8
_NUSLERP_ZERO = 1e-7
_NO_WEIGHT = 1e-6


def arc_weights(cosine: Float[np.ndarray, "..."], t: float, *, line: float) -> Float[np.ndarray, "... 2"]:
    """Weights of the two vectors on the arc, or on the line.

    Args:
        cosine: Of the angle between them.
        t: Where, from 0 (first) to 1 (second), or beyond.
        line: Above which cosine, either way, the line is taken.
    """
    is_line = np.abs(cosine) > line
    angle = np.arccos(np.where(is_line, 0.0, cosine))
    arc = np.stack([np.sin((1 - t) * angle), np.sin(t * angle)], axis=-1) / np.sin(angle)[..., None]
    return np.where(is_line[..., None], [1 - t, t], arc)


@final
@dataclass(frozen=True)
class Slerp(MergeMethod):
    """From the base (t = 0) to the model (t = 1), tensor by tensor."""

    rule: ClassVar[Rule] = rule_like(_slerp.Slerp, base="required", models=(1, 1))
    t: float = parameter("where on the arc: 0 is the base, 1 the model")

    @property
    def scope(self) -> Scope:
        """The angle is the whole tensor's."""
        return "tensor"

    def prepare(self, scan: Scan) -> Float[np.ndarray, " 2"]:
        """Weights of base and model."""
        runs = np.concatenate(list(scan(_products)))
        aa, ab, bb = runs.sum(axis=0)
        lengths = np.sqrt([aa, bb])
        lengths[lengths <= _SLERP_ZERO] = 1.0
        cosine = np.clip(ab / lengths.prod(), -1.0, 1.0)
        return arc_weights(np.asarray(cosine), self.t, line=_SLERP_LINE)

    def combine(self, part: Part, stats: Float[np.ndarray, " 2"]) -> Float[Tensor, " elements"]:
        """Add up."""
        assert part.base is not None
        first, second = stats.tolist()
        return part.base.mul_(first).add_(part.values[0], alpha=second)


@final
@dataclass(frozen=True)
class NuSlerp(DeltaSpan):
    """Slerp with weights, of models or of task vectors."""

    rule: ClassVar[Rule] = rule_like(_slerp.NuSlerp)
    weight: PerModel = parameter("weight of each model")
    nuslerp_row_wise: bool = parameter(
        "if not flattened: vectors are the columns, rather than the rows", False
    )
    nuslerp_flatten: bool = parameter("vectors are whole tensors", True)

    @property
    def by_rows(self) -> bool:
        """Whether rows are the vectors."""
        return not self.nuslerp_flatten and not self.nuslerp_row_wise

    @property
    def by_columns(self) -> bool:
        """Whether columns are the vectors."""
        return not self.nuslerp_flatten and self.nuslerp_row_wise

    @property
    def whole_rows(self) -> bool:
        """Whether rows or columns matter."""
        return not self.nuslerp_flatten

    def coefficients(self, span: Span) -> Float[np.ndarray, "... 2"]:
        """Weights of the two models, or differences from the base."""
        total = sum(self.weight)
        t = 0.5 if abs(total) < _NO_WEIGHT else self.weight[1] / total
        lengths = np.maximum(span.norm_of_basis, _NUSLERP_ZERO)
        cosine = np.clip(span.gram[..., 0, 1] / lengths.prod(axis=-1), -1.0, 1.0)
        return arc_weights(np.asarray(cosine), t, line=_NUSLERP_LINE)

    def prepare(self, scan: Scan) -> Float[np.ndarray, "... 2"]:
        """Weights for the tensor, or for each of its columns."""
        if not self.by_columns:
            return super().prepare(scan)
        grams = _column_grams(scan)
        is_vector = len(grams) == scan.numel
        return self.coefficients(Span(grams.sum(axis=0) if is_vector else grams))


def _products(part: Part) -> Float[np.ndarray, "runs 3"]:
    assert part.base is not None
    pairs = combinations_with_replacement((part.base, part.values[0]), 2)
    return np.stack([run_dots(a, b) for a, b in pairs], axis=1)


def _column_grams(scan: Scan) -> Float[np.ndarray, "columns 2 2"]:
    """Gram matrices of the columns."""
    total: np.ndarray | None = None
    for products in scan(_row_products):
        # row after row, so that no cut into parts changes the sum
        total = np.add.reduce(products if total is None else np.concatenate([total[None], products]), axis=0)
    assert total is not None
    aa, ab, bb = total
    return np.stack([aa, ab, ab, bb], axis=-1).reshape(-1, 2, 2)


def _row_products(part: Part) -> Float[np.ndarray, "rows 3 columns"]:
    if part.base is not None:
        part.values -= part.base
    a, b = (vector.double().cpu().numpy().reshape(-1, part.columns) for vector in part.values)
    return np.stack([a * a, a * b, b * b], axis=1)
