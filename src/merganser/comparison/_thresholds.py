"""Every number that a verdict turns on, in one table, each with what it rests on.

Those that are calibrated were chosen on pairs of specialists with more or less in common, for which everything was
measured that a comparison knows, and then the merges themselves (`benchmarks/foretell_*.py`; the figures are in the
log). A verdict that rests on thresholds alone is `likely` at best.
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
        calibrated: Whether it was chosen by what merges score.
    """

    value: float
    means: str
    source: str
    calibrated: bool = False


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
    "apart": Threshold(
        0.167,
        "with less overlap of their largest 10 % than this, a router that knows a request's task has 2 points more "
        "than the better of average and model stock",
        "true of 90 of 90 such pairs of perceptrons and 1 of 180 others, of 9 of 18 and 0 of 24 pairs of small Llamas; "
        "chosen on the ones alone it is right for the others in 76 to 99 % (balanced)",
        calibrated=True,
    ),
    "unlike": Threshold(
        0.951,
        "with a lower CKA than this where two models are least alike, the same",
        "true of 72 of 72 and 19 of 198, of 9 of 13 and 0 of 29 of the same pairs; from ones to others 89 to 90 %",
        calibrated=True,
    ),
    "short": Threshold(
        0.1,
        "of task vectors shorter than this, beside the base, an election of signs or the average made the best merges, "
        "of longer ones model stock",
        "mean gains over the better model, by length, of the same pairs",
        calibrated=True,
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
