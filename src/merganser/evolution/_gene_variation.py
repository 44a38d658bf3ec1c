r"""Variation of genes in [0, 1]: simulated binary crossover and polynomial mutation.

With $u \sim U[0, 1)$ for each gene and $y_1 < y_2$ the parents' values, all within $[0, 1]$:

| rule | formula |
| --- | --- |
| spread | $\bar\beta = (\alpha u)^{1/(\eta+1)}$ if $u \le 1/\alpha$, else $(2 - \alpha u)^{-1/(\eta+1)}$ |
| its bound, below | $\alpha = 2 - \beta^{-(\eta+1)}$ with $\beta = 1 + 2 y_1/(y_2 - y_1)$ |
| above | the same with $\beta = 1 + 2 (1 - y_2)/(y_2 - y_1)$ |
| children | $\frac12 (y_1 + y_2 - \bar\beta_1 (y_2 - y_1))$ and $\frac12 (y_1 + y_2 + \bar\beta_2 (y_2 - y_1))$ |
| mutation down, $u < \frac12$ | $x + (2u + (1 - 2u)(1 - x)^{\eta+1})^{1/(\eta+1)} - 1$ |
| mutation up | $x + 1 - (2(1 - u) + (2u - 1)\,x^{\eta+1})^{1/(\eta+1)}$ |

A child is crossed with probability 0.9, then each gene with one half, and takes either of the two children's values
with equal chance; each gene is mutated with probability $1/n$. $\eta$ is 20 for both. These are the figures of the
paper on NSGA-II; only one of two children is made here.

References:
    Deb, Agrawal, *Simulated Binary Crossover for Continuous Search Space*, Complex Systems 9, 1995.
    Deb, Pratap, Agarwal, Meyarivan, *A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II*, IEEE
    Transactions on Evolutionary Computation 6(2), 2002, https://doi.org/10.1109/4235.996017.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

ETA = 20.0
"""How near children stay to their parents: the distribution index of crossover and of mutation."""

CROSSED = 0.9
"""Share of the children that are crossed at all."""


def varied(
    first: Float[np.ndarray, " genes"], second: Float[np.ndarray, " genes"], generator: np.random.Generator
) -> Float[np.ndarray, " genes"]:
    """A child of two parents.

    Args:
        first: The parent it takes most after: genes that are not crossed are this one's; in [0, 1].
        second: The other parent.
        generator: The child's own.
    """
    child = first
    if generator.random() < CROSSED:
        child = crossed(first, second, generator)
    return mutated(child, generator)


def crossed(
    first: Float[np.ndarray, " genes"], second: Float[np.ndarray, " genes"], generator: np.random.Generator
) -> Float[np.ndarray, " genes"]:
    """Simulated binary crossover within [0, 1]: each gene of the first parent, or one near either parent's."""
    is_crossed, is_lower = generator.random((2, len(first))) < 0.5
    u = generator.random(len(first))
    low, high = np.minimum(first, second), np.maximum(first, second)
    gap = high - low
    with np.errstate(divide="ignore", invalid="ignore"):
        lower = 0.5 * (low + high - _spread(1 + 2 * low / gap, u) * gap)
        upper = 0.5 * (low + high + _spread(1 + 2 * (1 - high) / gap, u) * gap)
    values = np.clip(np.where(is_lower, lower, upper), 0.0, 1.0)
    return np.where(is_crossed & (gap > 0), values, first)


def mutated(
    genes: Float[np.ndarray, " genes"], generator: np.random.Generator
) -> Float[np.ndarray, " genes"]:
    """Polynomial mutation within [0, 1]: on average of one gene."""
    chance, u = generator.random((2, len(genes)))
    power = ETA + 1
    room = np.where(u < 0.5, 1 - genes, genes)  # 1 minus what lies on the side it moves to
    near = 2 * np.minimum(u, 1 - u)
    step = 1 - (near + (1 - near) * room**power) ** (1 / power)
    moved = np.clip(genes + np.where(u < 0.5, -step, step), 0.0, 1.0)
    return np.where(chance < 1 / len(genes), moved, genes)


def _spread(beta: Float[np.ndarray, " genes"], u: Float[np.ndarray, " genes"]) -> Float[np.ndarray, " genes"]:
    """How far apart the children lie, in units of their parents' distance, so that none leaves the bounds."""
    power = ETA + 1
    alpha = 2 - beta**-power
    return np.where(u <= 1 / alpha, u * alpha, 1 / (2 - u * alpha)) ** (1 / power)
