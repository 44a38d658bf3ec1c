r"""Pareto's order: who is beaten by nobody, and how good a set of such points is.

A point $a$ *dominates* $b$ if it is at least as good in every objective and better in one. More is better
throughout, and all objectives lie in [0, 1].

| what | rule | function |
| --- | --- | --- |
| front | points that nobody dominates | [`front`][] |
| rank | 0 for the front, 1 for the front of what remains without it, … | [`ranks`][] |
| distance | $\sum_m (f_m^{i+1} - f_m^{i-1}) / (f_m^{\max} - f_m^{\min})$ within a rank | [`crowding`][] |
| order | by rank, then by distance; copies of a point come last | [`crowded_order`][] |
| hypervolume | volume of $\bigcup_i [0, f^i]$ | [`hypervolume`][] |

Where we differ from the paper: distances are scaled by the extent of a rank, which it leaves open; ties in one
objective are decided by the next ones, so that nothing depends on the order of the points; and of several equal
points only the first has a distance. The ends of a rank have an infinite one.

References:
    Deb, Pratap, Agarwal, Meyarivan, *A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II*, IEEE
    Transactions on Evolutionary Computation 6(2), 2002, https://doi.org/10.1109/4235.996017.
    While, Bradstreet, Barone, *A Fast Way of Calculating Exact Hypervolumes*, IEEE Transactions on Evolutionary
    Computation 16(1), 2012, https://doi.org/10.1109/TEVC.2010.2077298.
"""

from __future__ import annotations

import math
from operator import ge, itemgetter

import numpy as np
from jaxtyping import Bool, Float, Int


def front(points: Float[np.ndarray, "points objectives"]) -> Bool[np.ndarray, " points"]:
    """Which points nobody dominates; equal ones stand or fall together.

    Examples:
        >>> front(np.array([[1.0, 0.0], [0.4, 0.4], [0.5, 0.5]])).tolist()
        [True, False, True]
    """
    return np.logical_not(_dominates(points).any(axis=0))


def ranks(points: Float[np.ndarray, "points objectives"]) -> Int[np.ndarray, " points"]:
    """Number of the front that each point belongs to, 0 for the best.

    Examples:
        >>> ranks(np.array([[1.0, 0.0], [0.4, 0.4], [0.5, 0.5], [0.1, 0.1]])).tolist()
        [0, 1, 0, 2]
    """
    dominates = _dominates(points)
    above = dominates.sum(axis=0)
    found = np.zeros(len(points), int)
    rank, open_ = 0, np.ones(len(points), bool)
    while open_.any():
        level = open_ & (above == 0)
        found[level] = rank
        open_ &= ~level
        above = above - dominates[level].sum(axis=0)
        rank += 1
    return found


def crowding(points: Float[np.ndarray, "points objectives"]) -> Float[np.ndarray, " points"]:
    """Crowding distance of points that are all different and of one rank; infinite at both ends of an objective.

    Examples:
        >>> crowding(np.array([[0.0, 1.0], [0.4, 0.5], [0.5, 0.2], [1.0, 0.0]])).round(3).tolist()
        [inf, 1.3, 1.1, inf]
    """
    distance = np.zeros(len(points))
    for objective in range(points.shape[1]):
        keys = np.roll(points, -objective, axis=1)  # this objective first, the others decide between equals
        order = np.lexsort(keys.T[::-1])
        values = points[order, objective]
        extent = values[-1] - values[0]
        distance[order[[0, -1]]] = np.inf
        if extent > 0:
            distance[order[1:-1]] += (values[2:] - values[:-2]) / extent
    return distance


def crowded_order(points: Float[np.ndarray, "points objectives"]) -> Int[np.ndarray, " points"]:
    """Positions of the points, the best first: by rank, then by distance, then as given.

    All but the first of several equal points come last.

    Examples:
        >>> crowded_order(np.array([[0.5, 0.5], [1.0, 1.0], [1.0, 1.0]])).tolist()
        [1, 0, 2]
    """
    originals = np.sort(np.unique(points, axis=0, return_index=True)[1])
    distinct = points[originals]
    rank = ranks(distinct)
    distance = np.empty(len(distinct))
    for level in range(int(rank.max(initial=-1)) + 1):
        mine = rank == level
        distance[mine] = crowding(distinct[mine])
    best_first = originals[np.lexsort((originals, -distance, rank))]
    return np.concatenate([best_first, np.setdiff1d(np.arange(len(points)), originals)])


def hypervolume(points: Float[np.ndarray, "points objectives"]) -> float:
    r"""Volume that the points dominate above 0, exactly: in [0, 1] for points in $[0, 1]^K$.

    From the worst on the last objective up, each point adds a slab as high as that objective over the part of its base
    that the better ones leave: a volume of one dimension less.

    Raises:
        ValueError: If a coordinate is negative.

    Examples:
        >>> hypervolume(np.array([[1.0, 0.5], [0.5, 1.0]]))
        0.75
    """
    if points.size and points.min() < 0:
        raise ValueError(f"Objectives must not be negative, but one is {points.min():g}.")
    return _volume([tuple(point) for point in points.tolist()])


def _volume(points: list[tuple[float, ...]]) -> float:
    """The same of plain numbers, which for so few points are faster than arrays."""
    if not points:
        return 0.0
    objectives = len(points[0])
    if objectives == 1:
        return max(points)[0]
    if objectives == 2:
        volume = height = 0.0
        for x, y in sorted(points, reverse=True):
            volume += x * max(y - height, 0.0)
            height = max(height, y)
        return volume
    points = sorted(_undominated(points), key=itemgetter(-1))
    volume = 0.0
    for i, point in enumerate(points):
        *base, height = point
        covered = [tuple(map(min, base, other)) for other in points[i + 1 :]]
        volume += height * (math.prod(base) - _volume(covered))
    return volume


def _undominated(points: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """The front, each point once."""
    kept: list[tuple[float, ...]] = []
    for point in sorted(points, reverse=True):  # nobody is dominated by a later one
        if not any(all(map(ge, other, point)) for other in kept):
            kept.append(point)
    return kept


def _dominates(points: Float[np.ndarray, "points objectives"]) -> Bool[np.ndarray, "points points"]:
    one, other = points[:, None], points[None]
    return np.logical_and((one >= other).all(axis=2), (one > other).any(axis=2))
