"""What a search is: a state that answers `ask` with proposals and `tell` with its successor.

```
    ask(n) ──► proposals ──► (materialise, score) ──► rows ──► tell(proposals, rows)
```

A state is a value: the same state always proposes the same children, because all that is random about child
$k$ is keyed by (seed, $k$). So a search is resumed by telling a fresh one what the journal holds.

A search knows as many samples as its rows have, and does not ask which. One that can change them in between, a
[`SubsetSearch`][], may be given a few samples at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from merganser.evolution._genomes import Cross, Genome


@dataclass(frozen=True, slots=True)
class Proposal:
    """A candidate that a search wants scored.

    Attributes:
        index: Number of the child in its run, from 0; seeds come first.
        genome: The candidate.
        kind: How it came about: `seed`, `warm-up`, `cross`, `copy`, `sample`.
        parents: Indices of its parents in the run, none to two.
        cross: Weight, split point and noise, where it has parents.
    """

    index: int
    genome: Any
    kind: str
    parents: tuple[int, ...] = ()
    cross: Cross | None = None

    @property
    def digest(self) -> str:
        """Digest of the candidate."""
        return self.genome.digest


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of a candidate's scores.

    Attributes:
        scores: Score on every search sample, in [0, 1]; 0 where not measured.
        measured: Which samples were measured; None if all were.
        failed: Why the candidate could not be scored, or None.
        margins: How nearly right it was on every sample, in [0, 1], where the task knows that; 0 where not measured.
            They order candidates of equal score, in searches that heed them.
    """

    scores: Float[np.ndarray, " samples"]
    measured: Bool[np.ndarray, " samples"] | None = None
    failed: str | None = None
    margins: Float[np.ndarray, " samples"] | None = None

    @property
    def complete(self) -> bool:
        """Whether every sample was measured."""
        return self.measured is None

    @property
    def mean(self) -> float:
        """Mean score over what was measured."""
        count = self.scores.size if self.measured is None else np.count_nonzero(self.measured)
        return float(self.scores.sum()) / max(count, 1)

    def on(self, ids: Int[np.ndarray, " subset"]) -> Row:
        """What is known on the samples at these positions."""
        known = None if self.measured is None or self.measured[ids].all() else self.measured[ids]
        margins = None if self.margins is None else self.margins[ids]
        return Row(self.scores[ids], known, self.failed, margins)


@runtime_checkable
class Screening(Protocol):
    """Which samples a child still has to be scored on before its fate is certain."""

    def next_samples(self) -> np.ndarray | None:
        """Positions of the next samples to score; None when no more are needed."""
        ...

    def record(self, scores: Float[np.ndarray, " samples"]) -> None:
        """Scores on the samples that `next_samples` named last."""
        ...


@runtime_checkable
class Member(Protocol):
    """A candidate that a search holds, with what it scored."""

    @property
    def index(self) -> int:
        """Number of the child in its run."""
        ...

    @property
    def genome(self) -> Genome:
        """The candidate."""
        ...

    @property
    def scores(self) -> Float[np.ndarray, " samples"]:
        """Its score on every search sample."""
        ...


@runtime_checkable
class Search(Protocol):
    """A search as a value."""

    def ask(self, n: int = 1) -> tuple[Search, list[Proposal]]:
        """The next `n` children, and the state that has handed them out.

        Fewer, or none, where others must be told first, and at the end.
        """
        ...

    def tell(self, proposals: Sequence[Proposal], rows: Sequence[Row]) -> Search:
        """The state after these children were scored, in order of their index."""
        ...

    @property
    def members(self) -> Sequence[Member]:
        """The candidates the search would return now."""
        ...

    @property
    def exhausted(self) -> bool:
        """Whether the search has nothing more to propose."""
        ...

    def screen(self, proposal: Proposal) -> Screening | None:
        """Early rejection of this child, where the search can decide before all samples are known."""
        ...


@runtime_checkable
class SubsetSearch(Search, Protocol):
    """A search that can go on with other samples than those it was told scores on."""

    @property
    def rivals(self) -> Sequence[Member]:
        """The members that children are compared with sample by sample: they must be known on the same samples."""
        ...

    def on(
        self, weights: Float[np.ndarray, " samples"], scores: Mapping[int, Float[np.ndarray, " samples"]]
    ) -> SubsetSearch:
        """The state on other samples; members that are no rivals may keep what they scored on theirs.

        Args:
            weights: Weight of each of the samples.
            scores: Scores of members there, by index; of all rivals at least.
        """
        ...
