"""Classification of arrays: is the largest logit at the right class?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Int

from merganser._errors import NonFiniteOutputError
from merganser.evaluation._samples import Samples, content_hashes
from merganser.models import LiveModel

_SCORER = "classification 1"
_BATCH = 4096  # samples at a time: more need memory and gain nothing


@dataclass(frozen=True)
class Classification:
    """Inputs and their classes; a model scores 1 where its largest logit is at the right class.

    Attributes:
        name: What people call the task.
        inputs: One array per sample.
        samples: Their hashes and labels.
    """

    name: str
    inputs: Float32[np.ndarray, "samples ..."]
    samples: Samples
    binary: bool = True

    @classmethod
    def of(
        cls,
        name: str,
        inputs: Float[np.ndarray, "samples ..."],
        labels: Int[np.ndarray, " samples"],
        split: str = "all",
        hashes: tuple[str, ...] | None = None,
    ) -> Classification:
        """A task from arrays; see `evaluation.read_arrays` for what is checked in files."""
        inputs = np.ascontiguousarray(inputs, dtype=np.float32)
        hashes = content_hashes(row.tobytes() for row in inputs) if hashes is None else hashes
        return cls(name, inputs, Samples(hashes, labels, split))

    @property
    def digest(self) -> str:
        """Hash over inputs, labels and scorer."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        h = hashlib.blake2b(f"{_SCORER} {self.samples.digest}".encode(), digest_size=16)
        h.update(np.asarray(self.samples.labels, dtype="<i8").tobytes())
        return h.hexdigest()

    @property
    def features(self) -> int:
        """Numbers per sample."""
        return int(np.prod(self.inputs.shape[1:]))

    @cached_property
    def classes(self) -> int:
        """Number of classes: one more than the largest label."""
        labels = self.samples.labels
        return 0 if labels is None or not len(labels) else int(labels.max()) + 1

    def score(self, model: LiveModel, ids: np.ndarray) -> Float[np.ndarray, " ids"]:
        """1 where the largest logit is at the right class, else 0.

        Raises:
            NonFiniteOutputError: If a logit is NaN or infinite: then nothing the model says can be trusted.
        """
        if len(ids) <= _BATCH:
            return self._score_batch(model, ids)
        batches = np.split(ids, range(_BATCH, len(ids), _BATCH))
        return np.concatenate([self._score_batch(model, batch) for batch in batches])

    def _score_batch(self, model: LiveModel, ids: np.ndarray) -> Float[np.ndarray, " ids"]:
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is told as an error below
            logits = model(self.inputs.take(ids, axis=0))
            suspicious = not np.isfinite(logits.sum())
        if suspicious and not np.isfinite(logits).all():
            raise NonFiniteOutputError(f"logits hold {_first_non_finite(logits)} on {self.name}")
        assert self.samples.labels is not None
        return (logits.argmax(axis=1) == self.samples.labels[ids]).astype(np.float64)


def _first_non_finite(logits: np.ndarray) -> float:
    return float(logits[~np.isfinite(logits)][0])
