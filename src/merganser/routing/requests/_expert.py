"""Experts: whatever answers a prompt within a time limit, with a name, a contract and a price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from merganser.routing.requests._contract import Contract, Limits


class AskError(Exception):
    """An expert gave no answer: it raised, its process ended, or its service refused."""


class LateError(AskError):
    """An expert took too long."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What an expert wrote.

    Attributes:
        text: The answer as it came.
        tokens: Tokens that were generated, where somebody counted.
    """

    text: str
    tokens: int = 0


class Ask(Protocol):
    """A way to ask. It must return or raise within the limit: see `threaded`, `Function`, `LocalModels`, `Endpoint`."""

    def __call__(self, prompt: str, limits: Limits, /) -> Reply:
        """The answer to a prompt.

        Raises:
            LateError: If there was none in time.
            AskError: If there was none for another reason.
        """
        ...


@dataclass(frozen=True)
class Expert:
    """One of those who may answer.

    Attributes:
        name: What people call it; unique among experts.
        contract: What it is given and what it owes.
        ask: How it is asked.
        cost: Price of a request, in any unit, the same for all experts.
        token_cost: Price of a token of its answers, in the same unit.

    Raises:
        ValueError: If the name is empty, or a price is negative.
    """

    name: str
    contract: Contract
    ask: Ask
    cost: float = 0.0
    token_cost: float = 0.0

    def __post_init__(self) -> None:
        if not self.name or self.cost < 0 or self.token_cost < 0:
            raise ValueError(
                f"An expert needs a name and prices that are not negative, found {self.name!r}, {self.cost:g} and "
                f"{self.token_cost:g}."
            )

    def price(self, tokens: float) -> float:
        """Cost of an answer of so many tokens."""
        return self.cost + self.token_cost * tokens
