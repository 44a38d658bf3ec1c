r"""Who solves what: the final population's scores, ordered so that niches become visible.

Members and samples stand to each other as species and sites do in ecology, and are put in order as there,
by *reciprocal averaging*: a sample's place is the average place of the members that solve it, a member's
place the average place of the samples that it solves. The fixed point is the first axis of a correspondence
analysis. With $S$ the scores on the samples that members disagree on, $n = \sum S$, $r$ and $c$ its row and
column sums,

| what | formula |
| --- | --- |
| standardised residuals | $Z = (S - r c^\top / n) / \sqrt{r c^\top}$ |
| place of members | $u / \sqrt r$, with $u$ the first left singular vector of $Z$ |
| place of samples | $Z^\top u / \sqrt c$ |

References:
    Hill, *Reciprocal Averaging: an Eigenvector Method of Ordination*, Journal of Ecology 1973.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from merganser.evolution import Row
from merganser.report._run_info import RunInfo
from merganser.run import RunDirectory

MOST_COLUMNS = 2_000
MOST_ROWS = 200


class NicheOrder(NamedTuple):
    """Rows and columns of a score matrix in the order of their niches.

    Attributes:
        members: The rows.
        samples: The columns: those that all solve, then the contested ones, then those that nobody solves.
        everyone: How many samples all solve.
        contested: How many some solve.
    """

    members: Int[np.ndarray, " members"]
    samples: Int[np.ndarray, " samples"]
    everyone: int
    contested: int


@dataclass(frozen=True, slots=True)
class WinInfo:
    """Which member solves which sample.

    Attributes:
        members: Index of each row's member.
        means: Mean score of each row.
        picture: Scores by row and column; neighbouring samples are averaged where there are too many.
        samples: Number of samples.
        everyone: Samples that all members solve, the first columns.
        contested: Samples that some solve, the columns in the middle.
        left_out: Members that are not shown, the weakest.
    """

    members: tuple[int, ...]
    means: Float[np.ndarray, " members"]
    picture: Float[np.ndarray, "members columns"]
    samples: int
    everyone: int
    contested: int
    left_out: int

    @property
    def nobody(self) -> int:
        """Samples that no member solves, the last columns."""
        return self.samples - self.everyone - self.contested


def win_info(info: RunInfo) -> WinInfo | None:
    """Scores of the members of a run on the search samples that all of them were scored on; None if there are none."""
    rows: dict[int, Row] = {}
    with RunDirectory(info.path).journal() as journal:
        for index in info.members:
            row = journal.row(info.events[index].recipe, info.search.digest, info.search.samples)
            if row is not None:
                rows[index] = row
    masks = [row.measured for row in rows.values() if row.measured is not None]
    known = np.logical_and.reduce([np.ones(info.search.samples, bool), *masks])
    if not rows or not known.any():
        return None
    shown = sorted(rows, key=lambda i: -rows[i].scores[known].mean())[:MOST_ROWS]
    scores = np.stack([rows[i].scores[known] for i in shown])
    order = niche_order(scores)
    ordered = scores[order.members][:, order.samples]
    return WinInfo(
        members=tuple(shown[i] for i in order.members),
        means=ordered.mean(axis=1),
        picture=binned(ordered, MOST_COLUMNS),
        samples=scores.shape[1],
        everyone=order.everyone,
        contested=order.contested,
        left_out=len(rows) - len(shown),
    )


def niche_order(scores: Float[np.ndarray, "members samples"]) -> NicheOrder:
    """Put members and samples in an order in which alike ones adjoin.

    Examples:
        Two specialists and a sample that both solve, one that nobody does:

        >>> order = niche_order(np.array([[0, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0.0]]))
        >>> order.samples.tolist()[0], sorted(order.samples.tolist()[-2:]), order.contested
        (2, [0, 4], 2)
        >>> order.members.tolist() in ([0, 2, 1], [1, 0, 2])
        True
    """
    solved = scores > 0.5
    everyone, nobody = solved.all(axis=0), ~solved.any(axis=0)
    contested = np.flatnonzero(~everyone & ~nobody)
    rows, columns = _first_axis(scores[:, contested])
    members = np.lexsort((-scores.mean(axis=1), rows))
    between = contested[np.lexsort((-scores[:, contested].sum(axis=0), columns))]
    samples = np.concatenate([np.flatnonzero(everyone), between, np.flatnonzero(nobody)])
    return NicheOrder(members, samples, int(everyone.sum()), len(contested))


def binned(scores: Float[np.ndarray, "members samples"], most: int) -> Float[np.ndarray, "members columns"]:
    """Average over neighbouring columns, so that at most `most` are left.

    Examples:
        >>> binned(np.array([[0.0, 1.0, 1.0, 1.0]]), 2).tolist()
        [[0.5, 1.0]]
    """
    count = scores.shape[1]
    if count <= most:
        return scores
    starts = np.arange(0, count, bin_width(count, most))
    return np.add.reduceat(scores, starts, axis=1) / np.diff(np.append(starts, count))


def bin_width(count: int, most: int) -> int:
    """How many neighbouring samples share a column, so that at most `most` columns are left."""
    return -(-count // most)


def _first_axis(scores: Float[np.ndarray, "members samples"]) -> tuple[np.ndarray, np.ndarray]:
    """Place of each row and column on the first axis of a correspondence analysis."""
    total, r, c = scores.sum(), scores.sum(axis=1), scores.sum(axis=0)
    if total == 0 or len(scores) < 2:
        return np.zeros(len(r)), np.zeros(len(c))
    r, c = np.where(r > 0, r, 1.0), np.where(c > 0, c, 1.0)
    z = (scores - np.outer(r, c) / total) / np.sqrt(np.outer(r, c))
    u = np.linalg.eigh(z @ z.T).eigenvectors[:, -1]
    u = u * np.sign(
        u[np.abs(u).argmax()]
    )  # an eigenvector's sign is arbitrary; reports should not differ by it
    # rounding keeps ties ties, so that they fall to the second key
    return (u / np.sqrt(r)).round(9), (z.T @ u / np.sqrt(c)).round(9)
