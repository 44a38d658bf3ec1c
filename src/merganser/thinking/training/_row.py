"""What happened at a step of a training, and at the look after it if there was one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ThinkingRow:
    """One step. What is seen at a look is None at steps without one.

    Attributes:
        step: Steps taken; 0 is the look before the first.
        loss: What was descended, in nats.
        accuracy: Share of the batch's positions answered right at the tick that answers, in [0, 1].
        gradient: Length of the gradient before it is clipped.
        best: The tick with the smallest loss, mean over the batch, counted from 1.
        surest: The tick that answers, that of highest certainty or an LSTM's last, mean over the batch, counted from 1.
        validation: Share of validation positions answered right at the tick that answers, in [0, 1].
        whole: Share of validation samples answered right at every position.
        positions: Validation accuracy of each position.
        certainties: Certainty at each tick, mean over validation samples, in [0, 1].
        seconds: Time spent in training so far, with that before it was stopped.
    """

    step: int
    loss: float | None = None
    accuracy: float | None = None
    gradient: float | None = None
    best: float | None = None
    surest: float | None = None
    validation: float | None = None
    whole: float | None = None
    positions: tuple[float, ...] | None = None
    certainties: tuple[float, ...] | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in ("positions", "certainties"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))  # JSON has no tuples


def looks(rows: Iterable[ThinkingRow]) -> list[ThinkingRow]:
    """Rows with a look at the validation samples."""
    return [row for row in rows if row.validation is not None]
