r"""Numbers as paths: which positions of a list of blocks are on the way, and what is multiplied between them.

All $M$ blocks of all models stand in a row, model after model, and the row stands $r$ times: $T = M r$ positions. A
path takes those with $I_k > 0$, in order; position $k$ is block $k \bmod M$ of the row.

| scales | entering block $j$ of the row from block $i$ as hop $t$ | numbers | here |
| --- | --- | --- | --- |
| none | 1 | 0 | `None` |
| matrix | $\exp u\, W_{ij}$ | $M^2$ | [`ScaleMatrix`][] |
| network | $\exp u\, \pi_\theta(i, j, t)$ | $5 h + 1$ | [`ScaleNetwork`][] |

with $\pi_\theta(x) = v^\top \tanh(V x + a) + b$, and a unit $u$, so that numbers around 1 are scales near 1: 40 hops
whose numbers are drawn from $N(0, 1)$ multiply to about $e^{\pm\sqrt{40}\, u}$, for $u = 0.05$ 1.4 or its inverse.

Where this differs from the paper, or says what that leaves open: scales are exponentials, so that products stay
positive, all numbers zero are scales of 1, and none is above $e^{20}$ or below its inverse; the network sees $i$, $j$
and $t$ as fractions in [0, 1]; the first position, the first model's first block, is always taken, and its last block
is added at the end of paths that do not end with it.

References:
    Akiba et al., *Evolutionary Optimization of Model Merging Recipes*, 2024, https://arxiv.org/abs/2403.13187,
    section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from merganser.merging._layer_path import Hop, LayerPath, Scaling

_LIMIT = 20.0
"""Largest logarithm of a scale: a search may wander far, and what it finds there is a path that scores badly."""


@runtime_checkable
class Scales(Protocol):
    """What is multiplied between two blocks, by numbers that can be searched."""

    @property
    def size(self) -> int:
        """How many numbers there are."""
        ...

    def logarithms(
        self,
        values: Float[np.ndarray, " size"],
        before: Int[np.ndarray, " steps"],
        after: Int[np.ndarray, " steps"],
    ) -> Float[np.ndarray, " steps"]:
        """Logarithms of the scales of a path's steps.

        Args:
            values: The numbers.
            before: For each step the block that is left, by its place in the row of $M$.
            after: The block that is entered.
        """
        ...


@final
@dataclass(frozen=True, slots=True)
class ScaleMatrix:
    """A number for every pair of blocks.

    Args:
        blocks: $M$, the number of blocks in the row.
        unit: $u$, the logarithm of a scale that a number of 1 stands for.
    """

    blocks: int
    unit: float = 0.05

    @property
    def size(self) -> int:
        """$M^2$."""
        return self.blocks**2

    def logarithms(
        self,
        values: Float[np.ndarray, " size"],
        before: Int[np.ndarray, " steps"],
        after: Int[np.ndarray, " steps"],
    ) -> Float[np.ndarray, " steps"]:
        r"""$u\, W_{ij}$."""
        return self.unit * values[before * self.blocks + after]


@final
@dataclass(frozen=True, slots=True)
class ScaleNetwork:
    """A small network in the place of a large matrix.

    Args:
        blocks: $M$, the number of blocks in the row.
        positions: $T$, the most hops that a path may have.
        hidden: $h$, width of the one hidden layer.
        unit: $u$, the logarithm of a scale that an output of 1 stands for.
    """

    blocks: int
    positions: int
    hidden: int = 8
    unit: float = 0.05

    @property
    def size(self) -> int:
        """$5 h + 1$: three weights in, one bias and one weight out for each hidden unit, and a bias."""
        return 5 * self.hidden + 1

    def logarithms(
        self,
        values: Float[np.ndarray, " size"],
        before: Int[np.ndarray, " steps"],
        after: Int[np.ndarray, " steps"],
    ) -> Float[np.ndarray, " steps"]:
        r"""$u\, \pi_\theta(i, j, t)$."""
        units = values[:-1].reshape(5, self.hidden)
        t = np.arange(1, len(before) + 1) / max(self.positions - 1, 1)
        x = np.stack([before / max(self.blocks - 1, 1), after / max(self.blocks - 1, 1), t], axis=1)
        return self.unit * (np.tanh(x @ units[:3] + units[3]) @ units[4] + values[-1])


@dataclass(frozen=True, slots=True)
class PathLayout:
    """The list of positions that paths are chosen from.

    Attributes:
        seeds: Digests of the models; the first gives embeddings and head.
        blocks: How many blocks each has.
        repeats: $r$, how often the row of all blocks stands in the list.
        scaling: What scales multiply.

    Raises:
        ValueError: If there is not one number of blocks, at least 1, for each model, or `repeats` is below 1.

    Examples:
        >>> layout = PathLayout(("a", "b"), (2, 1), repeats=2)
        >>> taken = np.array([1, 0, 1, 0, 1, 0], dtype=bool)
        >>> [(hop.model, hop.block) for hop in layout.path(taken).hops]
        [(0, 0), (1, 0), (0, 1)]
    """

    seeds: tuple[str, ...]
    blocks: tuple[int, ...]
    repeats: int = 3
    scaling: Scaling = "state"

    def __post_init__(self) -> None:
        if len(self.blocks) != len(self.seeds) or not self.seeds or min(self.blocks) < 1:
            raise ValueError(
                f"Expected a number of blocks for each of {len(self.seeds)} models, found {self.blocks}."
            )
        if self.repeats < 1:
            raise ValueError(f"`repeats` must be at least 1, but is {self.repeats}.")

    @property
    def row(self) -> tuple[tuple[int, int], ...]:
        """The blocks of all models in a row, each as (model, block)."""
        return tuple((model, block) for model, count in enumerate(self.blocks) for block in range(count))

    @property
    def positions(self) -> int:
        """$T$."""
        return sum(self.blocks) * self.repeats

    @property
    def whole(self) -> Bool[np.ndarray, " positions"]:
        """The first model itself: its blocks in the first repetition."""
        return np.arange(self.positions) < self.blocks[0]

    def path(
        self,
        taken: Bool[np.ndarray, " positions"],
        scales: Scales | None = None,
        values: Float[np.ndarray, " size"] | None = None,
    ) -> LayerPath:
        """The path through the positions that are taken.

        Args:
            taken: Which positions, $I_k > 0$.
            scales: What is multiplied between blocks; None for nothing.
            values: Its numbers.

        Raises:
            ValueError: If there are more or fewer indicators or values than are needed, or a scale is not finite.
        """
        if len(taken) != self.positions:
            raise ValueError(f"Expected {self.positions} indicators, found {len(taken)}.")
        row, last = self.row, self.blocks[0] - 1
        order = np.flatnonzero(np.append(True, taken[1:])) % len(row)
        if order[-1] != last:
            order = np.append(order, last)
        factors = np.ones(len(order))
        if scales is not None:
            if values is None or len(values) != scales.size:
                raise ValueError(
                    f"Expected {scales.size} values for scales, found {0 if values is None else len(values)}."
                )
            logarithms = scales.logarithms(values, order[:-1], order[1:])
            factors[1:] = np.exp(np.clip(logarithms, -_LIMIT, _LIMIT))
        hops = (Hop(*row[place], float(factor)) for place, factor in zip(order, factors, strict=True))
        return LayerPath(self.seeds, tuple(hops), self.scaling)
