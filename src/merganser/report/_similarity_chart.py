"""CKA of all layers of all models as a chart: a square of cells, from nothing at 0 to full colour at 1."""

from __future__ import annotations

import math
from typing import Any

from merganser.report._chart import finished
from merganser.report._found import MapFound
from merganser.report._theme import BLUE, INK, LINE, MUTED

_MOST = 96
"""Sites that are drawn; of more, every second, third, … layer."""
_SIDE, _LEAST, _WIDEST = 640, 9, 34
"""Pixels of the square, and of a cell at least and at most."""


def similarity_chart(found: MapFound, *, description: str) -> dict[str, Any]:
    """Every layer of every model beside every other; cells of one depth are marked.

    The scale is always that from 0 to 1, so that pictures of different comparisons can be laid side by side.
    Estimates below 0 are drawn as 0; the tooltip tells them with their interval.

    Args:
        found: The similarities.
        description: What the picture shows, in words.
    """
    import altair as alt

    shown = shown_sites(found)
    labels = [f"{found.sites[i][0]} · {_short(found.sites[i][1])}" for i in shown]
    ends = [labels[n] for n, i in enumerate(shown[1:]) if found.sites[i][0] != found.sites[shown[n]][0]]
    side = min(max(_SIDE / len(shown), _LEAST), _WIDEST) * len(shown)
    axis = alt.Axis(labelOverlap="greedy", labelLimit=170, labelFontSize=11, grid=False, labelColor=INK)
    tilted = alt.Axis(labelAngle=-90, labelOverlap="greedy", labelLimit=110, labelFontSize=11, labelColor=INK)
    order = alt.Scale(domain=labels, padding=0.02)
    ends_of = alt.Chart(alt.Data(values=[{"end": label} for label in ends]))
    base = alt.Chart(alt.Data(values=_cells(found, shown, labels))).encode(
        x=alt.X("b:N", sort=labels, title=None, scale=order, axis=tilted),
        y=alt.Y("a:N", sort=labels, title=None, scale=order, axis=axis),
        tooltip=[
            alt.Tooltip("a:N", title="row"),
            alt.Tooltip("b:N", title="column"),
            alt.Tooltip("value:Q", title="CKA", format=".3f"),
            alt.Tooltip("low:Q", title="95 % from", format=".3f"),
            alt.Tooltip("high:Q", title="to", format=".3f"),
        ],
    )
    strength = alt.Opacity(
        "drawn:Q",
        scale=alt.Scale(domain=[0, 1], range=[0, 1], clamp=True),
        legend=alt.Legend(title="CKA", values=[0, 0.25, 0.5, 0.75, 1], format=".2f", symbolType="square"),
    )
    cells = base.mark_rect(color=BLUE, stroke=LINE, strokeWidth=0.5).encode(opacity=strength)
    same = base.transform_filter("datum.same").mark_rect(
        filled=False, fillOpacity=0, stroke=INK, strokeWidth=1.4
    )
    after_row = ends_of.mark_rule(color=MUTED, strokeWidth=2).encode(y=alt.Y("end:N", bandPosition=1))
    after_column = ends_of.mark_rule(color=MUTED, strokeWidth=2).encode(x=alt.X("end:N", bandPosition=1))
    return finished([cells, same, after_row, after_column], round(side), description)


def shown_sites(found: MapFound) -> list[int]:
    """Positions of the sites that are drawn: all, or of too many every k-th of each model."""
    stride = math.ceil(len(found.sites) / _MOST)
    return [i for model in dict.fromkeys(m for m, _ in found.sites) for i in _of(found, model)[::stride]]


def _cells(found: MapFound, shown: list[int], labels: list[str]) -> list[dict[str, Any]]:
    depth = {i: _of(found, found.sites[i][0]).index(i) for i in shown}
    return [
        {
            "a": labels[m],
            "b": labels[n],
            "value": round(value, 4),
            "drawn": round(max(value, 0.0), 4),
            "low": _known(found.low[i][j]),
            "high": _known(found.high[i][j]),
            "same": depth[i] == depth[j],
        }
        for m, i in enumerate(shown)
        for n, j in enumerate(shown)
        if not math.isnan(value := found.values[i][j])
    ]


def _of(found: MapFound, model: str) -> list[int]:
    return [i for i, (name, _) in enumerate(found.sites) if name == model]


def _short(layer: str) -> str:
    """The last part of a layer's name, which is its number in most models."""
    return layer.rsplit(".", 1)[-1]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
