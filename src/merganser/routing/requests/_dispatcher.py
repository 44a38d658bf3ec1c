"""From a request to an answer: decide, ask, validate, ask again, ask the next, fall back, or say clearly why not."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from merganser.routing.requests._attempt import Attempt, try_expert
from merganser.routing.requests._contract import Violation, request_text
from merganser.routing.requests._expert import Expert
from merganser.routing.requests._log import OutcomeLog
from merganser.routing.requests._router import RequestRouter
from merganser.routing.requests._rule import Decision
from merganser.routing.requests._trace import Trace


class Dispatcher:
    """Answers requests.

    Experts are asked in the order of the router's utilities, at most `most_experts` of them; then those of the fallback
    that have not been asked. Where the router abstains only the fallback is asked. An expert that fails, hangs or
    breaks its contract costs its time limit at most, and the next is asked.

    Args:
        router: Decides.
        experts: Who can be asked; every expert of the router must be among them.
        fallback: Names of experts.
        most_experts: How many are asked before the fallback.
        seconds: Longest time of a request altogether; None for the sum of its experts' limits.
        explore: Share of requests, in [0, 1], that ask an expert first who is drawn by the request's hash: a log
            teaches nothing about experts that are never asked.
        log: Where outcomes go.

    Raises:
        ValueError: If an expert of the router or of the fallback is not there, or `explore` is no share.
    """

    def __init__(
        self,
        router: RequestRouter,
        experts: Sequence[Expert],
        *,
        fallback: Sequence[str] = (),
        most_experts: int = 3,
        seconds: float | None = None,
        explore: float = 0.0,
        log: OutcomeLog | None = None,
    ) -> None:
        self._experts = {expert.name: expert for expert in experts}
        missing = [name for name in (*router.experts, *fallback) if name not in self._experts]
        if missing:
            known = ", ".join(self._experts) or "none"
            raise ValueError(f"There is no expert {missing[0]!r}; there are: {known}.")
        if not 0 <= explore <= 1:
            raise ValueError(f"`explore` must lie in [0, 1], but is {explore}.")
        self._explore = explore
        self._router, self._fallback, self._most = router, tuple(fallback), most_experts
        self._seconds, self._log = seconds, log

    def ask(self, request: str | Mapping[str, Any]) -> Trace:
        """The answer to a request, or why there is none; never raises for what an expert does.

        Args:
            request: A text, or fields.

        Raises:
            OutputError: If the log cannot be written.
        """
        at, begun = time.time(), time.monotonic()
        text = request_text(request)
        decision = explored(self._router.decide(text, self._refused(request)), text, self._explore)
        attempts, found = self._tried(request, decision, begun)
        expert, answer, said = None, None, None
        if found is not None:
            expert, answer = found[0].name, found[1].model_dump(mode="json")
            said = found[0].contract.said(found[1])
        error = self._why_not(decision, attempts) if found is None else None
        seconds = time.monotonic() - begun
        trace = Trace(
            uuid.uuid4().hex, at, text, decision, tuple(attempts), expert, answer, said, error, seconds
        )
        if self._log is not None:
            self._log.write(trace)
        return trace

    def _tried(
        self, request: str | Mapping[str, Any], decision: Decision, begun: float
    ) -> tuple[list[Attempt], tuple[Expert, BaseModel] | None]:
        """All asks, and the first answer that keeps its contract, with who gave it."""
        attempts: list[Attempt] = []
        for name in self._asked(decision):
            left = None if self._seconds is None else self._seconds - (time.monotonic() - begun)
            if left is not None and left <= 0:
                break
            tried = try_expert(self._experts[name], request, seconds=left)
            attempts += tried.attempts
            if tried.answer is not None:
                return attempts, (self._experts[name], tried.answer)
        return attempts, None

    def _refused(self, request: str | Mapping[str, Any]) -> dict[str, str]:
        found = {name: expert.contract.accept(request) for name, expert in self._experts.items()}
        return {name: each.reason for name, each in found.items() if isinstance(each, Violation)}

    def _asked(self, decision: Decision) -> Iterator[str]:
        first = () if decision.abstained else decision.order[: self._most]
        yield from first
        yield from (name for name in self._fallback if name not in first and name not in decision.refused)

    def _why_not(self, decision: Decision, attempts: Sequence[Attempt]) -> str:
        if attempts:
            said = "; ".join(f"{a.expert} {_WORDS[a.outcome]}: {a.reason}" for a in attempts)
            return f"No expert answered within its contract: {said}."
        if not decision.order:
            said = "; ".join(f"{name}: {reason}" for name, reason in decision.refused.items())
            return f"No expert takes such a request: {said}."
        if decision.abstained:
            best = max(decision.predicted[name] for name in decision.order)
            return (
                f"The router abstains: the best predicted score is {best:.2f}, the threshold "
                f"{self._router.rule.threshold:.2f}. Name a fallback, or lower the threshold."
            )
        return f"No expert was asked within {self._seconds:g} s."


def explored(decision: Decision, text: str, share: float) -> Decision:
    """The decision, or for a share of requests one that asks a drawn expert first."""
    lot = int.from_bytes(hashlib.blake2b(f"explore {text}".encode(), digest_size=16).digest())
    if not decision.order or decision.abstained or (lot % 10_000) >= share * 10_000:
        return decision
    first = decision.order[(lot // 10_000) % len(decision.order)]
    rest = tuple(name for name in decision.order if name != first)
    return replace(decision, order=(first, *rest), explored=True)


_WORDS = {"kept": "answered", "broken": "broke its contract", "failed": "failed", "late": "was late"}
