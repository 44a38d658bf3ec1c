"""One expert, asked until its answer keeps the contract or its retries are used up."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel

from merganser.routing.requests._contract import Limits, Violation
from merganser.routing.requests._expert import Expert, LateError

Outcome = Literal["kept", "broken", "failed", "late"]
"""The contract was kept or broken; or there was no answer, because the expert failed or took too long."""

_LONGEST = 2_000  # characters of an answer that are kept


@dataclass(frozen=True, slots=True)
class Attempt:
    """One ask and what came of it.

    Attributes:
        expert: Who was asked.
        outcome: What came of it.
        reason: Why the contract was not kept; empty where it was.
        text: The beginning of the answer as it came.
        seconds: How long it took.
        tokens: Tokens of the answer, where somebody counted.
        cost: What it cost. An ask without an answer costs the price of the request: services charge for it.
    """

    expert: str
    outcome: Outcome
    reason: str
    text: str
    seconds: float
    tokens: int
    cost: float


class Tried(NamedTuple):
    """What became of asking one expert.

    Attributes:
        attempts: Every ask.
        answer: The answer that keeps the contract; None if none does.
    """

    attempts: tuple[Attempt, ...]
    answer: BaseModel | None


def try_expert(expert: Expert, request: str | Mapping[str, Any], *, seconds: float | None = None) -> Tried:
    """Ask an expert. After a broken contract it is told what was wrong and asked again; a failure is not repeated.

    Args:
        expert: Who is asked.
        request: A text or the fields of its contract's input, which it must take.
        seconds: Longest time of all asks together; by default the contract's for each.

    Raises:
        ValueError: If the contract does not take the request.
    """
    contract, attempts, told = expert.contract, list[Attempt](), None
    given = contract.accept(request)
    if isinstance(given, Violation):
        raise ValueError(f"Expert {expert.name!r} does not take this request: {given.reason}.")  # noqa: TRY004
    end = None if seconds is None else time.monotonic() + seconds
    for _ in range(contract.retries + 1):
        left = (
            contract.limits.seconds if end is None else min(contract.limits.seconds, end - time.monotonic())
        )
        if left <= 0:
            break
        limits = Limits(left, contract.limits.max_tokens, contract.limits.stop)
        attempt, answer = _asked(expert, contract.question(given, told), limits)
        attempts.append(attempt)
        if answer is not None or attempt.outcome != "broken":
            return Tried(tuple(attempts), answer)
        told = Violation("output", attempt.reason)
    return Tried(tuple(attempts), None)


def _asked(expert: Expert, prompt: str, limits: Limits) -> tuple[Attempt, BaseModel | None]:
    begun = time.monotonic()

    def ended(outcome: Outcome, reason: str, text: str = "", tokens: int = 0) -> Attempt:
        spent = time.monotonic() - begun
        return Attempt(expert.name, outcome, reason, text[:_LONGEST], spent, tokens, expert.price(tokens))

    try:
        reply = expert.ask(prompt, limits)
    except LateError as error:
        return ended("late", str(error)), None
    except Exception as error:  # noqa: BLE001 - whatever an expert does costs one ask
        return ended("failed", str(error) or type(error).__name__), None
    read = expert.contract.read(reply.text)
    if isinstance(read, Violation):
        return ended("broken", read.reason, reply.text, reply.tokens), None
    return ended("kept", "", reply.text, reply.tokens), read
