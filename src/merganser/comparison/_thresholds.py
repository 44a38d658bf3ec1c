"""Every number that a verdict turns on, in one table, each with what it rests on.

None of them is calibrated yet: how well they foretell the loss of a merge is for a benchmark to measure (pairs of
specialists with more or less in common, predictors beside the loss of their best merge). Until then a verdict that
rests on them alone is `likely` at best, and every comparison says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from merganser.merging import FAR


class Threshold(NamedTuple):
    """One of the numbers.

    Args:
        value: The number.
        means: What lies beyond it.
        source: What it rests on.
    """

    value: float
    means: str
    source: str


_ROWS = {
    "far": Threshold(
        FAR,
        "a difference this long, beside the base, is not that of a fine-tune",
        "half the length between independent models of equal norms, which is the root of 2",
    ),
    "related": Threshold(
        1 - FAR**2 / 2,
        "a matrix with this cosine to that of another model has a common ancestor with it",
        "the cosine of two vectors of one length at the distance `far`",
    ),
    "unrelated": Threshold(
        0.1,
        "a matrix with a cosine this small has none",
        "of independent matrices it is 0 with a spread of 1 over the root of their entries",
    ),
    "chance": Threshold(
        3.0,
        "so many spreads are allowed for chance, where matrices are small",
        "99.7 % of a normal distribution",
    ),
    "matrices": Threshold(
        0.75,
        "so many of the matrices must agree, or it cannot be told",
        "a choice: embeddings, or a few copied blocks, must not decide",
    ),
    "same numbers": Threshold(
        1e-6,
        "matrices whose sums and norms differ by less hold the same numbers in another order",
        "rounding of float32 sums is smaller; two trainings agree in about 1 over the root of the entries",
    ),
    "base cosine": Threshold(
        0.4,
        "seen from their base, the differences of fine-tunes have a smaller cosine",
        "fine-tunes on different tasks are nearly orthogonal: Ilharco et al. 2023, section 3",
    ),
    "base margin": Threshold(
        0.15,
        "and seen from any other of them, one larger by this",
        "from a sibling of equal length it is root((1 - c) / 2), with c seen from the base: 0.71 for 0, 0.55 for 0.4",
    ),
    "agreeing": Threshold(
        0.5,
        "task vectors with a larger cosine go one way: average them",
        "a choice: half of the length is shared; fine-tunes on different tasks have less than 0.3",
    ),
    "collisions": Threshold(
        0.15,
        "with more overlap of the largest 10 %, task vectors collide: elect signs, or drop entries",
        "a choice: three times what chance gives, 0.053",
    ),
    "conflict": Threshold(
        0.35,
        "with less weight on opposite signs than this, a sum needs no election of signs",
        "a choice: orthogonal task vectors have 0.5, identical ones 0",
    ),
    "barrier": Threshold(
        0.05,
        "a merge that loses more of the score than this is no merge",
        "a choice, on scores in [0, 1]",
    ),
}

THRESHOLDS: Mapping[str, Threshold] = MappingProxyType(_ROWS)
"""All of them, by name."""


def limit(name: str) -> float:
    """A number of the table."""
    return THRESHOLDS[name].value
