r"""Merges that stay in the span of the models: all they need to know is a Gram matrix.

Interpolation on a line or an arc, spherical means and model stocks all give

$$\theta = \sum_i c_i\, v_i \qquad\text{or}\qquad \theta = \theta_0 + \sum_i c_i\, v_i,$$

where the vectors $v_i$ are the models, or their differences from a base $\theta_0$ where there is one, and the
coefficients $c$ depend on lengths and angles only. So one pass measures the Gram matrix
$G_{ij} = \langle v_i, v_j \rangle$, a few lines of float64 on $n \times n$ numbers find $c$, and a second pass adds up:
no method here, however many iterations it makes, touches the weights more than twice.

An angle is $2\,\mathrm{atan2}(|u - v|, |u + v|)$ for unit vectors $u, v$ (Kahan), which is exact where they agree and
where they oppose. The second sum is computed as $(1 - \sum_i c_i)\,\theta_0 + \sum_i c_i \theta_i$.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from merganser.merging.methods._fractions import common_factor, scale_
from merganser.merging.methods._method import MergeMethod, Part, Scan, Scope
from merganser.merging.methods._mixture import Mixture
from merganser.merging.methods._runs import row_dots, run_dots

if TYPE_CHECKING:
    from torch import Tensor


class Span:
    """Lengths and angles of vectors that are given by coefficients over a basis.

    Args:
        gram: Inner products of the basis vectors, float64; leading dimensions, if any, are independent cases.

    Examples:
        >>> plane = Span(np.eye(2))
        >>> float(plane.angle(np.array([1.0, 0.0]), np.array([0.0, 2.0]))) == np.pi / 2
        True
    """

    def __init__(self, gram: Float[np.ndarray, "... models models"]) -> None:
        self.gram = gram

    @property
    def basis(self) -> Float[np.ndarray, "models models"]:
        """The basis vectors themselves."""
        return np.eye(self.gram.shape[-1])

    @property
    def norm_of_basis(self) -> Float[np.ndarray, "... models"]:
        """Lengths of the basis vectors."""
        return np.sqrt(np.maximum(np.diagonal(self.gram, axis1=-2, axis2=-1), 0.0))

    def norm(self, a: Float[np.ndarray, "... models"]) -> Float[np.ndarray, "..."]:
        """Length."""
        return np.asarray(np.sqrt(np.maximum(np.einsum("...i,...ij,...j->...", a, self.gram, a), 0.0)))

    def unit(self, a: Float[np.ndarray, "... models"]) -> Float[np.ndarray, "... models"]:
        """The vector at length 1; zero stays zero."""
        length = self.norm(a)[..., None]
        return a / np.where(length > 0, length, 1.0)

    def angle(
        self, a: Float[np.ndarray, "... models"], b: Float[np.ndarray, "... models"]
    ) -> Float[np.ndarray, "..."]:
        """Angle in radians, in [0, π]; NaN where one of the two is zero."""
        u, v = self.unit(a), self.unit(b)
        angle = 2 * np.arctan2(self.norm(u - v), self.norm(u + v))
        return np.asarray(np.where((self.norm(a) > 0) & (self.norm(b) > 0), angle, np.nan))


class SpanMethod(MergeMethod):
    """A method of this kind: what it has to say is how coefficients follow from the Gram matrix."""

    @property
    def by_rows(self) -> bool:
        """Whether every row is a vector of its own, rather than the whole tensor."""
        return False

    @property
    def equivariant(self) -> bool:
        """Gram matrices of whole task vectors are the same in every basis; those of weights hold the base's too."""
        return not self.by_rows and self.rule.base != "refused"

    @abstractmethod
    def coefficients(self, span: Span) -> Float[np.ndarray, "... models"]:
        """Coefficients of the models, or of their differences from the base."""

    @property
    def scope(self) -> Scope:
        """Whole tensors need a first pass, rows do not."""
        return "none" if self.by_rows else "tensor"

    @property
    def whole_rows(self) -> bool:
        """Whether rows matter."""
        return self.by_rows

    def prepare(self, scan: Scan) -> Float[np.ndarray, " models"]:
        """Coefficients for the whole tensor."""
        return self.coefficients(Span(gram(scan)))

    def mixture(
        self, tensor: str, begin: int, end: int, *, stats: Float[np.ndarray, " models"] | None, has_base: bool
    ) -> Mixture | None:
        """The coefficients, where they are those of whole tensors."""
        return None if stats is None else mixture_of(stats, end - begin, has_base=has_base)

    def combine(self, part: Part, stats: Float[np.ndarray, " models"] | None) -> Float[Tensor, " elements"]:
        """Add up, row by row where rows are the vectors."""
        if stats is not None:
            return weighted_sum(part, stats)
        return weighted_rows(part, self.coefficients(Span(row_grams(part))))


