r"""CMA-ES over a vector that decodes to a genome, with the library `cma` as its engine.

| space | vector | decodes to |
| --- | --- | --- |
| [`DenseVectors`][] | all parameters of a small model, or what is added to each pool of them | the model itself |
| [`LayerWeights`][], two seeds | one weight $t_l \in [0, 1]$ per layer | SLERP of the seeds' layers at $t_l$ |
| [`LayerWeights`][], K seeds | $w_{lk} \in [0, 1]$ per layer and seed | $\sum_k w_{lk} \theta^{(k)}$, not normalised |
| [`RecipeSpace`][] | one coordinate in [0, 1] per gene | a merge by rule |

The covariance is full up to [`FULL_COVARIANCE_LIMIT`][] dimensions and diagonal (separable) above: a full
matrix over the 19,210 weights of the digits network alone takes 3 GB and an hour per decomposition.

The engine changes in place, so a state must not be used after its successor exists. It is resumed like
every search: by telling a fresh one what the journal holds. Generation $g$ draws from a generator keyed by
(run seed, $g$); the global random state is neither read nor set.

Candidates of equal score are ordered by their margins, where the task has them ([`told_losses`][]).

Where the strategy's own criteria end it, a new one may begin, with twice the population, at a point drawn from the
bounds and keyed by (run seed, restart); without bounds, where the first one began.

References:
    Hansen, *The CMA Evolution Strategy: A Tutorial*, 2016, https://arxiv.org/abs/1604.00772.
    Auger, Hansen, *A Restart CMA Evolution Strategy With Increasing Population Size*, CEC 2005,
    https://doi.org/10.1109/CEC.2005.1554902.
    Akiba et al., *Evolutionary Optimization of Model Merging Recipes*, 2024, https://arxiv.org/abs/2403.13187.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from merganser.evolution._archive import ArchiveMember
from merganser.evolution._best import Best
from merganser.evolution._genomes import CombinationSpace, DenseSpace, Seeded, dense_genome
from merganser.evolution._random import keyed_generator
from merganser.evolution._sampling import best_with
from merganser.evolution._search import Proposal, Row
from merganser.evolution._ties import Loss, loss_of, told_losses
from merganser.merging import Combination, slerp_weights

Covariance = Literal["auto", "full", "diagonal"]

FULL_COVARIANCE_LIMIT = 2_000
"""Dimensions up to which the covariance is full; above, it is diagonal."""


@runtime_checkable
class VectorSpace(Protocol):
    """Vectors that decode to genomes."""

    @property
    def start(self) -> Float[np.ndarray, " dimensions"]:
        """Where the search begins."""
        ...

    @property
    def step(self) -> float:
        """Initial standard deviation."""
        ...

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Lower and upper limit of every coordinate."""
        ...

    @property
    def space(self) -> Seeded:
        """Knows the seeds; where the decoded genomes live."""
        ...

    def decode(self, vector: Float[np.ndarray, " dimensions"]) -> Any:
        """The genome a vector stands for."""
        ...


@dataclass(frozen=True)
class DenseVectors:
    """All parameters of a small model; where they are pooled, what is added to the first seed's, pool by pool."""

    space: DenseSpace
    step: float = 0.01
    bounds: None = None

    @property
    def start(self) -> Float[np.ndarray, " dimensions"]:
        """The first seed."""
        pools = self.space.pools
        return self.space.seeds[0].vector.astype(np.float64) if pools is None else np.zeros(pools.max() + 1)

    def decode(self, vector: Float[np.ndarray, " dimensions"]) -> Any:
        """The model itself."""
        pools = self.space.pools
        return dense_genome(vector if pools is None else self.space.seeds[0].vector + vector[pools])


@dataclass(frozen=True)
class LayerWeights:
    """One weight per layer for two seeds; one per layer and seed for more.

    Attributes:
        space: The seeds.
        boundaries: Ascending positions at which layers begin, from 0, and P at the end.
        step: Initial standard deviation.
        bounds: Limits of every weight.
    """

    space: CombinationSpace
    boundaries: tuple[int, ...]
    step: float = 0.2
    bounds: tuple[float, float] | None = (0.0, 1.0)

    @property
    def start(self) -> Float[np.ndarray, " dimensions"]:
        """The middle between two seeds; the average of more."""
        layers, seeds = len(self.boundaries) - 1, len(self.space.seeds)
        return np.full(layers, 0.5) if seeds == 2 else np.full(layers * seeds, 1.0 / seeds)

    def decode(self, vector: Float[np.ndarray, " dimensions"]) -> Combination:
        """The combination with these weights."""
        seeds = self.space.seeds
        if len(seeds) == 2:
            spans = zip(self.boundaries[:-1], self.boundaries[1:], strict=True)
            angles = [self.space.gram.angle(seeds[0], seeds[1], begin, end) for begin, end in spans]
            rows = [slerp_weights(float(t), angle) for t, angle in zip(vector, angles, strict=True)]
        else:
            rows = vector.reshape(-1, len(seeds))
        return Combination(seeds[0].seeds, np.array(self.boundaries), np.asarray(rows))


