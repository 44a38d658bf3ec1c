"""What happened at each step, and a file of it: a line of JSON a step, in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from merganser._training_history import read_rows


@dataclass(frozen=True, slots=True)
class Row:
    """One step, and the look after it if there was one.

    Attributes:
        step: Steps taken; 0 is the look at the base.
        loss: What was descended; of training by reward it is near 0 by construction, and says little.
        reward: Mean reward of the answers; None for a supervised step.
        spread: Standard deviation of the rewards.
        kl: Estimated divergence from the base, nats a token; None where it has no weight.
        entropy: Of the next token, mean over the answers, in nats.
        surprise: What the answers cost, nats a token: of a supervised step the cross-entropy.
        length: Mean number of tokens of an answer.
        gradient: Length of the gradient before it is clipped.
        validation: Mean score on the validation samples, greedy, in [0, 1]; None where nobody looked.
        seconds: Time spent in training so far, with that before it was stopped.
    """

    step: int
    loss: float | None = None
    reward: float | None = None
    spread: float | None = None
    kl: float | None = None
    entropy: float | None = None
    surprise: float | None = None
    length: float | None = None
    gradient: float | None = None
    validation: float | None = None
    seconds: float = 0.0


def looks(rows: Iterable[Row]) -> list[Row]:
    """Rows with a look at the validation samples."""
    return [row for row in rows if row.validation is not None]


def best_look(rows: Iterable[Row]) -> Row | None:
    """The best look, of equal ones the first; None if there was none."""
    return max(looks(rows), key=lambda row: row.validation or 0.0, default=None)


def is_stuck(rows: Sequence[Row], patience: int | None) -> bool:
    """Whether so many looks have passed without an improvement."""
    seen = looks(rows)
    best = best_look(seen)
    return patience is not None and best is not None and len(seen) - 1 - seen.index(best) >= patience


def read_history(folder: Path, *, until: int | None = None) -> tuple[Row, ...]:
    """Rows of the file.

    Args:
        folder: A training's folder.
        until: The last step that is wanted; None for all.

    Raises:
        RunError: If a line that is wanted is missing or damaged.
    """
    return read_rows(folder, Row, until=until)
