"""How requests come to their experts, as values.

| strategy | first pass | who answers |
| --- | --- | --- |
| [`Fixed`][] | none | one expert, or the base |
| [`ByPrompt`][] | the base is asked which expert a request is for | that one; the base for `other` |
| [`ByExpert`][] | the same, asked of an expert that was trained to tell | the same |
| [`Mixture`][] | none | all of them, mixed |
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

from merganser._errors import ConfigError
from merganser.adaptation._expert import ExpertVector
from merganser.adaptation._mix import mix
from merganser.adaptation.strategies._decision import MIXTURE, Decision
from merganser.adaptation.strategies._prompt import DispatchPrompt, FirstPass


@dataclass(frozen=True, slots=True)
class Fixed:
    """One expert for all requests.

    Attributes:
        expert: Its name; None for the base.
    """

    expert: str | None = None
    prompt: ClassVar[None] = None
    dispatcher: ClassVar[None] = None

    @property
    def names(self) -> tuple[str, ...]:
        """The expert."""
        return () if self.expert is None else (self.expert,)

    def decide(self, asked: FirstPass, requests: Sequence[str]) -> list[Decision]:  # noqa: ARG002
        """Always the same."""
        return [Decision(self.expert)] * len(requests)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"kind": "fixed", "expert": self.expert}


@dataclass(frozen=True, slots=True)
class ByPrompt:
    """The base itself says which expert a request is for.

    Attributes:
        prompt: How it is asked.
    """

    prompt: DispatchPrompt = field(default_factory=DispatchPrompt)
    dispatcher: ClassVar[None] = None

    @property
    def names(self) -> tuple[str, ...]:
        """None."""
        return ()

    def decide(self, asked: FirstPass, requests: Sequence[str]) -> list[Decision]:
        """What the base says."""
        return self.prompt.decide(asked, requests, None)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"kind": "prompt", "prompt": self.prompt.to_json()}


@dataclass(frozen=True, slots=True)
class ByExpert:
    """The base with an expert that was trained to dispatch says which expert a request is for.

    Attributes:
        dispatcher: Name of that expert; no request goes to it.
        prompt: How it is asked; as in its training.
    """

    dispatcher: str
    prompt: DispatchPrompt = field(default_factory=DispatchPrompt)

    @property
    def names(self) -> tuple[str, ...]:
        """The dispatcher."""
        return (self.dispatcher,)

    def decide(self, asked: FirstPass, requests: Sequence[str]) -> list[Decision]:
        """What the dispatcher says."""
        return self.prompt.decide(asked, requests, self.dispatcher)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"kind": "expert", "dispatcher": self.dispatcher, "prompt": self.prompt.to_json()}


@dataclass(frozen=True, slots=True)
class Mixture:
    r"""All experts at once, $e - 1 = \sum_k \alpha_k (e_k - 1)$; what the weights lack to 1 is the base.

    Attributes:
        experts: Their names.
        weights: $\alpha$ of each; or those for each matrix, by its name.

    Raises:
        ValueError: If there are no experts, or not a finite weight for each.
    """

    experts: tuple[str, ...]
    weights: tuple[float, ...] | Mapping[str, tuple[float, ...]]
    prompt: ClassVar[None] = None
    dispatcher: ClassVar[None] = None

    def __post_init__(self) -> None:
        if isinstance(self.weights, Mapping):
            frozen = {matrix: tuple(map(float, each)) for matrix, each in self.weights.items()}
            object.__setattr__(self, "weights", MappingProxyType(frozen))
            rows = list(frozen.values())
        else:
            object.__setattr__(self, "weights", tuple(map(float, self.weights)))
            rows = [self.weights]
        if not self.experts or not rows:
            raise ValueError("Expected at least one expert to mix, with its weight, found none.")
        for row in rows:
            if len(row) != len(self.experts) or not all(map(math.isfinite, row)):
                raise ValueError(
                    f"Expected a finite weight for each of {len(self.experts)} experts, found {row}."
                )

    @property
    def names(self) -> tuple[str, ...]:
        """The experts."""
        return self.experts

    def vector(self, experts: Mapping[str, ExpertVector]) -> ExpertVector:
        """The mixture as one expert.

        Args:
            experts: Experts by name, these among them.

        Raises:
            ValueError: If they are of different bases, or a matrix lacks weights.
        """
        return mix([experts[name] for name in self.experts], self.weights)

    def mean_weights(self) -> dict[str, float]:
        """Weight of each expert; the mean over matrices where these differ."""
        rows = list(self.weights.values()) if isinstance(self.weights, Mapping) else [self.weights]
        return {name: sum(row[k] for row in rows) / len(rows) for k, name in enumerate(self.experts)}

    def decide(self, asked: FirstPass, requests: Sequence[str]) -> list[Decision]:  # noqa: ARG002
        """Always the mixture."""
        return [Decision(MIXTURE)] * len(requests)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        weights = self.weights
        plain = {n: list(w) for n, w in weights.items()} if isinstance(weights, Mapping) else list(weights)
        return {"kind": "mixture", "experts": list(self.experts), "weights": plain}


Strategy: TypeAlias = Fixed | ByPrompt | ByExpert | Mixture
"""All of them. `prompt` is what a first pass asks, if there is one; `dispatcher` the expert that it is asked of."""


def strategy_from_json(data: Mapping[str, Any]) -> Strategy:
    """The strategy that `to_json` described.

    Raises:
        ConfigError: If there is no such kind, or something is missing or wrong.
    """
    try:
        kind, facts = data["kind"], {key: value for key, value in data.items() if key != "kind"}
        if "prompt" in facts:
            facts["prompt"] = DispatchPrompt(**facts["prompt"])
        if kind == "mixture":
            return Mixture(tuple(facts["experts"]), facts["weights"])
        return {"fixed": Fixed, "prompt": ByPrompt, "expert": ByExpert}[kind](**facts)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"This does not describe a strategy: {error!r}.") from error