@dataclass(frozen=True)
class CmaEs:
    """State of CMA-ES. Begin with [`CmaEs.start`][].

    Attributes:
        vectors: What is searched.
        seed: Seed of the run.
        engine: The strategy of the library, changed in place.
        normals: Box for the generator the engine draws from; replaced at every generation.
        best: The best candidates so far.
        asked: Number of candidates handed out, seeds included.
        generation: Candidates of the present generation.
        handed: How many of them were handed out.
        losses: Losses of those that were scored, in order.
        converged: Whether the strategy's own stopping criteria held after the last generation, and no restart is left.
        plateaus: Generations so far whose candidates all scored the same, and whose margins did not tell them apart.
        restarts: How often a new strategy may begin where one has converged.
        restarted: How often one did.
        earlier: Generations of the strategies before the present one.
        tie_breaker: Whether margins order candidates of equal score.
    """

    vectors: VectorSpace
    seed: int
    engine: Any
    normals: list[np.random.Generator]
    best: Best
    asked: int = 0
    generation: tuple[np.ndarray, ...] = ()
    handed: int = 0
    losses: tuple[Loss, ...] = ()
    converged: bool = False
    plateaus: int = 0
    restarts: int = 0
    restarted: int = 0
    earlier: int = 0
    tie_breaker: bool = True

    @classmethod
    def start(
        cls,
        vectors: VectorSpace,
        weights: Float[np.ndarray, " samples"],
        *,
        seed: int,
        population: int | None = None,
        covariance: Covariance = "auto",
        restarts: int = 0,
        tie_breaker: bool = True,
    ) -> CmaEs:
        r"""A search that has not asked yet.

        Args:
            vectors: What is searched.
            weights: Weight of each search sample.
            seed: Seed of the run.
            population: Candidates per generation; by default the library's $4 + 3 \ln n$.
            covariance: `full`, `diagonal`, or `auto`: full up to [`FULL_COVARIANCE_LIMIT`][] dimensions.
            restarts: How often to begin again, with twice the population, where the strategy has converged.
            tie_breaker: Whether margins order candidates of equal score.

        Raises:
            ValueError: If there are fewer than two dimensions, or two candidates in a generation.
        """
        dimensions = len(vectors.start)
        if dimensions < 2:
            raise ValueError(
                f"CMA-ES needs at least 2 dimensions, but there is {dimensions}. "
                "Use the brute-force search, which tries all values of one."
            )
        if population is not None and population < 2:
            raise ValueError(
                f"CMA-ES needs at least 2 candidates per generation, but `population` is {population}."
            )
        normals = [keyed_generator(seed, "cma-es", 0)]
        diagonal = uses_diagonal(dimensions, covariance)
        engine = _engine(vectors, vectors.start, population, normals, diagonal=diagonal)
        best = Best(population or 20, weights)
        return cls(vectors, seed, engine, normals, best, restarts=restarts, tie_breaker=tie_breaker)

    @property
    def dimensions(self) -> int:
        """Length of the vectors that are searched."""
        return self.engine.N

    @property
    def generation_size(self) -> int:
        """Candidates of a generation."""
        return self.engine.popsize

    @property
    def generations(self) -> int:
        """Number of generations that were scored."""
        return self.earlier + self.engine.countiter

    @property
    def diagonal(self) -> bool:
        """Whether the covariance is diagonal only."""
        return bool(self.engine.opts["CMA_diagonal"])

    @property
    def members(self) -> Sequence[ArchiveMember]:
        """The best candidates so far."""
        return self.best.members

    @property
    def exhausted(self) -> bool:
        """Whether the strategy has converged: its own stopping criteria hold at the end of a generation."""
        return self.converged and not self.generation

    def ask(self, n: int = 1) -> tuple[CmaEs, list[Proposal]]:
        """The next `n` candidates, fewer at the end of a generation."""
        seeds = self.vectors.space.seeds
        if self.asked < len(seeds):
            first = range(self.asked, min(self.asked + n, len(seeds)))
            proposals = [Proposal(index, seeds[index], "seed") for index in first]
            return replace(self, asked=self.asked + len(proposals)), proposals
        state = self if self.generation else self._next_generation()
        vectors = state.generation[state.handed : state.handed + n]
        proposals = [
            Proposal(self.asked + i, self.vectors.decode(v), "sample") for i, v in enumerate(vectors)
        ]
        handed = state.handed + len(proposals)
        return replace(state, asked=self.asked + len(proposals), handed=handed), proposals

    def tell(self, proposals: Sequence[Proposal], rows: Sequence[Row]) -> CmaEs:
        """Remember the best; update the strategy once the generation is complete."""
        best = best_with(self.best, self.vectors.space, proposals, rows)
        told = [
            loss_of(row, best.weights)
            for proposal, row in zip(proposals, rows, strict=True)
            if proposal.kind != "seed"
        ]
        losses = (*self.losses, *told)
        if losses and len(losses) == len(self.generation):
            values = told_losses(losses, tie_breaker=self.tie_breaker)
            self.engine.tell(list(self.generation), values)
            stop = bool(self.engine.stop())  # asked once a generation: the engine counts how often it is
            plateaus = self.plateaus + (min(values) == max(values))
            learnt = replace(
                self, best=best, generation=(), handed=0, losses=(), converged=stop, plateaus=plateaus
            )
            return learnt._begun_again() if stop and self.restarted < self.restarts else learnt
        return replace(self, best=best, losses=losses)

    def screen(self, proposal: Proposal) -> None:
        """No early rejection: the strategy ranks whole generations."""

    @property
    def rivals(self) -> Sequence[ArchiveMember]:
        """Nobody: the strategy ranks the means of a generation, all on the same samples."""
        return ()

    def on(
        self, weights: Float[np.ndarray, " samples"], scores: Mapping[int, Float[np.ndarray, " samples"]]
    ) -> CmaEs:
        """The same search on other samples; who is not named keeps the mean of its own."""
        return replace(self, best=self.best.on(weights, scores))

    def _next_generation(self) -> CmaEs:
        self.normals[0] = keyed_generator(self.seed, "cma-es", self.generations)
        return replace(self, generation=tuple(self.engine.ask()), handed=0, losses=())

    def _begun_again(self) -> CmaEs:
        """With a new strategy of twice the population."""
        bounds, start, number = self.vectors.bounds, self.vectors.start, self.restarted + 1
        if bounds is not None:
            start = keyed_generator(self.seed, "cma-es restart", number).uniform(*bounds, len(start))
        population = 2 * self.engine.popsize
        engine = _engine(self.vectors, start, population, self.normals, diagonal=self.diagonal)
        return replace(self, engine=engine, converged=False, restarted=number, earlier=self.generations)