def gram(scan: Scan) -> Float[np.ndarray, "models models"]:
    """Inner products of the models, or of their differences from the base, over the whole scope."""

    def measure(part: Part) -> Float[np.ndarray, "runs pairs"]:
        vectors = _vectors(part)
        return np.stack([run_dots(a, b) for a, b in combinations_with_replacement(vectors, 2)], axis=1)

    return _symmetric(np.concatenate(list(scan(measure))).sum(axis=0), scan.models)


def row_grams(part: Part) -> Float[np.ndarray, "rows models models"]:
    """The same for every row of a part on its own; turns the part's values into differences if it has a base."""
    rows = [vector.view(-1, part.columns) for vector in _vectors(part)]
    pairs = combinations_with_replacement(rows, 2)
    return _symmetric(np.stack([row_dots(a, b) for a, b in pairs], axis=1), len(rows))


def weighted_sum(part: Part, weights: Float[np.ndarray, " models"]) -> Float[Tensor, " elements"]:
    """Add up the models, or the base and differences from it, by their coefficients; overwrites the part."""
    vectors = [*part.values] if part.base is None else [part.base, *part.values]
    return _add_up_(vectors, _with_base(weights, part.base is not None))


def mixture_of(weights: Float[np.ndarray, " models"], elements: int, *, has_base: bool) -> Mixture | None:
    """The same as coefficients; None if one of them is 0, since a sum then leaves that source out."""
    common, relative = common_factor(_with_base(weights, has_base))
    if not all(relative):
        return None
    return Mixture(np.array([0, elements]), np.array([relative]), common)


def weighted_rows(part: Part, weights: Float[np.ndarray, "rows models"]) -> Float[Tensor, " elements"]:
    """The same with coefficients for each row, after `row_grams`; overwrites the part."""
    import torch

    factors = torch.from_numpy(np.ascontiguousarray(weights.T)).to(part.values)[..., None]
    total = torch.zeros_like(part.values[0]) if part.base is None else part.base
    rows = total.view(-1, part.columns)
    for vector, factor in zip(part.values, factors, strict=True):
        rows.addcmul_(vector.view(-1, part.columns), factor)
    return total


def _with_base(weights: Float[np.ndarray, " models"], has_base: bool) -> list[float]:
    """Weights of the base, if there is one, and the models."""
    return [1.0 - float(weights.sum()), *weights.tolist()] if has_base else weights.tolist()


def _add_up_(
    vectors: Sequence[Float[Tensor, " elements"]], weights: Sequence[float]
) -> Float[Tensor, " elements"]:
    common, relative = common_factor(weights)
    terms = [(vector, weight) for vector, weight in zip(vectors, relative, strict=True) if weight != 0.0]
    for vector, weight in zip(vectors, relative, strict=True):
        if weight == 0.0:
            _refuse_faults(vector)
    if not terms:
        return vectors[0].mul_(0.0)
    for vector, weight in terms:
        if weight != 1.0:
            vector.mul_(weight)
    total = terms[0][0]
    for vector, _ in terms[1:]:
        total.add_(vector)  # not with alpha, which some processors round once and others twice
    return scale_(total, common)


def _refuse_faults(vector: Float[Tensor, " elements"]) -> None:
    """Look for NaN and infinity in what the sum leaves out, where they would not show."""
    if not math.isfinite(vector.sum().item()) and not vector.isfinite().all():
        raise ValueError("A model holds NaN or infinite numbers.")


def _vectors(part: Part) -> Float[Tensor, "models elements"]:
    if part.base is not None:
        part.values -= part.base
    return part.values


def _symmetric(pairs: Float[np.ndarray, "... pairs"], models: int) -> Float[np.ndarray, "... models models"]:
    if not np.isfinite(pairs).all():
        raise ValueError("A model holds NaN or infinite numbers, or some too large to be squared.")
    rows, columns = np.triu_indices(models)
    full = np.empty((*pairs.shape[:-1], models, models))
    full[..., rows, columns] = pairs
    full[..., columns, rows] = pairs
    return full
