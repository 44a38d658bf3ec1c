r"""Predicted score of every expert on a request.

| kind | prediction | chosen by |
| --- | --- | --- |
| [`Nearest`][] | mean score on the $k$ nearest samples, by cosine | $k$: Brier score on validation |
| [`Classifier`][] | calibrated logistic regression, one for each expert | penalty: log loss on held-out folds |
| [`ByTask`][] | mean score on each task, weighted by how likely the request is of it | penalty: the same |

The calibrator of a classifier sees only logits of folds that its regression was not fitted on; the regression that is
kept is fitted on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from merganser._errors import TaskError
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
_TASK_STRENGTHS = (1.0, 10.0, 100.0, 1e3, 1e4)
_MOST_NARROWED = 4_000  # samples from which on the wide rows are sparse enough to be quicker
_COUNT = 1.0  # samples of a task that an expert's mean over all tasks counts as
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


@dataclass(frozen=True, eq=False)
class ByTask:
    """Which task a request is of, and who is good at it.

    Attributes:
        weights: Of the logistic regression, one row for each task.
        offsets: Its constants.
        means: Mean score of every expert on every task.
    """

    weights: Float[np.ndarray, "tasks d"]
    offsets: Float[np.ndarray, " tasks"]
    means: Float[np.ndarray, "experts tasks"]

    def __call__(self, rows: Rows, /) -> Float[np.ndarray, "requests experts"]:
        """Predicted scores."""
        logits = np.asarray(rows @ self.weights.T, dtype=np.float64) + self.offsets
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True) @ self.means.T

    def arrays(self) -> dict[str, np.ndarray]:
        """What was fitted."""
        return {"weights": self.weights, "offsets": self.offsets, "means": self.means}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> ByTask:
        """From what was saved."""
        return cls(arrays["weights"], arrays["offsets"], arrays["means"])


PREDICTORS: dict[str, Callable[[Mapping[str, np.ndarray]], Predictor]] = {
    "nearest": Nearest.of_arrays,
    "classifier": Classifier.of_arrays,
    "tasks": ByTask.of_arrays,
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
    rows, widened = _narrowed(rows)
    made = [
        _expert(rows[np.flatnonzero(known)], row[known], calibration)
        for row, known in zip(scores, measured, strict=True)
    ]
    weights, offsets, calibrators = zip(*made, strict=True)
    return Classifier(widened(np.stack(weights)), np.array(offsets), tuple(calibrators))


def fit_by_task(
    rows: Any,
    scores: Float[np.ndarray, "experts samples"],
    measured: Bool[np.ndarray, "experts samples"],
    tasks: Sequence[str],
) -> ByTask:
    """A regression that knows tasks by their requests, and every expert's mean on each.

    Args:
        rows: The samples' rows, in the order of the samples' hashes: the folds are every fifth.
        scores: Scores of experts.
        measured: What was measured.
        tasks: Task of each sample.

    Raises:
        TaskError: If all samples are of one task.
    """
    names, labels = np.unique(np.array(tasks), return_inverse=True)
    if len(names) < 2:
        raise TaskError(
            f"A router by task needs requests of two tasks or more; all are of {str(names[0])!r}. Use another `kind`."
        )
    rows, widened = _narrowed(rows)
    strength = min(_TASK_STRENGTHS, key=lambda c: _task_loss(rows, labels, c))
    model = _task_model(rows, labels, strength)
    shown = np.stack([labels == t for t in range(len(names))])
    known = measured.astype(np.float64)
    overall = (scores * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    sums, counts = (scores * known) @ shown.T, known @ shown.T
    means = (sums + _COUNT * overall[:, None]) / (counts + _COUNT)
    weights, offsets = np.asarray(model.coef_, np.float64), np.asarray(model.intercept_, np.float64)
    if len(names) == 2:  # of two classes scikit-learn has the second's only
        weights, offsets = np.concatenate([0 * weights, weights]), np.concatenate([0 * offsets, offsets])
    return ByTask(widened(weights), offsets, means)


def _narrowed(rows: Any) -> tuple[Any, Callable[[np.ndarray], np.ndarray]]:
    """The same rows in as many dimensions as there are of them, and how weights for those become weights for these.

    A linear model whose penalty is the length of its weights has them in the span of the rows, so nothing changes but
    the time: n-grams have thousands of dimensions more than there are samples.
    """
    count, wide = rows.shape
    if count >= min(wide, _MOST_NARROWED):
        return rows, lambda weights: weights
    product: Any = rows @ rows.T
    gram = np.asarray(product.toarray() if hasattr(product, "toarray") else product, dtype=np.float64)
    values, vectors = np.linalg.eigh(gram)
    kept = values > 1e-9 * values[-1]
    roots = np.sqrt(values[kept])
    back = vectors[:, kept] / roots  # from the narrow dimensions to shares of rows
    return vectors[:, kept] * roots, lambda weights: np.asarray((rows.T @ (back @ weights.T)).T)


def _task_loss(rows: Any, labels: Int[np.ndarray, " n"], strength: float) -> float:
    """Log loss on held-out folds; a task that a fold's others lack counts as all but impossible."""
    fold, total = np.arange(len(labels)) % _FOLDS, 0.0
    for f in np.unique(fold):
        inside, outside = np.flatnonzero(fold == f), np.flatnonzero(fold != f)
        if len(np.unique(labels[outside])) < 2:
            return 0.0  # too few samples to choose by
        model = _task_model(rows[outside], labels[outside], strength)
        found = np.full((len(inside), labels.max() + 1), 1e-6)
        found[:, model.classes_] = model.predict_proba(rows[inside])
        total -= float(np.log(np.maximum(found[np.arange(len(inside)), labels[inside]], 1e-6)).sum())
    return total


def _task_model(rows: Any, labels: Int[np.ndarray, " n"], strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=2_000).fit(rows, labels)


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