def _engine(
    vectors: VectorSpace,
    start: Float[np.ndarray, " dimensions"],
    population: int | None,
    normals: list[np.random.Generator],
    *,
    diagonal: bool,
) -> Any:
    """The strategy of the library, which reads nothing from outside."""
    options: dict[str, Any] = {
        "verbose": -9,
        "signals_filename": "",  # else it obeys a file of that name in the working directory
        "seed": np.nan,  # neither seed nor read numpy's global generator
        "randn": lambda *shape: normals[0].standard_normal(shape),
        "tolflatfitness": np.inf,  # scores of 0 and 1 tie easily; small steps end the search, not ties
        "tolfun": 0.0,  # else one generation whose candidates all score the same would end it
        "CMA_diagonal": diagonal,
    }
    if population is not None:
        options["popsize"] = population
    if vectors.bounds is not None:
        options["bounds"] = list(vectors.bounds)
    return _library().CMAEvolutionStrategy(start, vectors.step, options)


def _library() -> Any:
    """The library, imported when needed because that takes half a second, without its word on missing plots."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import cma
    return cma


def uses_diagonal(dimensions: int, covariance: Covariance) -> bool:
    """Whether a search over this many dimensions keeps a diagonal covariance only."""
    return covariance == "diagonal" or (covariance == "auto" and dimensions > FULL_COVARIANCE_LIMIT)
