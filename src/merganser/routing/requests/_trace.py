"""What became of one request, as a value and as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from merganser.routing.requests._attempt import Attempt
from merganser.routing.requests._rule import Decision


@dataclass(frozen=True)
class Trace:
    """One request, from the decision to the answer or the error.

    Attributes:
        id: Unique.
        at: When it came, in seconds since 1970.
        request: Its text.
        decision: Who should be asked, and why.
        attempts: Every ask, in order.
        expert: Who answered; None if nobody did.
        answer: The answer's fields; None if there is none.
        text: The answer as one text.
        error: Why there is no answer; None if there is one.
        seconds: How long it took altogether.
    """

    id: str
    at: float
    request: str
    decision: Decision
    attempts: tuple[Attempt, ...]
    expert: str | None
    answer: dict[str, Any] | None
    text: str | None
    error: str | None
    seconds: float

    @property
    def cost(self) -> float:
        """What all asks cost together."""
        return sum(attempt.cost for attempt in self.attempts)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "cost": self.cost}

    @classmethod
    def of_json(cls, facts: dict[str, Any]) -> Trace:
        """From plain data.

        Raises:
            KeyError: If something is missing.
            TypeError: If something is no such data.
        """
        decision = Decision(**{**facts["decision"], "order": tuple(facts["decision"]["order"])})
        attempts = tuple(Attempt(**attempt) for attempt in facts["attempts"])
        own = {name: facts[name] for name in cls.__dataclass_fields__}
        return cls(**{**own, "decision": decision, "attempts": attempts})
