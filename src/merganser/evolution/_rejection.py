r"""Early rejection without loss: stop scoring a child once nothing can save it.

Let $D_{ij}(s)$ be what sample $j$ contributes to the niche fitness of the child minus that of incumbent $i$
if the child scores $s$ there,

$$D_{ij}(s) = (s - s_{ij})\, \frac{w_j \max(c_j, s)}{(z_j + s)^\alpha + \varepsilon}.$$

For $\alpha \le 1$, and for binary scores at any $\alpha$, it rises with $s$. So with full marks on all samples
not yet measured, $\sum_{\text{measured}} D_{ij}(s_j) + \sum_{\text{others}} D_{ij}(1)$ bounds the final difference from
above. If that is negative for *every* incumbent, the child would be the worst of all whatever the rest
showed (ties go to the child, hence strictly negative, with a margin for rounding): it is rejected, and the
archive is identical to that of full evaluation.

Samples are visited in the order of what they can still decide: what the sample is worth times how
likely it is to be failed, for which the share of members that fail it stands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from merganser.evolution._archive import Archive
from merganser.evolution._niches import prices

MARGIN = 1e-8
"""A bound must lie this far below zero: far above the rounding of the sums and the width of a tie."""

FIRST_BLOCK = 0.6
GROWTH = 1.4
"""A block ends at 0.6 times the number of samples after which a typical child is expected to be rejected, and
every further one 1.4 times later: smaller blocks measure fewer samples, larger ones cost fewer calls."""

SMALLEST_BLOCK = 24


def applies(archive: Archive) -> bool:
    """Whether rejecting early is certain to change nothing: a full archive, and α ≤ 1 or binary scores."""
    return archive.full and (archive.niches.alpha <= 1 or archive.niches.binary)


def block_ends(expected: int, samples: int) -> tuple[int, ...]:
    """Where the blocks of the visiting order end.

    Args:
        expected: Number of samples after which a typical child is rejected.
        samples: Number of all samples.

    Examples:
        >>> block_ends(100, 400)
        (60, 84, 117, 164, 230, 400)
    """
    ends: list[int] = []
    reach = FIRST_BLOCK * expected
    while not ends or ends[-1] < samples:
        end = max(int(reach), (ends[-1] if ends else 0) + SMALLEST_BLOCK)
        reach = max(reach, end) * GROWTH
        ends.append(samples if reach >= samples else end)
    return tuple(ends)


@dataclass(frozen=True)
class VisitingPlan:
    r"""What every child that meets this archive shares: the order of samples and what each can decide.

    Attributes:
        archive: The population.
        order: Positions of the samples, the most decisive first.
        full_marks: $\sum_j D_{ij}(1)$ for each incumbent.
        loss: $D_{ij}(1) - D_{ij}(0)$ in visiting order: what a failed sample costs the child.
        starts: Where each block of the order begins, and the number of samples at the end.
    """

    archive: Archive
    order: np.ndarray
    full_marks: Float[np.ndarray, " members"]
    loss: Float[np.ndarray, "members samples"]
    starts: tuple[int, ...]

    @classmethod
    def of(cls, archive: Archive) -> VisitingPlan:
        """The plan for one archive; worth keeping while the archive lasts."""
        one, nought = advantage(archive, 1.0), advantage(archive, 0.0)
        loss, full_marks = one - nought, one.sum(axis=1)
        failed = 1.0 - archive.demand / len(archive.members)
        order = np.argsort(-(loss.mean(axis=0) * (failed + 1.0 / len(archive.members))), kind="stable")
        loss = loss.take(order, axis=1)
        expected = _expected_end(full_marks, loss, failed[order])
        return cls(archive, order, full_marks, loss, (0, *block_ends(expected, len(order))))


def _expected_end(
    full_marks: Float[np.ndarray, " members"],
    loss: Float[np.ndarray, "members samples"],
    failed: Float[np.ndarray, " samples"],
) -> int:
    """Number of samples after which a child that fails as often as the members do would be rejected."""
    bound = (full_marks[:, None] - np.cumsum(loss * failed, axis=1)).max(axis=0)
    rejected = bound < 0
    return int(rejected.argmax()) + 1 if rejected.any() else len(failed)


def advantage(
    archive: Archive, scores: Float[np.ndarray, " samples"] | float, samples: np.ndarray | slice = slice(None)
) -> Float[np.ndarray, "members samples"]:
    """$D_{ij}(s_j)$: what each sample adds to the child's fitness over each incumbent's."""
    capacity = archive.capacity_of_samples[samples]
    if not archive.niches.binary:
        capacity = np.maximum(capacity, scores * archive.weights[samples])
    price = prices(archive.demand[samples] + scores, capacity, archive.niches)
    return (scores - archive.scores[:, samples]) * price


class NicheScreening:
    """One child's way through the samples.

    Args:
        plan: The plan of the archive it meets.
    """

    __slots__ = ("_block", "_bound", "_plan")

    def __init__(self, plan: VisitingPlan) -> None:
        self._plan, self._block, self._bound = plan, 0, plan.full_marks

    def next_samples(self) -> np.ndarray | None:
        """Positions of the next block; None once the child is rejected or all samples are known."""
        starts, block = self._plan.starts, self._block
        if block + 1 == len(starts) or self.rejected:
            return None
        return self._plan.order[starts[block] : starts[block + 1]]

    @property
    def rejected(self) -> bool:
        """Whether the child would be strictly worse than every incumbent, whatever the rest showed."""
        return float(self._bound.max()) < -MARGIN

    def record(self, scores: Float[np.ndarray, " samples"]) -> None:
        """Lower the bound by what the block's scores fell short of full marks."""
        plan = self._plan
        block = slice(plan.starts[self._block], plan.starts[self._block + 1])
        if plan.archive.niches.binary:
            self._bound = self._bound - plan.loss[:, block] @ (1.0 - scores)
        else:
            samples = plan.order[block]
            short = advantage(plan.archive, 1.0, samples) - advantage(plan.archive, scores, samples)
            self._bound = self._bound - short.sum(axis=1)
        self._block += 1
