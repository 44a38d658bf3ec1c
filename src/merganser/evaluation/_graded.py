"""Graded answers of language models."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from merganser._errors import NonFiniteOutputError


@dataclass(frozen=True, slots=True)
class Graded:
    """The score of one answer, and how it came about.

    Attributes:
        score: In [0, 1]; 1 is best.
        response: What the model wrote or chose.
        reason: Why the score is not 1; empty where it is.
        record: What else there is to read about it, as plain data: the transcript of an episode.
        margin: How nearly it was right, in [0, 1], where that says more than the score; else None.
    """

    score: float
    response: str
    reason: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
    margin: float | None = None


def check_finite(name: str, values: Iterable[float]) -> None:
    """Make sure that a model's log-probabilities are numbers.

    Raises:
        NonFiniteOutputError: If one is not: then nothing the model says can be trusted.
    """
    wrong = next((v for v in values if not math.isfinite(v)), None)
    if wrong is not None:
        raise NonFiniteOutputError(f"log-probabilities hold {wrong} on {name}")
