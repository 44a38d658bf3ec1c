r"""Crossover of genomes with several chromosomes: groups of tensors that are split independently.

With one split point for the whole flat order, tensors that lie far from each other are hardly ever cut at once. So the
paper gives diffusion models two chromosomes, attention and the rest, each with a split point of its own:

| rule | formula | here |
| --- | --- | --- |
| the child at position $x$ of chromosome $c$ | $t = w$ if $x < g_c$, else $1 - w$ | [`crossover_apart`][] |
| where that is in the flat order | $g_c$ is the place of position $s_c$ of $c$ | [`Chromosomes.position`][] |

Here $s_c$ is the split of chromosome $c$, one of its $P_c$ positions. The child is a combination of the seeds again:
its breaks are those of its parents, the ends of the chromosomes' stretches, and the $g_c$. The weight $w$ and the angle
$\Omega$ of SLERP are the same for all chromosomes of a child, which the paper leaves open.

References:
    Abrantes, Lange, Tang, *Competition and Attraction Improve Model Fusion*, GECCO 2025,
    https://arxiv.org/abs/2508.16204 (eq. 2, and the experiments on image generation).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from jaxtyping import Int

from merganser.merging._combination import Combination, merged_breaks
from merganser.merging._crossover import Rule, linear_weights, slerp_weights
from merganser.merging._gram import Gram


@dataclass(frozen=True, eq=False)
class Chromosomes:
    """Which chromosome each position of the flat order is in.

    Attributes:
        breaks: Ascending positions at which stretches of one chromosome begin, from 0, and P at the end.
        owners: The chromosome of each stretch.

    Examples:
        >>> two = Chromosomes.of([(0, 4), (1, 3), (0, 2)])
        >>> two.sizes, two.position(0, 5), two.position(1, 0)
        ((6, 3), 8, 4)
    """

    breaks: Int[np.ndarray, " breaks"]
    owners: Int[np.ndarray, " stretches"]

    @classmethod
    def of(cls, stretches: Iterable[tuple[int, int]]) -> Chromosomes:
        """Chromosomes from the stretches of the flat order.

        Args:
            stretches: For each its chromosome and its number of positions, at least 1.
        """
        joined = [(owner, sum(n for _, n in same)) for owner, same in groupby(stretches, key=lambda s: s[0])]
        breaks = np.cumsum([0, *(length for _, length in joined)])
        return cls(breaks, np.array([owner for owner, _ in joined]))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of positions of each chromosome."""
        return tuple(np.bincount(self.owners, weights=np.diff(self.breaks)).astype(int).tolist())

    def position(self, chromosome: int, split: int) -> int:
        """Flat position of a chromosome's position.

        Args:
            chromosome: The chromosome.
            split: Number of the position within it, from 0.
        """
        own = np.flatnonzero(self.owners == chromosome)
        before = np.cumsum([0, *np.diff(self.breaks)[own]])
        place = int(np.searchsorted(before, split, side="right")) - 1
        return int(self.breaks[own[place]] + split - before[place])

    def at(self, positions: Int[np.ndarray, " positions"]) -> Int[np.ndarray, " positions"]:
        """The chromosome of each of these positions."""
        return self.owners[np.searchsorted(self.breaks, positions, side="right") - 1]


def crossover_apart(
    first: Combination,
    second: Combination,
    *,
    weight: float,
    splits: Sequence[int],
    chromosomes: Chromosomes,
    gram: Gram | None = None,
    rule: Rule = "slerp",
) -> Combination:
    """The child of two descendants whose chromosomes are split independently.

    Args:
        first: Parent A.
        second: Parent B, over the same seeds.
        weight: Weight of B before each split, in [0, 1]; one minus it after the split.
        splits: For each chromosome c a position in [0, P_c).
        chromosomes: The chromosomes, over the positions of the parents.
        gram: The seeds' inner products; needed by `slerp`.
        rule: On an arc or on a line.

    Raises:
        ValueError: If parents, chromosomes and splits do not fit together, or `slerp` is asked for without `gram`.
    """
    sizes = chromosomes.sizes
    fits = len(splits) == len(sizes) and all(0 <= s < n for s, n in zip(splits, sizes, strict=True))
    if not fits or not first.size == second.size == sum(sizes) or first.seeds != second.seeds:
        raise ValueError(
            f"Chromosomes of {', '.join(map(str, sizes))} positions need a split within each, and parents of as many "
            f"positions over the same seeds, but the splits are {list(splits)}, and the parents have {first.size} and "
            f"{second.size} positions."
        )
    if rule == "slerp" and gram is None:
        raise ValueError("`slerp` needs the seeds' inner products. Pass `gram`, or use rule='linear'.")
    if gram is None or rule == "linear":
        left, right = linear_weights(weight), linear_weights(1.0 - weight)
    else:
        angle = gram.angle(first, second)
        left, right = slerp_weights(weight, angle), slerp_weights(1.0 - weight, angle)
    cuts = np.array([chromosomes.position(c, split) for c, split in enumerate(splits)])
    breaks = merged_breaks(first.breaks, second.breaks, chromosomes.breaks, cuts)
    begins = breaks[:-1]
    before = (begins < cuts[chromosomes.at(begins)])[:, None]
    a, b = (np.where(before, left[i], right[i]) for i in (0, 1))
    return Combination(first.seeds, breaks, a * first.refined(breaks) + b * second.refined(breaks))
