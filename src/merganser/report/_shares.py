"""Where each seed lives: the share of every parent along the flat parameters of the winner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from merganser.merging import Combination, read_recipe
from merganser.report._run_info import RunInfo
from merganser.run import RunDirectory

MOST_VALUES = 2_400
"""Numbers in the picture: more segments than this allows are averaged over equal stretches."""


class LayerShare(NamedTuple):
    """Average share of each seed in one layer, positions `start` to `end`."""

    name: str
    start: int
    end: int
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ShareInfo:
    """How much of each seed is where in a model.

    Attributes:
        seeds: Name of each seed.
        edges: Flat positions at which stretches begin, and the end.
        shares: Share of each seed in each stretch; rows sum to 1.
        layers: The same by layer.
        total: The same over the whole model.
        segments: Number of stretches with constant coefficients in the recipe.
        averaged: Whether stretches are averages over several segments.
    """

    seeds: tuple[str, ...]
    edges: Float[np.ndarray, " edges"]
    shares: Float[np.ndarray, "stretches seeds"]
    layers: tuple[LayerShare, ...]
    total: tuple[float, ...]
    segments: int
    averaged: bool


def share_info(info: RunInfo) -> ShareInfo | None:
    """Shares in the winner; None for dense runs and merges by rule, and until the winner's recipe is written.

    Raises:
        ConfigError: If the winner's recipe cannot be read.
    """
    if info.winner is None:
        return None
    path = RunDirectory(info.path).recipe_path(info.winner.digest)
    if not path.is_file():
        return None
    recipe = read_recipe(path)
    if not isinstance(recipe, Combination):
        return None
    most = max(MOST_VALUES // len(recipe.seeds), 1)
    averaged = recipe.segments > most
    edges = np.linspace(0, recipe.size, most + 1).round() if averaged else recipe.breaks.astype(float)
    starts = [*(start for _, start in info.layers), recipe.size]
    layers = [
        LayerShare(
            name, begin, end, tuple(mean_shares(recipe, np.array([begin, end], dtype=float))[0].tolist())
        )
        for (name, _), begin, end in zip(info.layers, starts[:-1], starts[1:], strict=True)
        if end > begin
    ]
    return ShareInfo(
        seeds=tuple(parent.name for parent in info.parents),
        edges=edges,
        shares=mean_shares(recipe, edges),
        layers=tuple(layers),
        total=tuple(mean_shares(recipe, np.array([0.0, recipe.size]))[0].tolist()),
        segments=recipe.segments,
        averaged=averaged,
    )


def mean_shares(
    recipe: Combination, edges: Float[np.ndarray, " edges"]
) -> Float[np.ndarray, "stretches seeds"]:
    """Average share of each seed between neighbouring edges, exactly: a difference of its running integral.

    Examples:
        >>> half = Combination(("a", "b"), [0, 4, 10], [[1.0, 0.0], [0.5, 0.5]])
        >>> mean_shares(half, np.array([0.0, 8.0])).tolist()
        [[0.75, 0.25]]
    """
    lengths = np.diff(recipe.breaks)[:, None]
    integral = np.vstack([np.zeros(len(recipe.seeds)), np.cumsum(lengths * recipe.shares(), axis=0)])
    at_edges = np.stack([np.interp(edges, recipe.breaks, column) for column in integral.T], axis=1)
    return np.diff(at_edges, axis=0) / np.diff(edges)[:, None]
