r"""Competition for limited resources, and the attraction between mates.

Every evaluation sample $j$ is a *resource* that the population shares. Write $s_{ij}$ for the
score of model $i$ on sample $j$, in [0, 1], and $z_j = \sum_i s_{ij}$ for the demand on that sample.
What one unit of score on it is worth is its *price*,

$$p_j = \frac{w_j\, c_j}{z_j^{\alpha} + \varepsilon},$$

with the capacity $c_j$ = 1 for binary scores and $c_j = \max_i s_{ij}$ for continuous ones (a sample
that everybody half solves hands out half a unit), and $w_j$ the weight of the sample's task.

| rule | formula | here |
| --- | --- | --- |
| crowded samples are worth less | $f_i = \sum_j s_{ij}\, p_j$ | [`niche_fitness`][] |
| a mate is sought where it helps | $g_b = \sum_j \max(0,\ s_{bj} - s_{aj})\, p_j$ | [`attraction`][] |
| how much of the data somebody solves | share of $j$ with $\max_i s_{ij} > 1/2$ | [`coverage`][] |
| how much the members disagree | mean over $j$ of $H_2(z_j / P)$ | [`entropy`][] |

With $\alpha = 0$ the fitness is the plain sum of scores (a genetic algorithm); with $\alpha = 1$ and
$\varepsilon = 0$ the population splits exactly $c_j$ units of fitness per sample.

Where we differ: the paper leaves ε open and its code has none; ours is 0 unless asked for, and a
sample that nobody solves has price $w_j c_j$, whose numerator is 0 anyway. For a child-aware decision
pass the rows of archive and child together.

References:
    Abrantes, Lange, Tang, *Competition and Attraction Improve Model Fusion*, GECCO 2025,
    https://arxiv.org/abs/2508.16204 (eqs. 3, 4 and 5).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float


class Niches(NamedTuple):
    """How the population competes: the parameters of eq. 5.

    Attributes:
        alpha: How strongly crowding is punished, from 0 (not at all: a GA) to 1 (shared out) and beyond.
        epsilon: Added to the crowding in the denominator, at least 0.
        binary: Whether every score is 0 or 1, so that each sample's capacity is 1.
    """

    alpha: float = 1.0
    epsilon: float = 0.0
    binary: bool = True


def check_scores(scores: Float[np.ndarray, "models samples"]) -> None:
    """Refuse scores outside [0, 1], naming the first offender.

    Raises:
        ValueError: If a score is negative, above 1, or not a number.
    """
    wrong = ~((scores >= 0) & (scores <= 1))
    if wrong.any():
        model, sample = np.argwhere(wrong)[0]
        raise ValueError(
            f"Scores must lie in [0, 1], but model {model} scored {scores[model, sample]:g} on sample "
            f"{sample}. Shift and scale the metric so that 0 means 'worst' and 1 'best'."
        )


def prices(
    demand: Float[np.ndarray, " samples"],
    capacity: Float[np.ndarray, " samples"],
    niches: Niches,
) -> Float[np.ndarray, " samples"]:
    r"""Worth of one unit of score on each sample, $p_j = w_j c_j / (z_j^\alpha + \varepsilon)$.

    Args:
        demand: $z_j$, summed scores, at least 0.
        capacity: $w_j c_j$, the units of fitness each sample hands out, at least 0.
        niches: α and ε.
    """
    crowding = np.where(demand > 0, demand, 1.0)
    if niches.alpha != 1.0:
        crowding **= niches.alpha
    return capacity / (crowding + niches.epsilon)


def capacities(
    scores: Float[np.ndarray, "models samples"],
    niches: Niches,
    weights: Float[np.ndarray, " samples"] | float = 1.0,
) -> Float[np.ndarray, " samples"]:
    r"""Units of fitness each sample hands out, $w_j c_j$."""
    if niches.binary:
        return np.broadcast_to(np.float64(weights), scores.shape[1:])
    return scores.max(axis=0, initial=0.0) * weights


def niche_fitness(
    scores: Float[np.ndarray, "models samples"],
    niches: Niches = Niches(),
    weights: Float[np.ndarray, " samples"] | float = 1.0,
) -> Float[np.ndarray, " models"]:
    r"""Share of the resources each model wins, $f_i = \sum_j s_{ij}\, p_j$ (eqs. 3 and 5).

    Args:
        scores: Score of every model on every sample, in [0, 1].
        niches: α, ε and whether scores are binary.
        weights: Weight $w_j$ of each sample, for example one over the size of its task.

    Raises:
        ValueError: If a score lies outside [0, 1].

    Examples:
        Two generalists share what a lone specialist keeps for itself:

        >>> niche_fitness(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        array([0.5, 0.5, 1. ])
    """
    check_scores(scores)
    return scores @ prices(scores.sum(axis=0), capacities(scores, niches, weights), niches)


def attraction(
    scores: Float[np.ndarray, "models samples"],
    first: int,
    price: Float[np.ndarray, " samples"],
) -> Float[np.ndarray, " models"]:
    r"""What each model would add to `first`, $g_b = \sum_j \max(0, s_{bj} - s_{aj})\, p_j$ (eq. 4)."""
    return np.maximum(scores - scores[first], 0.0) @ price


def coverage(
    scores: Float[np.ndarray, "models samples"], measured: Bool[np.ndarray, "models samples"] | None = None
) -> float:
    """Share of the samples that at least one model solves (score above one half).

    Args:
        scores: Score of every model on every sample; 0 where not measured.
        measured: What was measured; None if everything was. Samples on which nobody was measured do not count.

    Examples:
        >>> coverage(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])).__round__(3)
        0.667
    """
    solved = scores.max(axis=0, initial=0.0) > 0.5
    if measured is not None:
        solved = solved[measured.any(axis=0)]
    return float(solved.mean())


def entropy(
    scores: Float[np.ndarray, "models samples"], measured: Bool[np.ndarray, "models samples"] | None = None
) -> float:
    """Mean binary entropy, in bits, of the share of models that solve a sample: 0 if all agree, 1 at half and half.

    Args:
        scores: Score of every model on every sample; 0 where not measured.
        measured: What was measured; None if everything was. Shares are of those that were measured on a sample, and
            samples on which nobody was do not count.

    Examples:
        >>> entropy(np.array([[1.0, 1.0], [0.0, 1.0]]))
        0.5
    """
    if measured is None:
        share = np.clip(scores.mean(axis=0), 0.0, 1.0)
    else:
        asked = measured.sum(axis=0)
        share = np.clip(scores.sum(axis=0)[asked > 0] / asked[asked > 0], 0.0, 1.0)
    inside = share[(share > 0) & (share < 1)]
    bits = -(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside))
    return float(bits.sum() / max(share.size, 1))
