r"""Scores that can be believed: calibration, and how far it holds.

| rule | formula | here |
| --- | --- | --- |
| Platt's sigmoid | $p = 1 / (1 + e^{-(a z + b)})$, fitted to targets drawn in by one count | [`Platt`][] |
| isotonic regression | the step function that rises and has the least squared error | [`Isotonic`][] |
| expected calibration error | $\sum_b \frac{n_b}{n} \lvert \bar p_b - \bar y_b \rvert$ | [`calibration_of`][] |
| Brier score | mean of $(p - y)^2$ | [`calibration_of`][] |

Scores need not be 0 or 1: a score of 0.3 counts as 0.3 of a success and 0.7 of a failure.

References:
    Platt, *Probabilistic outputs for support vector machines*, 1999.
    Zadrozny, Elkan, *Transforming classifier scores into accurate multiclass probability estimates*, KDD 2002.
    Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017, https://arxiv.org/abs/1706.04599
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

_WEAK = 1e6  # inverse strength of a penalty that only keeps separable data finite


@dataclass(frozen=True)
class Platt:
    """A sigmoid.

    Attributes:
        slope: The $a$.
        offset: The $b$.
    """

    slope: float = 1.0
    offset: float = 0.0

    @classmethod
    def fit(cls, logits: Float[np.ndarray, " n"], scores: Float[np.ndarray, " n"]) -> Platt:
        """The sigmoid that makes held-out scores most likely."""
        yes = scores.sum()
        no = len(scores) - yes
        targets = scores * (yes + 1) / (yes + 2) + (1 - scores) / (no + 2)
        centre, spread = float(logits.mean()), float(logits.std()) or 1.0
        model = soft_logistic(((logits - centre) / spread)[:, None], targets, strength=_WEAK)
        slope = float(model.coef_[0, 0]) / spread
        return cls(slope, float(model.intercept_[0]) - slope * centre)

    def __call__(self, logits: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Probabilities."""
        return 0.5 * (1 + np.tanh(0.5 * (self.slope * logits + self.offset)))  # never overflows

    def knots(self) -> Float[np.ndarray, "2 1"]:
        """What was fitted, as an array."""
        return np.array([[self.slope], [self.offset]])


@dataclass(frozen=True, eq=False)
class Isotonic:
    """A rising function, linear between its knots.

    Attributes:
        at: Logits of the knots.
        value: Probabilities there.
    """

    at: Float[np.ndarray, " knots"]
    value: Float[np.ndarray, " knots"]

    @classmethod
    def fit(cls, logits: Float[np.ndarray, " n"], scores: Float[np.ndarray, " n"]) -> Isotonic:
        """The rising function nearest to held-out scores; never sure by more than one count."""
        from sklearn.isotonic import IsotonicRegression

        edge = 1 / (len(scores) + 2)
        model = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip").fit(logits, scores)
        return cls(np.asarray(model.X_thresholds_, float), np.asarray(model.y_thresholds_, float))

    def __call__(self, logits: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Probabilities."""
        return np.interp(logits, self.at, self.value)

    def knots(self) -> Float[np.ndarray, "2 knots"]:
        """What was fitted, as an array."""
        return np.stack([self.at, self.value])


Calibrator: TypeAlias = Platt | Isotonic


def calibrator_of(knots: Float[np.ndarray, "2 knots"], kind: str) -> Calibrator:
    """The calibrator of an array that was saved."""
    return (
        Isotonic(knots[0], knots[1]) if kind == "isotonic" else Platt(float(knots[0, 0]), float(knots[1, 0]))
    )


def soft_logistic(rows: Any, scores: Float[np.ndarray, " n"], *, strength: float) -> Any:
    """Logistic regression on scores in [0, 1]: each row counts as a success and a failure, by its score.

    Args:
        rows: An array or a sparse matrix.
        scores: Its targets; neither all 0 nor all 1.
        strength: Inverse strength of the penalty.
    """
    from scipy.sparse import issparse, vstack
    from sklearn.linear_model import LogisticRegression

    yes, no = scores > 0, scores < 1
    parts = [rows[np.flatnonzero(yes)], rows[np.flatnonzero(no)]]
    stacked: Any = vstack(parts, format="csr") if issparse(rows) else np.concatenate(parts)
    labels = np.repeat([1, 0], [yes.sum(), no.sum()])
    weights = np.concatenate([scores[yes], 1 - scores[no]])
    return LogisticRegression(C=strength, max_iter=2_000).fit(stacked, labels, sample_weight=weights)


class Bin(NamedTuple):
    """Requests of similar predicted scores.

    Attributes:
        predicted: Mean predicted score, in [0, 1].
        observed: Mean score.
        size: How many.
    """

    predicted: float
    observed: float
    size: int


class Calibration(NamedTuple):
    """How far predicted scores can be believed.

    Attributes:
        bins: The reliability curve, lowest first; empty bins are left out.
        error: Expected calibration error, in [0, 1].
        brier: Mean squared error of the predictions.
    """

    bins: tuple[Bin, ...]
    error: float
    brier: float


def calibration_of(
    predicted: Float[np.ndarray, " n"], scores: Float[np.ndarray, " n"], *, bins: int = 10
) -> Calibration:
    """How predictions compare with what came.

    Args:
        predicted: Predicted scores, in [0, 1].
        scores: The scores.
        bins: Bins of equal width.

    Raises:
        ValueError: If there are none, or not as many of both.

    Examples:
        >>> found = calibration_of(np.array([0.1, 0.1, 0.9, 0.9]), np.array([0.0, 0.0, 1.0, 0.0]))
        >>> round(found.error, 3), [b.size for b in found.bins]
        (0.25, [2, 2])
    """
    if predicted.shape != scores.shape or not len(scores):
        raise ValueError(f"Expected as many predictions as scores, found {len(predicted)} and {len(scores)}.")
    place = np.minimum((predicted * bins).astype(int), bins - 1)
    found = [
        Bin(float(predicted[place == b].mean()), float(scores[place == b].mean()), int((place == b).sum()))
        for b in np.unique(place)
    ]
    error = sum(b.size * abs(b.predicted - b.observed) for b in found) / len(scores)
    return Calibration(tuple(found), float(error), float(np.mean((predicted - scores) ** 2)))
