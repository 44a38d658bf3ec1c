r"""Models combined where they meet the world: a product of experts over what they answer.

$$\log q(y) = \sum_e a_e \log p_e(y) - \log \sum_{y'} \exp \sum_e a_e \log p_e(y')$$

with one learned number $a_e$ for each expert. Nothing inside the experts has to be compatible: they need the same
answers only (classes, or one tokenizer). The cross-entropy is convex in $a$, with gradient
$\sum_n \mathbb{E}_q[\ell] - \ell_{y_n}$ and Hessian $\sum_n \mathrm{Cov}_q[\ell]$, where $\ell$ are the experts'
log-probabilities; so Newton's method finds its minimum in a few passes.

References:
    Hinton, *Training Products of Experts by Minimizing Contrastive Divergence*, Neural Computation 2002
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from merganser._errors import NonFiniteOutputError, TaskError

LogitBatch: TypeAlias = "tuple[Float[np.ndarray, 'experts rows answers'], Int[np.ndarray, ' rows']]"
"""Every expert's logits, and the right answers."""

_PASSES = 30
"""Most passes over the data that fitting takes."""

_DONE = 1e-9
"""Expected gain in nats a row below which fitting is over."""


@dataclass(frozen=True, slots=True)
class ProductOfExperts:
    """How much each expert counts in a product of them.

    Args:
        scalars: One for each expert; those of a plain product are 1, those of a geometric mean add up to 1.

    Examples:
        >>> sure, unsure = np.log([[[0.9, 0.1]], [[0.5, 0.5]]])
        >>> np.exp(ProductOfExperts((1.0, 1.0)).log_probabilities(np.stack([sure, unsure]))).round(2)
        array([[0.9, 0.1]])
    """

    scalars: tuple[float, ...]

    @classmethod
    def fit(cls, batches: Sequence[LogitBatch] | Iterable[LogitBatch]) -> ProductOfExperts:
        """The scalars of the least cross-entropy.

        Args:
            batches: Logits and right answers; gone through several times, so no iterator that ends.

        Raises:
            TaskError: If there are no rows.
            NonFiniteOutputError: If logits are NaN or infinite.
        """
        first = next(iter(batches), None)
        if first is None:
            raise TaskError("Expected rows to fit a product of experts to, found none.")
        at = _sums(batches, np.full(len(first[0]), 1 / len(first[0])))
        for _ in range(_PASSES):
            step = -np.linalg.lstsq(at.hessian, at.gradient, rcond=1e-10)[0]
            gain = -float(at.gradient @ step)
            if gain < _DONE * at.rows:
                break
            size, there = 1.0, _sums(batches, at.scalars + step)
            while there.loss > at.loss - 1e-4 * size * gain and size > 1e-4:
                size /= 2
                there = _sums(batches, at.scalars + size * step)
            if there.loss >= at.loss:
                break
            at = there
        return cls(tuple(float(scalar) for scalar in at.scalars))

    def log_probabilities(
        self, logits: Float[np.ndarray, "experts rows answers"]
    ) -> Float[np.ndarray, "rows answers"]:
        """Log-probabilities of the answers, in nats.

        Raises:
            ValueError: If there are not as many experts as scalars.
        """
        if len(logits) != len(self.scalars):
            raise ValueError(f"Expected logits of {len(self.scalars)} experts, found those of {len(logits)}.")
        return _log_softmax(np.tensordot(np.array(self.scalars), _log_softmax(logits), axes=1))

    def loss(self, batches: Iterable[LogitBatch]) -> float:
        """Mean cross-entropy, in nats.

        Raises:
            NonFiniteOutputError: If logits are NaN or infinite.
        """
        found = _sums(batches, np.array(self.scalars))
        return found.loss / found.rows


class _Sums(NamedTuple):
    """Cross-entropy of all rows at given scalars, with its first two derivatives."""

    scalars: Float[np.ndarray, " experts"]
    rows: int
    loss: float
    gradient: Float[np.ndarray, " experts"]
    hessian: Float[np.ndarray, "experts experts"]


def _sums(batches: Iterable[LogitBatch], scalars: Float[np.ndarray, " experts"]) -> _Sums:
    product, count = ProductOfExperts(tuple(scalars)), len(scalars)
    loss, rows = 0.0, 0
    gradient, hessian = np.zeros(count), np.zeros((count, count))
    for logits, labels in batches:
        each = _log_softmax(np.asarray(logits, dtype=np.float64))
        if not np.isfinite(each).all():
            raise NonFiniteOutputError("the logits of an expert hold NaN or infinite numbers")
        joint = product.log_probabilities(each)
        here = np.arange(len(labels))
        probable = np.exp(joint)
        mean = np.einsum("ery,ry->er", each, probable)
        loss -= float(joint[here, labels].sum())
        rows += len(labels)
        gradient += (mean - each[:, here, labels]).sum(axis=1)
        hessian += np.einsum("ery,fry,ry->ef", each, each, probable, optimize=True) - mean @ mean.T
    return _Sums(scalars, rows, loss, gradient, hessian)


def _log_softmax(logits: Float[np.ndarray, "*batch answers"]) -> Float[np.ndarray, "*batch answers"]:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
