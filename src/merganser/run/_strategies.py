"""What several kinds of genomes are searched by in one way."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from merganser.evolution import CmaEs, VectorSpace
from merganser.run._settings import EvolveSettings

POPULATION = 20
"""Members of an archive, or of a generation, where the settings do not say."""


def cma_es(
    settings: EvolveSettings,
    vectors: VectorSpace,
    weights: Float[np.ndarray, " samples"],
    *,
    population: int | None = None,
) -> CmaEs:
    """CMA-ES as the settings ask for it, before its first candidate.

    Args:
        settings: What was asked for.
        vectors: The space whose genomes are vectors.
        weights: Weight of each search sample.
        population: Size of a generation where the settings do not say; by default the rule of CMA-ES.

    Raises:
        ConfigError: If the library that it needs is not installed.
        ValueError: If it cannot search so many genes.
    """
    s = settings.search
    return CmaEs.start(
        vectors,
        weights,
        seed=settings.seed,
        population=s.population or population,
        covariance=s.covariance,
        restarts=s.restarts,
        tie_breaker=s.tie_breaker,
    )
