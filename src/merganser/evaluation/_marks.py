"""What a task may tell beside its scores: margins, by which models that score the same still differ.

The margin of a sample says how nearly a model was right there: of multiple choice, the probability of the right choice
among the choices. It never decides against a score.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from merganser.evaluation._task import Task


class Marks(NamedTuple):
    """Scores of a model on some samples, and its margins where the task has them.

    Args:
        scores: Each in [0, 1]; 1 is best.
        margins: Each in [0, 1]; 1 is best. None where the task knows nothing finer than its scores.
    """

    scores: Float[np.ndarray, " ids"]
    margins: Float[np.ndarray, " ids"] | None = None


@runtime_checkable
class MarginTask(Protocol):
    """A task that has margins at no cost beyond that of its scores."""

    def mark(self, model: Any, ids: np.ndarray) -> Marks:
        """Scores as [`Task.score`][] gives them, and margins, on the samples at these positions."""
        ...


def marks_of(task: Task, model: Any, ids: np.ndarray) -> Marks:
    """Scores of a model on the samples at these positions, with margins if the task has them."""
    return task.mark(model, ids) if isinstance(task, MarginTask) else Marks(task.score(model, ids))
