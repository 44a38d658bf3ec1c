r"""The cross-entropy method: a normal distribution that moves to where the best candidates were.

One generation, with $N$ candidates of which the best $\lceil \rho N \rceil$ are the elites $E$:

| step | formula |
| --- | --- |
| ask | $x_i \sim \mathcal N(\mu, \mathrm{diag}(\varsigma^2))$, clamped to $[l, h]$; first of all the best so far |
| tell | $\mu \leftarrow \mathrm{mean}_{E}\, x$, $\varsigma \leftarrow \max(\mathrm{std}_{E}\, x, \varsigma_0)$ |

The published code has $\rho = 0.2$, rounded down, and no floor $\varsigma_0$; with one, a generation of equal elites
does not end the search.

References:
    Rubinstein, Kroese, *The Cross-Entropy Method*, Springer 2004.
    Sun et al., *Transformer²: Self-Adaptive LLMs*, ICLR 2025, https://arxiv.org/abs/2501.06252
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    r"""Settings of the method.

    Attributes:
        population: Candidates of a generation.
        elites: Share of them that the next generation follows, in (0, 1].
        spread: Standard deviation at the beginning.
        floor: Least standard deviation, $\varsigma_0$.
        low: Least value of a gene.
        high: Largest value of a gene.
        seed: Of the candidates that are drawn.

    Raises:
        ValueError: If a number is out of its range.
    """

    population: int = 32
    elites: float = 0.2
    spread: float = 0.5
    floor: float = 0.02
    low: float = 0.0
    high: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.population < 2 or not 0 < self.elites <= 1:
            raise ValueError(
                f"Expected a population of at least 2 and a share of elites in (0, 1], found {self.population} and "
                f"{self.elites:g}."
            )
        if self.spread < 0 or self.floor < 0 or not self.low < self.high:
            raise ValueError(
                f"Expected standard deviations that are not negative and `low` below `high`, found {self.spread:g}, "
                f"{self.floor:g}, {self.low:g} and {self.high:g}."
            )


@final
@dataclass(frozen=True, slots=True, eq=False)
class CemState:
    """Where the method is.

    Attributes:
        mean: Mean of each gene.
        spread: Standard deviation of each gene.
        best: The best candidate so far; None before the first was told.
        generation: Generations that were told.
    """

    mean: Float[np.ndarray, " genes"]
    spread: Float[np.ndarray, " genes"]
    best: Float[np.ndarray, " genes"] | None = None
    generation: int = 0


def begin(mean: Float[np.ndarray, " genes"], settings: CrossEntropy) -> CemState:
    """The state before the first generation."""
    return CemState(mean, np.full_like(mean, settings.spread))


def ask(
    state: CemState, settings: CrossEntropy, starts: Sequence[Float[np.ndarray, " genes"]] = ()
) -> Float[np.ndarray, "candidates genes"]:
    """The candidates of a generation.

    Args:
        state: Where the method is.
        settings: How it goes on.
        starts: Candidates that are given; all of them come, the rest of the population is drawn.
    """
    given = [*starts, *([] if state.best is None else [state.best])]
    key = np.array([settings.seed, state.generation], dtype=np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key))
    size = max(0, settings.population - len(given)), len(state.mean)
    drawn = state.mean + state.spread * generator.standard_normal(size)
    return np.clip(np.array([*given, *drawn]), settings.low, settings.high)


def tell(
    state: CemState,
    settings: CrossEntropy,
    candidates: Float[np.ndarray, "candidates genes"],
    order: Sequence[int],
) -> CemState:
    """Go on from a generation.

    Args:
        state: Where the method is.
        settings: How it goes on.
        candidates: What was asked.
        order: Their numbers, best first.
    """
    count = max(1, int(np.ceil(settings.elites * len(order))))
    elites = candidates[list(order[:count])]
    spread = np.maximum(elites.std(axis=0), settings.floor)
    return replace(
        state,
        mean=elites.mean(axis=0),
        spread=spread,
        best=candidates[order[0]],
        generation=state.generation + 1,
    )
