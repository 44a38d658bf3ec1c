"""Adding up differences from the base as they are.

Our methods add up the models and the base (see `_span` there), which saves subtractions. mergekit's floors and unequal
lengths lead to coefficients in the hundreds, between which the weights themselves would cancel: here differences are
taken first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from merganser.merging.methods._method import Part
from merganser.merging.methods._span import SpanMethod

if TYPE_CHECKING:
    from torch import Tensor


class DeltaSpan(SpanMethod):
    """A method in the span of the models, or of their differences from the base."""

    def combine(
        self, part: Part, stats: Float[np.ndarray, "*columns models"] | None
    ) -> Float[Tensor, " elements"]:
        """Add up, row by row where rows are the vectors."""
        return super().combine(part, None) if stats is None else _add_up(part, stats)


def _add_up(part: Part, weights: Float[np.ndarray, "*columns models"]) -> Float[Tensor, " elements"]:
    """The base, if there is one, and the vectors by their coefficients, which may be those of columns."""
    import torch

    if part.base is not None:
        part.values -= part.base
    total = torch.zeros_like(part.values[0]) if part.base is None else part.base
    if weights.ndim == 1:
        for vector, weight in zip(part.values, weights.tolist(), strict=True):
            total.add_(vector, alpha=weight)
        return total
    rows, factors = total.view(-1, part.columns), torch.from_numpy(weights.T.copy()).to(total)
    for vector, factor in zip(part.values, factors, strict=True):
        rows.addcmul_(vector.view(-1, part.columns), factor)
    return total
