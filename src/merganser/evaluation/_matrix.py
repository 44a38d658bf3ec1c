"""The score matrix: models x samples, one number in [0, 1] each, with a mask of what was measured.

Competition, attraction, Pareto fronts, routing labels, verdicts, intervals and reports are read off it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from merganser.evaluation._intervals import Interval, difference_interval, mean_interval


@dataclass(frozen=True)
class ScoreMatrix:
    """Scores of some models on some samples.

    Attributes:
        models: Names or digests of the models.
        samples: Hashes of the samples.
        scores: The scores, in [0, 1]; 0 where not measured.
        measured: What was measured.
        weights: Weight of each sample in means, positive; None if all count the same.

    Raises:
        ValueError: If shapes disagree, a measured score lies outside [0, 1], or a weight is not positive.

    Examples:
        >>> both = ScoreMatrix.of({"a": np.array([1.0, 0.0]), "b": np.array([1.0, 1.0])}, ("x", "y"))
        >>> both.mean("b"), both.solvers("y")
        (1.0, ('b',))
    """

    models: tuple[str, ...]
    samples: tuple[str, ...]
    scores: Float[np.ndarray, "models samples"]
    measured: Bool[np.ndarray, "models samples"]
    weights: Float[np.ndarray, " samples"] | None = None

    def __post_init__(self) -> None:
        shape = (len(self.models), len(self.samples))
        if self.scores.shape != shape or self.measured.shape != shape:
            raise ValueError(
                f"{shape[0]} models and {shape[1]} samples need arrays of shape {shape}, but scores have "
                f"{self.scores.shape} and the mask {self.measured.shape}."
            )
        wrong = self.measured & ~((self.scores >= 0) & (self.scores <= 1))
        if wrong.any():
            model, sample = np.argwhere(wrong)[0]
            raise ValueError(
                f"Scores must lie in [0, 1], but model {self.models[model]!r} has "
                f"{self.scores[model, sample]:g} on sample {self.samples[sample]!r}."
            )
        if self.weights is not None and (self.weights.shape != shape[1:] or not (self.weights > 0).all()):
            raise ValueError(
                f"Expected a positive weight for each of {shape[1]} samples, found {self.weights}."
            )

    @classmethod
    def of(
        cls,
        rows: dict[str, Float[np.ndarray, " samples"]],
        samples: tuple[str, ...],
        measured: dict[str, Bool[np.ndarray, " samples"]] | None = None,
        weights: Float[np.ndarray, " samples"] | None = None,
    ) -> ScoreMatrix:
        """A matrix from one row per model; rows without a mask are fully measured."""
        masks = measured or {}
        everything = np.ones(len(samples), dtype=bool)
        scores = np.array([np.asarray(row, dtype=np.float64) for row in rows.values()])
        mask = np.array([masks.get(model, everything) for model in rows])
        empty = (0, len(samples))
        return cls(
            tuple(rows),
            samples,
            scores.reshape(-1, len(samples)) if rows else np.zeros(empty),
            mask.reshape(-1, len(samples)) if rows else np.zeros(empty, dtype=bool),
            weights,
        )

    def row(self, model: str) -> Float[np.ndarray, " samples"]:
        """Scores of one model.

        Raises:
            KeyError: If there is no such model.
        """
        return self.scores[self._at(model)]

    def mean(self, model: str) -> float:
        """Mean over what was measured of one model."""
        i = self._at(model)
        known = self.measured[i]
        return float(np.average(self.scores[i][known], weights=self._weights_of(known)))

    def interval(self, model: str) -> Interval:
        """Mean of one model with its 95 % interval."""
        i = self._at(model)
        return mean_interval(self.scores[i][self.measured[i]], self._weights_of(self.measured[i]))

    def difference(self, model: str, other: str) -> Interval:
        """How much better one model is than another on the samples that both were measured on."""
        i, j = self._at(model), self._at(other)
        both = self.measured[i] & self.measured[j]
        return difference_interval(self.scores[i][both], self.scores[j][both], self._weights_of(both))

    def solvers(self, sample: str) -> tuple[str, ...]:
        """The models that score above one half on a sample."""
        j = self.samples.index(sample)
        return tuple(m for i, m in enumerate(self.models) if self.measured[i, j] and self.scores[i, j] > 0.5)

    def _weights_of(self, chosen: Bool[np.ndarray, " samples"]) -> Float[np.ndarray, " chosen"] | None:
        return None if self.weights is None else self.weights[chosen]

    def _at(self, model: str) -> int:
        if model not in self.models:
            raise KeyError(f"No model {model!r} in this matrix; it has {', '.join(self.models) or 'none'}.")
        return self.models.index(model)
