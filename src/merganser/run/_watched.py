"""A task that is scored beside the aim."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from merganser.evaluation import Samples, Task


@dataclass(frozen=True)
class WatchedTask:
    """A task that is scored and never selected on: another one as the split `watch`.

    Attributes:
        inner: The task.
    """

    inner: Task

    @property
    def name(self) -> str:
        """The task's own."""
        return self.inner.name

    @property
    def binary(self) -> bool:
        """As the task says."""
        return self.inner.binary

    @property
    def digest(self) -> str:
        """Its own, so that it may be searched on in other runs and even in this one."""
        return hashlib.blake2b(f"watch {self.inner.digest}".encode(), digest_size=16).hexdigest()

    @property
    def samples(self) -> Samples:
        """The task's, under the name of this split."""
        return dataclasses.replace(self.inner.samples, split="watch")

    def score(self, model: Any, ids: np.ndarray) -> Float[np.ndarray, " ids"]:
        """As the task scores."""
        return self.inner.score(model, ids)
