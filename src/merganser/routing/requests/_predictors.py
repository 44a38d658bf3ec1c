r"""Predicted score of every expert on a request.

| kind | prediction | chosen by |
| --- | --- | --- |
| [`Nearest`][] | mean score on the $k$ nearest samples, by cosine | $k$: Brier score on validation |
| [`Classifier`][] | calibrated logistic regression, one for each expert | penalty: log loss on held-out folds |

The calibrator of a classifier sees only logits of folds that its regression was not fitted on; the regression that is
kept is fitted on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float

from merganser.routing.requests._calibration import (
    Calibrator,
    Isotonic,
    Platt,
    calibration_of,
    calibrator_of,
    soft_logistic,
)
from merganser.routing.requests._embedding import Rows

_FOLDS = 5
_STRENGTHS = (0.3, 3.0, 30.0, 300.0)
_MANY = 1_000  # samples from which on isotonic regression is not noise
_NEIGHBOURS = (1, 3, 5, 9, 17, 33)


class Predictor(Protocol):
    """Rows of requests to scores of experts."""

    def __call__(self, rows: Rows, /) -> Float[np.ndarray, "requests experts"]:
        """Predicted scores, in [0, 1]."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """What was fitted."""
        ...


@dataclass(frozen=True, eq=False)
class Nearest:
    """Mean score on the nearest samples.

    Attributes:
        rows: The samples' rows.
        scores: Scores of experts on them.
        measured: What was measured.
        neighbours: How many are asked.
    """

    rows: Any
    scores: Float[np.ndarray, "experts samples"]
    measured: Bool[np.ndarray, "experts samples"]
    neighbours: int

    def __call__(self, rows: Rows, /) -> Float[np.ndarray, "requests experts"]:
        """Predicted scores; of an expert that was never measured 0."""
        product: Any = rows @ self.rows.T
        likeness = product.toarray() if hasattr(product, "toarray") else product
        found = np.zeros((len(likeness), len(self.scores)))
        for e, known in enumerate(self.measured):
            if known.any():
                nearest = np.argsort(-likeness[:, known], axis=1, kind="stable")[:, : self.neighbours]
                found[:, e] = self.scores[e][known][nearest].mean(axis=1)
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        """Samples and scores."""
        facts = {"scores": self.scores, "measured": self.measured, "neighbours": np.array(self.neighbours)}
        if not hasattr(self.rows, "indptr"):
            return {**facts, "rows": self.rows}
        sparse = {f"rows_{part}": getattr(self.rows, part) for part in ("data", "indices", "indptr")}
        return {**facts, **sparse, "rows_shape": np.array(self.rows.shape)}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Nearest:
        """From what was saved."""
        from scipy.sparse import csr_matrix

        if "rows" in arrays:
            rows: Any = arrays["rows"]
        else:
            parts = tuple(arrays[f"rows_{part}"] for part in ("data", "indices", "indptr"))
            rows = csr_matrix(parts, shape=tuple(arrays["rows_shape"]))
        return cls(rows, arrays["scores"], arrays["measured"], int(arrays["neighbours"]))


@dataclass(frozen=True, eq=False)
class Classifier:
    """Calibrated logistic regressions.

    Attributes:
        weights: One for each expert.
        offsets: The constants.
        calibrators: From logits to probabilities, for each expert.
    """

    weights: Float[np.ndarray, "experts d"]
    offsets: Float[np.ndarray, " experts"]
    calibrators: tuple[Calibrator, ...]

    def __call__(self, rows: Rows, /) -> Float[np.ndarray, "requests experts"]:
        """Predicted scores."""
        logits = np.asarray(rows @ self.weights.T, dtype=np.float64) + self.offsets
        return np.stack([c(logits[:, e]) for e, c in enumerate(self.calibrators)], axis=1)

    def arrays(self) -> dict[str, np.ndarray]:
        """Weights, and the calibrators' knots."""
        kinds = ["isotonic" if isinstance(c, Isotonic) else "platt" for c in self.calibrators]
        knots = {
            f"{kind}_{e}": c.knots() for e, (kind, c) in enumerate(zip(kinds, self.calibrators, strict=True))
        }
        return {"weights": self.weights, "offsets": self.offsets, **knots}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Classifier:
        """From what was saved."""
        made = []
        for e in range(len(arrays["offsets"])):
            kind = "isotonic" if f"isotonic_{e}" in arrays else "platt"
            made.append(calibrator_of(arrays[f"{kind}_{e}"], kind))
        return cls(arrays["weights"], arrays["offsets"], tuple(made))


