r"""Paths through layers as genomes: one indicator for each position, and the numbers that scales follow from.

| coordinates of a vector | decode to | begin at |
| --- | --- | --- |
| $I_1 \dots I_T$ | position $k$ is on the path if $I_k > 0$ | the first model in the first repetition: 2, else $-2$ |
| the others | numbers of the scales | 0: scales of 1 |

With a step of 1 a search begins around the first model itself, each of its blocks on the path with probability 0.977
and each other position with 0.023. The paper has the first of these (a lead of two standard deviations). Where the
others begin we chose: nearly all paths with every second block of a stranger are broken models.

References:
    Akiba et al., *Evolutionary Optimization of Model Merging Recipes*, 2024, https://arxiv.org/abs/2403.13187,
    section 3.2.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from merganser.merging import LayerPath, PathLayout, Scales


class PathSpace:
    """Paths through the blocks of given models; as vectors, what [`CmaEs`][] searches.

    Coordinates differ in kind: indicators switch, scales stretch, and a scale counts only if both its ends are on the
    path. [`MixedCmaEs`][] searches the two apart.

    Args:
        layout: The positions.
        scales: What is multiplied between blocks; None for nothing.
        lead: How far from 0 indicators begin, in standard deviations of the search's first step.

    Attributes:
        seeds: Each model itself, as a path through its own blocks. Only the first is a path of this space: all of them
            begin and end in the first model.
    """

    mutates = False
    step = 1.0
    bounds = None

    def __init__(self, layout: PathLayout, *, scales: Scales | None = None, lead: float = 2.0) -> None:
        self.layout, self.scales, self.lead = layout, scales, lead
        self.size = 0 if scales is None else scales.size
        self.seeds = tuple(
            LayerPath.whole([seed], blocks) for seed, blocks in zip(layout.seeds, layout.blocks, strict=True)
        )

    @property
    def space(self) -> PathSpace:
        """Itself: it knows the seeds."""
        return self

    @property
    def start(self) -> Float[np.ndarray, " dimensions"]:
        """Around the first model."""
        indicators = np.where(self.layout.whole, self.lead, -self.lead)
        return np.concatenate([indicators, np.zeros(self.size)])

    def decode(self, vector: Float[np.ndarray, " dimensions"]) -> LayerPath:
        """The path that a vector stands for."""
        count = self.layout.positions
        return self.path(vector[:count] > 0, vector[count:])

    def path(self, taken: Bool[np.ndarray, " positions"], values: Float[np.ndarray, " size"]) -> LayerPath:
        """The path through the positions that are taken, with scales from their numbers."""
        return self.layout.path(taken, self.scales, values).trimmed()

    def keep(self, genome: LayerPath) -> None:
        """Nothing to do: a path is complete by itself."""
