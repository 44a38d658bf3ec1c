"""Does a figure that costs no merge foretell what a merge gains? Pairs of models as points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from merganser.evaluation import Interval
from merganser.report._chart import finished
from merganser.report._theme import BLUE, MUTED


class Foretold(NamedTuple):
    """One pair of models.

    Attributes:
        name: What it is called.
        predictor: The figure that is to foretell, with its interval; ends may be NaN.
        gain: What a merge scores beyond the better model.
    """

    name: str
    predictor: Interval
    gain: Interval


def gain_chart(points: Sequence[Foretold], predictor: str, *, description: str) -> dict[str, Any]:
    """Gain of merges against a predictor, with the interval of both.

    Args:
        points: The pairs.
        predictor: What the figure is called.
        description: What the picture shows, in words.
    """
    import altair as alt

    rows = [
        {
            "name": point.name,
            **{k: _known(v) for k, v in zip(("x", "from", "to"), point.predictor, strict=True)},
            **{k: _known(v) for k, v in zip(("y", "low", "high"), point.gain, strict=True)},
        }
        for point in points
    ]
    x = alt.X("x:Q", title=predictor, scale=alt.Scale(zero=False, nice=True, padding=60))
    y = alt.Y("y:Q", title="score of the average beyond the better model", axis=alt.Axis(format="+.1~%"))
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=y,
        tooltip=[
            alt.Tooltip("name:N", title="models"),
            alt.Tooltip("x:Q", title=predictor, format=".3f"),
            alt.Tooltip("from:Q", title="95 % from", format=".3f"),
            alt.Tooltip("to:Q", title="to", format=".3f"),
            alt.Tooltip("y:Q", title="gain", format="+.1%"),
            alt.Tooltip("low:Q", title="gain from", format="+.1%"),
            alt.Tooltip("high:Q", title="to", format="+.1%"),
        ],
    )
    zero = alt.Chart(alt.Data(values=[{"y": 0}])).mark_rule(color=MUTED, strokeDash=[4, 3]).encode(y=y)
    across = base.transform_filter("isValid(datum.from)").mark_rule(color=BLUE, opacity=0.45)
    up = base.mark_rule(color=BLUE, opacity=0.45).encode(x=x, y=alt.Y("low:Q"), y2="high:Q")
    marks = base.mark_point(color=BLUE, filled=True, size=110, opacity=1).encode(x=x)
    names = base.mark_text(dy=-13).encode(x=x, text="name:N")
    layers = [zero, across.encode(x=alt.X("from:Q"), x2="to:Q"), up, marks]
    return finished([*layers, *([names] if len(rows) <= 12 else [])], 340, description)


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    r"""Spearman's $\rho$: the correlation of ranks, in [-1, 1]; equal values share a rank; NaN if all are.

    Examples:
        >>> round(spearman([1, 2, 3, 4], [10, 30, 20, 40]), 3), spearman([1, 2, 2], [3, 1, 1])
        (0.8, -1.0)
    """
    a, b = _ranks(first), _ranks(second)
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt((a @ a) * (b @ b))
    return round(float(a @ b) / scale, 12) if scale else float("nan")


def _ranks(values: Sequence[float]) -> Any:
    row = np.asarray(values, dtype=float)
    below = (row[:, None] > row[None, :]).sum(axis=1)
    equal = (row[:, None] == row[None, :]).sum(axis=1)
    return below + (equal + 1) / 2


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 5)
