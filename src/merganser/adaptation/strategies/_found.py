"""A search for a mixture: how it is done, and what it found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, final

from merganser.adaptation.strategies._cem import CrossEntropy
from merganser.adaptation.strategies._strategies import Mixture
from merganser.evaluation import Interval

Stopped = Literal["all right", "nothing improves", "budget"]


@dataclass(frozen=True, slots=True)
class MixtureSearch:
    """How a mixture is searched.

    Attributes:
        per_matrix: A weight of each expert for each matrix, rather than one for all.
        budget: Most candidates that are scored, each on all shots.
        patience: Generations without an improvement after which it stops.
        starts: Further mixtures of the first generation.
        cem: Settings of the method.

    Raises:
        ValueError: If budget or patience is not positive.
    """

    per_matrix: bool = False
    budget: int = 512
    patience: int = 5
    starts: tuple[Mixture, ...] = ()
    cem: CrossEntropy = field(default_factory=CrossEntropy)

    def __post_init__(self) -> None:
        if self.budget < 1 or self.patience < 1:
            raise ValueError(
                f"Expected a budget and a patience of at least 1, found {self.budget} and {self.patience}."
            )


class Generation(NamedTuple):
    """One generation of the search.

    Attributes:
        evaluations: Candidates scored by its end.
        best: Best mean score so far.
        tie: What breaks ties, of the best.
        mean: Mean score of the generation.
        weights: Mean weight of each expert in it, over candidates and matrices.
    """

    evaluations: int
    best: float
    tie: float
    mean: float
    weights: tuple[float, ...]


class Standing(NamedTuple):
    """A mixture beside the others.

    Attributes:
        name: What it is: `mixture`, an expert, `uniform` or `base`.
        shots: Mean score on the shots.
        held_out: Mean score on held-out samples; None if there are none.
    """

    name: str
    shots: float
    held_out: Interval | None


@final
@dataclass(frozen=True, slots=True, eq=False)
class MixtureFound:
    """What a search found.

    Attributes:
        mixture: The best.
        standings: That, each expert, the uniform mix and the base.
        history: Generation after generation.
        stopped: Why it ended.
        shots: How many samples were searched on.
        held_out: How many were held out.
        seconds: How long it took.
    """

    mixture: Mixture
    standings: tuple[Standing, ...]
    history: tuple[Generation, ...]
    stopped: Stopped
    shots: int
    held_out: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "mixture": self.mixture.to_json(),
            "standings": [s._asdict() for s in self.standings],
            "history": [generation._asdict() for generation in self.history],
            "stopped": self.stopped,
            "shots": self.shots,
            "held_out": self.held_out,
            "seconds": self.seconds,
        }
