"""What was not measured, and why: sample evaluations beside those of a naive loop.

A naive loop scores every candidate on every search sample. What a run measured less is told apart by cause; scoring
members again when the subset turns, and the finalists in full, is what subsets cost.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Savings:
    """Sample evaluations of candidates that were not made, by cause.

    Attributes:
        cache: Known before: the candidate was met already.
        rejection: Not needed: the candidate was rejected early.
        failures: Not made: the candidate failed.
        subsets: Outside the subset of its turn.
        rescored: Made beside the candidates: members on a new subset, finalists and parents in full.
    """

    cache: int = 0
    rejection: int = 0
    failures: int = 0
    subsets: int = 0
    rescored: int = 0

    @property
    def total(self) -> int:
        """Sample evaluations that a naive loop would have made on top."""
        return self.cache + self.rejection + self.failures + self.subsets - self.rescored

    @property
    def causes(self) -> dict[str, int]:
        """What saved how much, by name, as far as it saved anything; subsets less what they cost."""
        found = {
            "early rejection": self.rejection,
            "subsets": self.subsets - self.rescored,
            "cache": self.cache,
            "failed candidates": self.failures,
        }
        return {name: number for name, number in found.items() if number}

    def to_json(self) -> dict[str, int]:
        """Plain form."""
        return asdict(self)


NOTHING_SAVED = Savings()
