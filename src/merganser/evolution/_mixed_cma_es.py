"""CatCMA with margin over paths, with the library `cmaes` as its engine: switches and numbers each in their own way.

CMA-ES treats an indicator as a number of which only the sign counts, so it goes on stretching what no longer matters.
Here an indicator is drawn from a distribution over off and on that is learned and keeps a margin: it can always switch
again. The scales' numbers are drawn from a normal distribution as in CMA-ES, with a full covariance: use a
[`ScaleNetwork`][] rather than a large [`ScaleMatrix`][], or [`CmaEs`][], which is diagonal in many dimensions.

References:
    Hamano et al., *CatCMA with Margin*, 2025, https://arxiv.org/abs/2504.07884.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from merganser._errors import ConfigError
from merganser.evolution._archive import ArchiveMember
from merganser.evolution._best import Best
from merganser.evolution._paths import PathSpace
from merganser.evolution._random import keyed_generator
from merganser.evolution._sampling import best_with
from merganser.evolution._search import Proposal, Row
from merganser.evolution._ties import Loss, loss_of, told_losses


@dataclass(frozen=True)
class MixedCmaEs:
    """State of the search. Begin with [`MixedCmaEs.start`][].

    Attributes:
        space: Where genomes live.
        seed: Seed of the run.
        engine: The library's strategy; copied before it learns.
        best: The best candidates so far.
        asked: Number of candidates handed out, seeds included.
        generation: The library's candidates of the present generation.
        handed: How many of them were handed out.
        losses: Losses of those that were scored, in order.
        tie_breaker: Whether margins order candidates of equal score.
    """

    space: PathSpace
    seed: int
    engine: Any
    best: Best
    asked: int = 0
    generation: tuple[Any, ...] = ()
    handed: int = 0
    losses: tuple[Loss, ...] = ()
    tie_breaker: bool = True

    @classmethod
    def start(
        cls,
        space: PathSpace,
        weights: Float[np.ndarray, " samples"],
        *,
        seed: int,
        population: int | None = None,
        tie_breaker: bool = True,
    ) -> MixedCmaEs:
        r"""A search that has not asked yet.

        Args:
            space: What is searched.
            weights: Weight of each search sample.
            seed: Seed of the run.
            population: Candidates per generation; by default the library's $4 + 3 \ln n$.
            tie_breaker: Whether margins order candidates of equal score.

        Raises:
            ConfigError: If the library is not installed.
            ValueError: If there are fewer than two candidates in a generation.
        """
        if population is not None and population < 2:
            raise ValueError(f"A generation needs at least 2 candidates, but `population` is {population}.")
        on = 0.5 * (
            1.0 + math.erf(space.lead / math.sqrt(2.0))
        )  # as likely as a vector's coordinate is positive
        likely = np.where(space.layout.whole, on, 1.0 - on)
        count = space.size
        engine = _library().CatCMAwM(
            x_space=[[-np.inf, np.inf]] * count if count else None,
            c_space=[2] * space.layout.positions,
            population_size=population,
            mean=np.zeros(count) if count else None,
            cat_param=np.stack([1.0 - likely, likely], axis=1),
            seed=0,  # before every candidate it is seeded anew
        )
        return cls(space, seed, engine, Best(population or 20, weights), tie_breaker=tie_breaker)

    @property
    def members(self) -> Sequence[ArchiveMember]:
        """The best candidates so far."""
        return self.best.members

    @property
    def rivals(self) -> Sequence[ArchiveMember]:
        """Nobody: candidates are compared within their generation."""
        return ()

    @property
    def exhausted(self) -> bool:
        """Never: margins keep every switch in play."""
        return False

    def ask(self, n: int = 1) -> tuple[MixedCmaEs, list[Proposal]]:
        """The next `n` candidates, fewer at the end of a generation."""
        seeds = self.space.seeds
        if self.asked < len(seeds):
            first = range(self.asked, min(self.asked + n, len(seeds)))
            proposals = [Proposal(index, seeds[index], "seed") for index in first]
            return replace(self, asked=self.asked + len(proposals)), proposals
        state = self if self.generation else self._next_generation()
        drawn = state.generation[state.handed : state.handed + n]
        proposals = [Proposal(self.asked + i, self._path(each), "sample") for i, each in enumerate(drawn)]
        handed = state.handed + len(proposals)
        return replace(state, asked=self.asked + len(proposals), handed=handed), proposals

    def tell(self, proposals: Sequence[Proposal], rows: Sequence[Row]) -> MixedCmaEs:
        """Remember the best; let the strategy learn once the generation is complete."""
        best = best_with(self.best, self.space, proposals, rows)
        told = [
            loss_of(row, best.weights)
            for proposal, row in zip(proposals, rows, strict=True)
            if proposal.kind != "seed"
        ]
        losses = (*self.losses, *told)
        if not told or len(losses) < len(self.generation):
            return replace(self, best=best, losses=losses)
        engine, values = copy.deepcopy(self.engine), told_losses(losses, tie_breaker=self.tie_breaker)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's, where all candidates so far have scored the same
            engine.tell(list(zip(self.generation, values, strict=True)))
        return replace(self, engine=engine, best=best, generation=(), handed=0, losses=())

    def screen(self, proposal: Proposal) -> None:
        """No early rejection: the strategy ranks whole generations."""

    def on(
        self, weights: Float[np.ndarray, " samples"], scores: Mapping[int, Float[np.ndarray, " samples"]]
    ) -> MixedCmaEs:
        """The same search on other samples; who is not named keeps the mean of its own."""
        return replace(self, best=self.best.on(weights, scores))

    def _next_generation(self) -> MixedCmaEs:
        """Draw a generation, each candidate by random numbers of its own."""
        drawn: list[Any] = []
        for index in range(self.asked, self.asked + self.engine.population_size):
            key = keyed_generator(self.seed, "mixed-cma-es", index).integers(1 << 32)
            self.engine.reseed_rng(int(key))
            drawn.append(self.engine.ask())
        return replace(self, generation=tuple(drawn), handed=0, losses=())

    def _path(self, drawn: Any) -> Any:
        values = np.zeros(0) if drawn.x is None else drawn.x
        return self.space.path(drawn.c[:, 1], values)


def _library() -> Any:
    """The library.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        import cmaes
    except ImportError as error:
        raise ConfigError(
            "Searching paths with switches apart from scales needs the library cmaes, which is not installed. Install "
            "it with: pip install 'merganser[paths]'"
        ) from error
    return cmaes
