"""What was decided about a request, and what deciding and answering cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MIXTURE, OTHER = "mixture", "other"
"""Who answers where a mixture is set; what stands for the base among the names of experts."""


class Cost(NamedTuple):
    """What a pass took for one request.

    Attributes:
        read: Tokens that were put in; what several requests begin with counts for each.
        written: Tokens that were generated.
        seconds: Its share of the batch's time, by tokens.
    """

    read: int = 0
    written: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """Who answers a request.

    Attributes:
        expert: Name of the expert, or ``"mixture"``; None for the base.
        sure: Probability of that choice among those that there were, in [0, 1]; None where it is not known.
        reason: Why the base answers although it was not chosen; else empty.
        prompt: What the model was asked; empty where it was not.
        cost: Tokens besides the prompt's: those of labels that were weighed, or what was written.
    """

    expert: str | None
    sure: float | None = None
    reason: str = ""
    prompt: str = ""
    cost: Cost = field(default_factory=Cost)

    @property
    def name(self) -> str:
        """The expert, or ``"other"``."""
        return OTHER if self.expert is None else self.expert


@dataclass(frozen=True, slots=True)
class Trace:
    """What became of a request.

    Attributes:
        request: The request, as the first pass saw it.
        decision: Who answered.
        first: Cost of deciding.
        second: Cost of answering.
    """

    request: str
    decision: Decision
    first: Cost
    second: Cost

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "request": self.request,
            "expert": self.decision.expert,
            "sure": self.decision.sure,
            "reason": self.decision.reason,
            "first": self.first._asdict(),
            "second": self.second._asdict(),
        }


def timed(costs: Sequence[Cost], seconds: float) -> list[Cost]:
    """Seconds of a batch, divided by tokens."""
    tokens = [cost.read + cost.written for cost in costs]
    total = sum(tokens)
    return [
        cost._replace(seconds=seconds * each / total if total else seconds / len(costs))
        for cost, each in zip(costs, tokens, strict=True)
    ]