PREDICTORS: dict[str, Callable[[Mapping[str, np.ndarray]], Predictor]] = {
    "nearest": Nearest.of_arrays,
    "classifier": Classifier.of_arrays,
}


def fit_nearest(
    rows: Any,
    scores: Float[np.ndarray, "experts samples"],
    measured: Bool[np.ndarray, "experts samples"],
    *,
    validation: tuple[Any, Float[np.ndarray, "experts v"], Bool[np.ndarray, "experts v"]],
    neighbours: int | None = None,
) -> Nearest:
    """Nearest samples; without `neighbours` as many as predict validation scores best."""
    if neighbours is not None:
        return Nearest(rows, scores, measured, neighbours)
    held_out, wanted, known = validation
    found = []
    for k in [k for k in _NEIGHBOURS if k <= max(1, scores.shape[1] // 2)]:
        predicted = Nearest(rows, scores, measured, k)(held_out).T
        found.append((calibration_of(predicted[known], wanted[known]).brier, k))
    return Nearest(rows, scores, measured, min(found)[1])


def fit_classifier(
    rows: Any,
    scores: Float[np.ndarray, "experts samples"],
    measured: Bool[np.ndarray, "experts samples"],
    *,
    calibration: str = "auto",
) -> Classifier:
    """A calibrated regression for each expert.

    Args:
        rows: The samples' rows, in the order of the samples' hashes: the folds are every fifth.
        scores: Scores of experts.
        measured: What was measured.
        calibration: `auto`, `platt`, `isotonic` or `none`.
    """
    made = [
        _expert(rows[np.flatnonzero(known)], row[known], calibration)
        for row, known in zip(scores, measured, strict=True)
    ]
    weights, offsets, calibrators = zip(*made, strict=True)
    return Classifier(np.stack(weights), np.array(offsets), tuple(calibrators))


def _expert(
    rows: Any, scores: Float[np.ndarray, " n"], calibration: str
) -> tuple[np.ndarray, float, Calibrator]:
    if _is_constant(scores):
        return np.zeros(rows.shape[1]), _constant(scores), Platt()
    held_out = {c: _held_out_logits(rows, scores, c) for c in _STRENGTHS}
    strength = min(_STRENGTHS, key=lambda c: _log_loss(held_out[c], scores))
    model = soft_logistic(rows, scores, strength=strength)
    kind = calibration
    if kind == "auto":
        kind = "isotonic" if len(scores) >= _MANY else "platt"
    fitted: dict[str, Callable[[], Calibrator]] = {
        "none": Platt,
        "platt": lambda: Platt.fit(held_out[strength], scores),
        "isotonic": lambda: Isotonic.fit(held_out[strength], scores),
    }
    return np.asarray(model.coef_[0], dtype=np.float64), float(model.intercept_[0]), fitted[kind]()


def _held_out_logits(rows: Any, scores: Float[np.ndarray, " n"], strength: float) -> Float[np.ndarray, " n"]:
    fold = np.arange(len(scores)) % _FOLDS
    logits = np.zeros(len(scores))
    for f in np.unique(fold):
        inside, outside = np.flatnonzero(fold == f), np.flatnonzero(fold != f)
        if _is_constant(scores[outside]):
            logits[inside] = _constant(scores[outside])
        else:
            model = soft_logistic(rows[outside], scores[outside], strength=strength)
            logits[inside] = model.decision_function(rows[inside])
    return logits


def _is_constant(scores: Float[np.ndarray, " n"]) -> bool:
    return not len(scores) or bool((scores == 0).all() or (scores == 1).all())


def _constant(scores: Float[np.ndarray, " n"]) -> float:
    """Logit of the mean, drawn in by one count of each."""
    return float(np.log((scores.sum() + 1) / (len(scores) - scores.sum() + 1)))


def _log_loss(logits: Float[np.ndarray, " n"], scores: Float[np.ndarray, " n"]) -> float:
    return float(np.mean(np.logaddexp(0, logits) - scores * logits))
