"""A thought machine as pictures: lines over steps or ticks, maps of cells, and what it says against what is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from merganser.report._chart import finished, percent_axis
from merganser.report._theme import BLUE, INK, MUTED, colours
from merganser.thinking import CalibrationBin

_CELL, _LOWEST = 22, 90
"""Pixels of a row of cells, and of a map at least."""
_MOST_MARKED = 24
"""Values on an axis that are all named; of more only some."""

Line = Sequence[tuple[float, float]]
"""Places and values."""


def lines_chart(
    lines: Mapping[str, Line],
    *,
    x: str,
    y: str,
    description: str,
    shares: bool = True,
    height: int = 240,
    marked: bool = False,
) -> dict[str, Any]:
    """Several lines over one axis.

    Args:
        lines: By name, in the order of their colours.
        x: What the axis across is.
        y: What the values are.
        description: What the picture shows, in words.
        shares: Whether values are shares, shown in per cent.
        height: In pixels.
        marked: Whether to mark each value.
    """
    import altair as alt

    values = [
        {"line": name, "x": place, "y": round(value, 6)}
        for name, line in lines.items()
        for place, value in line
    ]
    is_counted = all(float(each["x"]).is_integer() for each in values)
    across = alt.Axis(format=",d", tickMinStep=1) if is_counted else alt.Axis(format="~g")
    scale = alt.Scale(domain=list(lines), range=colours(len(lines)))
    legend = alt.Legend(symbolOpacity=1, symbolStrokeWidth=2) if len(lines) > 1 else None
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("x:Q", title=x, axis=across, scale=alt.Scale(zero=False, nice=False)),
        y=alt.Y("y:Q", title=y, axis=percent_axis() if shares else alt.Axis(), scale=alt.Scale(zero=False)),
        color=alt.Color("line:N", scale=scale, legend=legend),
        tooltip=[
            alt.Tooltip("line:N", title=y),
            alt.Tooltip("x:Q", title=x),
            alt.Tooltip("y:Q", title=y, format=".1%" if shares else ".4f"),
        ],
    )
    layers = [base.mark_line(strokeWidth=2)]
    if marked:
        layers.append(base.mark_point(filled=True, size=50, opacity=1))
    return finished(layers, height, description)


def cells_chart(
    values: Float[np.ndarray, "rows columns"],
    *,
    rows: Sequence[str],
    columns: Sequence[float],
    x: str,
    y: str,
    value: str,
    description: str,
    least: float = 0.0,
) -> dict[str, Any]:
    """A map of cells, the fuller the higher the value.

    Args:
        values: Shares, in [0, 1].
        rows: Names of the rows, from the top.
        columns: Numbers of the columns.
        x: What the columns are.
        y: What the rows are.
        value: What the values are.
        description: What the picture shows, in words.
        least: The value that has no colour.
    """
    import altair as alt

    cells = [
        {"row": name, "column": column, "value": round(float(values[i, j]), 5)}
        for i, name in enumerate(rows)
        for j, column in enumerate(columns)
    ]
    axis = alt.Axis(labelAngle=0, labelOverlap=len(columns) > _MOST_MARKED)
    most = max(float(values.max()), least + 1e-6)
    chart = (
        alt.Chart(alt.Data(values=cells))
        .mark_rect(color=BLUE)
        .encode(
            x=alt.X("column:O", title=x, axis=axis),
            y=alt.Y(
                "row:N",
                sort=list(rows),
                title=y,
                axis=alt.Axis(labelColor=INK, grid=False, labelOverlap=True),
            ),
            opacity=alt.Opacity(
                "value:Q", scale=alt.Scale(domain=[least, most], range=[0, 1], clamp=True), legend=None
            ),
            tooltip=[
                alt.Tooltip("row:N", title=y),
                alt.Tooltip("column:O", title=x),
                alt.Tooltip("value:Q", title=value, format=".1%"),
            ],
        )
    )
    return finished([chart], max(_CELL * len(rows), _LOWEST), description)


def calibration_chart(curves: Mapping[str, Sequence[CalibrationBin]], *, description: str) -> dict[str, Any]:
    """How often answers are right against how probable the model says they are; dotted, where both are the same.

    Args:
        curves: By readout.
        description: What the picture shows, in words.
    """
    import altair as alt

    values = [{"line": name, **each._asdict()} for name, bins in curves.items() for each in bins]
    low = min([*(each["probability"] for each in values), *(each["accuracy"] for each in values)])
    ends = [{"at": low}, {"at": 1.0}]
    scale = alt.Scale(domain=[low, 1.0], nice=False, zero=False)
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("probability:Q", title="said probability", axis=percent_axis(), scale=scale),
        y=alt.Y("accuracy:Q", title="share that is right", axis=percent_axis(), scale=scale),
        color=alt.Color(
            "line:N",
            scale=alt.Scale(domain=list(curves), range=colours(len(curves))),
            legend=alt.Legend(symbolOpacity=1),
        ),
        tooltip=[
            alt.Tooltip("line:N", title="readout"),
            alt.Tooltip("probability:Q", format=".1%"),
            alt.Tooltip("accuracy:Q", format=".1%"),
            alt.Tooltip("answers:Q", format=","),
        ],
    )
    ideal = alt.Chart(alt.Data(values=ends))
    ideal = ideal.encode(x=alt.X("at:Q", scale=scale), y=alt.Y("at:Q", scale=scale))
    ideal = ideal.mark_line(color=MUTED, strokeDash=[2, 3], strokeWidth=1.4)
    return finished(
        [ideal, base.mark_line(strokeWidth=2), base.mark_point(filled=True, size=60, opacity=1)],
        300,
        description,
    )
