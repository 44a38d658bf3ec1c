"""A stretch of a tensor as a fixed linear combination of its sources: what can be computed in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False, slots=True)
class Mixture:
    """Coefficients of a stretch's sources, constant between breaks.

    An element is computed in float32, product by product and sum by sum in the order of the sources, then multiplied
    by the factor.

    Attributes:
        breaks: Where coefficients change, ascending from 0 to the number of elements of the stretch.
        coefficients: What each source, the base first if there is one, contributes to each segment.
        factor: What every sum is multiplied by; 1/q for a whole q divides by q.
    """

    breaks: Int[np.ndarray, " breaks"]
    coefficients: Float[np.ndarray, "segments sources"]
    factor: float = 1.0

    def between(self, begin: int, end: int) -> Mixture:
        """The mixture of elements [begin, end) alone.

        Examples:
            >>> whole = Mixture(np.array([0, 3, 9]), np.array([[1.0], [2.0]]))
            >>> whole.between(4, 7)
            Mixture(breaks=array([0, 3]), coefficients=array([[2.]]), factor=1.0)
        """
        first = int(np.searchsorted(self.breaks, begin, side="right")) - 1
        last = int(np.searchsorted(self.breaks, end, side="left"))
        breaks = np.clip(self.breaks[first : last + 1], begin, end) - begin
        return Mixture(breaks, self.coefficients[first:last], self.factor)
