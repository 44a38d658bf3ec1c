r"""Which models have a common ancestor, and which of them is nearest to being it.

Fine-tunes of one base have nearly its weights; models trained from different random numbers are orthogonal, once what
all models share, a mean that is not zero, is taken away. So for every matrix $m$ of two models, with
$\bar\theta_m$ the mean of its entries,

$$c_m = \cos(\theta_m^{(i)} - \bar\theta_m^{(i)},\ \theta_m^{(j)} - \bar\theta_m^{(j)}).$$

Vectors are left out, since norms are close to 1 in all models; so are matrices so small that chance alone gives any
cosine. What counts is the share of the matrices on either side, not a mean over all entries: copied embeddings make no
relatives, and new ones no strangers.

| found | where |
| --- | --- |
| `same` | all weights are equal |
| `related` | three quarters of the matrices have $c_m \ge 0.755$ |
| `reordered` | they are unrelated, but three quarters of the matrices hold the same numbers: equal sums and norms |
| `unrelated` | three quarters of the matrices have $c_m$ near 0 |
| `cannot tell` | neither: trained far away, or related in part |

**The base among the models.** Of three or more related models, differences from the true base are nearly orthogonal to
each other; differences from one of its fine-tunes all hold that fine-tune's own, and so have larger cosines. The model
with the smallest mean cosine is the nearest to a base, if the cosine is small and the others' are clearly larger. The
middle of a chain (base, then a fine-tune, then a fine-tune of that) looks the same, so this is likely at best; two
models look the same from both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from merganser.comparison._geometry import Geometry
from merganser.comparison._moments import Moments, cosines_of
from merganser.comparison._thresholds import limit

Kinship = Literal["same", "related", "reordered", "unrelated", "cannot tell"]
"""How two models stand to each other."""


class Kin(NamedTuple):
    """Two models of a family, or none.

    Args:
        kinship: How they stand to each other.
        cosine: Median cosine of their centred matrices; None if no matrix is large enough to tell.
        distance: Their distance beside the geometric mean of their norms, over all matrices; None if one is zero.
        matrices: How many matrices this rests on.
    """

    kinship: Kinship
    cosine: float | None
    distance: float | None
    matrices: int


@dataclass(frozen=True)
class Parentage:
    """Who is related to whom.

    Args:
        models: The models, the base first if one was named.
        kin: Every two of them, by their places; the smaller first.
        bases: Which model looks like the base of those that it is related to; none where that cannot be told.
        cosines: Seen from each model, the mean cosine between the differences of its relatives; only for those with
            two or more.
    """

    models: tuple[str, ...]
    kin: Mapping[tuple[int, int], Kin]
    bases: tuple[int, ...]
    cosines: Mapping[int, float]

    def between(self, first: int, second: int) -> Kin:
        """How two models stand to each other, by their places."""
        return self.kin[min(first, second), max(first, second)]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        pairs = [
            {"models": [self.models[i], self.models[j]], **kin._asdict()} for (i, j), kin in self.kin.items()
        ]
        return {
            "pairs": pairs,
            "bases": [self.models[i] for i in self.bases],
            "cosines": {self.models[i]: cosine for i, cosine in self.cosines.items()},
        }


def parentage(found: Geometry) -> Parentage:
    """Tell who is related to whom, from what a geometry has measured; nothing is read.

    Args:
        found: The geometry; a base is one of the family.

    Examples:
        >>> import torch
        >>> from merganser.comparison import geometry
        >>> from merganser.weights import Checkpoint
        >>> draws = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> near = draws[0] + 0.1 * draws[1]
        >>> models = [Checkpoint.from_tensors({"w": tensor}) for tensor in (draws[0], near, draws[2])]
        >>> [kin.kinship for kin in parentage(geometry(models)).kin.values()]
        ['related', 'unrelated', 'unrelated']
    """
    # without a base the pivot is the first model, and so has two rows
    start = 0 if found.base is not None else 1
    models = found.models if found.base is None else (found.base, *found.models)
    matrices = [sums for name, sums in found.tensors.items() if len(found.shapes[name]) > 1]
    pairs = list(combinations(range(len(models)), 2))
    kin = {(i, j): _kin(matrices, found, (start + i, start + j)) for i, j in pairs}
    families = _families(len(models), kin)
    squares = np.sum([sums.distances[start:, start:] ** 2 for sums in matrices], axis=0)
    seen = {c: _seen_from(c, squares, family) for family in families for c in family}
    return Parentage(models, kin, tuple(n for f in families if (n := _nearest(seen, f)) is not None), seen)


def _kin(matrices: Sequence[Moments], found: Geometry, rows: tuple[int, int]) -> Kin:
    """How two models stand to each other, by what they have in each matrix."""
    views = [_view(sums, rows) for sums in matrices]
    telling = [view for view in views if view.tells]
    sizes = [math.sqrt(sum(view.norms[i] ** 2 for view in views)) for i in range(2)]
    length = math.sqrt(sum(view.squared_distance for view in views))
    return Kin(
        _kinship(telling, is_same=all(sums.distances[rows] == 0 for sums in found.tensors.values())),
        float(np.median([view.cosine for view in telling])) if telling else None,
        length / math.sqrt(sizes[0] * sizes[1]) if all(sizes) else None,
        len(telling),
    )


class _View(NamedTuple):
    """What two models have in one matrix."""

    entries: int
    totals: Float[np.ndarray, " 2"]
    norms: Float[np.ndarray, " 2"]
    squared_distance: float
    cosine: float

    @property
    def chance(self) -> float:
        """How large a cosine chance alone gives."""
        return limit("chance") / math.sqrt(self.entries)

    @property
    def tells(self) -> bool:
        """Whether a cosine says anything: the matrix is neither tiny nor constant."""
        return self.chance < limit("related") and not math.isnan(self.cosine)

    @property
    def holds_same_numbers(self) -> bool:
        """Whether both have the same numbers, in whatever order: their sums and norms are equal."""
        close = limit("same numbers") * self.norms.max()
        apart = abs(self.totals[0] - self.totals[1]) / math.sqrt(self.entries)
        return bool(abs(self.norms[0] - self.norms[1]) <= close and apart <= close)


def _view(sums: Moments, rows: tuple[int, int]) -> _View:
    pick = np.ix_(rows, rows)
    weights, totals = sums.weights[pick], sums.totals[list(rows)]
    norms = np.sqrt(np.diag(weights))
    centred = weights - np.outer(totals, totals) / sums.entries
    spread = np.diag(centred)
    is_constant = (spread <= 1e-12 * np.diag(weights)).any()
    cosine = math.nan if is_constant else float(centred[0, 1] / math.sqrt(spread[0] * spread[1]))
    return _View(sums.entries, totals, norms, float(sums.distances[rows]) ** 2, cosine)


def _kinship(views: Sequence[_View], *, is_same: bool) -> Kinship:
    if is_same:
        return "same"
    if not views:
        return "cannot tell"
    related = [view.cosine >= limit("related") for view in views]
    unrelated = [abs(view.cosine) <= max(limit("unrelated"), view.chance) for view in views]
    reordered = [view.holds_same_numbers for view in views]
    enough = limit("matrices") * len(views)
    if sum(related) >= enough:
        return "related"
    if sum(reordered) >= enough:
        return "reordered"
    return "unrelated" if sum(unrelated) >= enough else "cannot tell"


def _families(count: int, kin: Mapping[tuple[int, int], Kin]) -> list[tuple[int, ...]]:
    """Groups of three or more models of which every two are related, and none to a model outside."""
    found = []
    for i in range(count):
        family = tuple(j for j in range(count) if j == i or _are_related(kin, i, j))
        if (
            family[0] == i
            and len(family) > 2
            and all(_are_related(kin, *pair) for pair in combinations(family, 2))
        ):
            found.append(family)
    return found


def _are_related(kin: Mapping[tuple[int, int], Kin], first: int, second: int) -> bool:
    return kin[min(first, second), max(first, second)].kinship == "related"


def _seen_from(c: int, squares: Float[np.ndarray, "n n"], family: tuple[int, ...]) -> float:
    """The mean cosine between the differences of a model's relatives from it, by the law of cosines."""
    others = [i for i in family if i != c]
    lengths = squares[c, others]
    cosines = cosines_of((lengths[:, None] + lengths[None, :] - squares[np.ix_(others, others)]) / 2)
    return float(np.mean(cosines[np.triu_indices(len(others), 1)]))


def _nearest(seen: Mapping[int, float], family: tuple[int, ...]) -> int | None:
    best, second = sorted(family, key=lambda i: seen[i])[:2]
    is_clear = seen[best] <= limit("base cosine") and seen[second] - seen[best] >= limit("base margin")
    return best if is_clear else None
