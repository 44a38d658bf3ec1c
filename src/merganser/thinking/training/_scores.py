"""Tasks of thought machines as searches take them: samples, and a score in [0, 1] for each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import parse_qsl

import numpy as np
from jaxtyping import Float, Float32, Int

from merganser._errors import ConfigError, NonFiniteOutputError
from merganser.evaluation import Samples as Hashed
from merganser.evaluation import Splits, content_hashes
from merganser.models import LiveModel
from merganser.thinking._live import LiveThinker
from merganser.thinking.training._task import Samples, ThinkingTask
from merganser.thinking.training._tasks import task_named
from merganser.weights import Checkpoint

_SCORER = "positions 1"
_BATCH = 256


@dataclass(frozen=True)
class ThinkingScores:
    """Share of the positions of each sample that a model has right at its surest tick.

    Attributes:
        name: What people call the task.
        inputs: As the model takes them.
        targets: The right class of each position, from 0.
        samples: Their hashes.
        binary: Whether there is one position only.
    """

    name: str
    inputs: Float32[np.ndarray, "samples ..."]
    targets: Int[np.ndarray, "samples positions"]
    samples: Hashed
    binary: bool

    @classmethod
    def of(cls, name: str, samples: Samples, split: str) -> ThinkingScores:
        """A task from samples; of equal ones the first is kept."""
        inputs, targets = samples.inputs.numpy(), samples.targets.numpy()
        hashes = content_hashes(row.tobytes() for row in inputs)
        first = sorted({each: k for k, each in reversed(list(enumerate(hashes)))}.values())
        kept = Hashed(tuple(hashes[k] for k in first), None, split)
        return cls(name, inputs[first], targets[first], kept, targets.shape[1] == 1)

    def without(self, others: set[str]) -> ThinkingScores:
        """Samples whose hashes are not among these."""
        kept = [k for k, each in enumerate(self.samples.hashes) if each not in others]
        samples = Hashed(tuple(self.samples.hashes[k] for k in kept), None, self.samples.split)
        return ThinkingScores(self.name, self.inputs[kept], self.targets[kept], samples, self.binary)

    @property
    def digest(self) -> str:
        """Hash over inputs, targets and scorer."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        h = hashlib.blake2b(f"{_SCORER} {self.samples.digest}".encode(), digest_size=16)
        h.update(np.asarray(self.targets, dtype="<i8").tobytes())
        return h.hexdigest()

    def live(self, checkpoint: Checkpoint) -> LiveThinker:
        """A thought machine that becomes child after child.

        Raises:
            CheckpointError: If this is no thought machine.
        """
        return LiveThinker(checkpoint)

    def score(self, model: LiveModel, ids: np.ndarray) -> Float[np.ndarray, " ids"]:
        """Share of positions right, sample by sample.

        Raises:
            NonFiniteOutputError: If a logit is NaN or infinite.
        """
        parts = np.split(ids, range(_BATCH, len(ids), _BATCH))
        return np.concatenate([self._score_batch(model, part) for part in parts])

    def _score_batch(self, model: LiveModel, ids: np.ndarray) -> Float[np.ndarray, " ids"]:
        logits = model(self.inputs[ids])
        if not np.isfinite(logits).all():
            raise NonFiniteOutputError(f"logits hold {logits[~np.isfinite(logits)][0]} on {self.name}")
        targets = self.targets[ids]
        classes = logits.reshape(len(ids), targets.shape[1], -1).argmax(axis=2)
        return (classes == targets).mean(axis=1)


def thinking_splits(
    task: ThinkingTask, *, samples: int = 512, seed: int = 0, name: str | None = None
) -> Splits:
    """What a search sees of a task, what its winner is chosen on, and what is scored once at the end.

    The search sees training samples; samples that are also held out are left out of it.

    Args:
        task: The task.
        samples: Training samples that the search sees.
        seed: What draws them.
        name: What people call it; None for the task's own name.

    Raises:
        ConfigError: If no training sample is left: all of them are tested, as with short sequences of signs.
    """
    said = name or task.name
    test = ThinkingScores.of(said, task.test(), "test")
    validation = ThinkingScores.of(said, task.validation(), "validation").without(set(test.samples.hashes))
    held_out = {*test.samples.hashes, *validation.samples.hashes}
    drawn = ThinkingScores.of(said, task.batch(samples, seed=seed, step=0), "search")
    search = drawn.without(held_out)
    if not len(search.samples) or not len(validation.samples):
        raise ConfigError(
            f"All samples of {said} are tested, so none is left to search with. Take one with more, such as longer "
            "sequences."
        )
    return Splits(search, validation, test, dropped=samples - len(search.samples))


def open_thinking_splits(reference: str) -> Splits:
    """The same from a reference such as `maze?family=prim&size=9&samples=256`.

    Args:
        reference: The task's name; after a question mark its fields, and how many `samples` the search sees.

    Raises:
        ConfigError: If there is no such task or field, or a value is wrong.
    """
    name, _, query = reference.partition("?")
    fields = {key: int(value) if value.isdecimal() else value for key, value in parse_qsl(query)}
    samples = fields.pop("samples", 512)
    if not isinstance(samples, int) or samples < 1:
        raise ConfigError(f"Expected a number of samples of at least 1, found {samples!r} in {reference}.")
    return thinking_splits(task_named(name, **fields), samples=samples, name=reference)
