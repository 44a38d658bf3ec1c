"""A training as pictures: rewards beside validation, what else changed over steps, and which directions moved where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from merganser.adaptation.training import Row
from merganser.report._chart import finished
from merganser.report._theme import BLUE, INK, ORANGE, PAPER

_CELL = 30
"""Pixels of a row of the heat map."""


def reward_chart(rows: Sequence[Row], *, description: str) -> dict[str, Any]:
    """Mean reward of each step, and scores on the validation samples.

    Args:
        rows: The history.
        description: What the picture shows, in words.
    """
    import altair as alt

    names = {"reward": "reward of drawn answers", "validation": "validation, greedy"}
    values = [
        {"step": row.step, "series": names[key], "value": round(value, 5)}
        for row in rows
        for key in names
        if (value := getattr(row, key)) is not None
    ]
    series = [name for name in names.values() if any(each["series"] == name for each in values)]
    colours = [BLUE if name == names["reward"] else ORANGE for name in series]
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("step:Q", title="step"),
        y=alt.Y("value:Q", title="score", scale=alt.Scale(zero=False, nice=True)),
        color=alt.Color("series:N", scale=alt.Scale(domain=series, range=colours), legend=alt.Legend()),
        tooltip=[alt.Tooltip("series:N"), alt.Tooltip("step:Q"), alt.Tooltip("value:Q", format=".3f")],
    )
    seen = base.transform_filter(alt.datum.series == names["validation"])
    lines = base.mark_line(strokeWidth=2, opacity=0.85)
    return finished([lines, seen.mark_point(filled=True, size=80, opacity=1)], 300, description)


def step_chart(rows: Sequence[Row], field: str, title: str, *, description: str) -> dict[str, Any]:
    """One figure over the steps.

    Args:
        rows: The history.
        field: Which of a row's figures.
        title: What it is.
        description: What the picture shows, in words.
    """
    import altair as alt

    values = [
        {"step": row.step, "value": round(value, 6)}
        for row in rows
        if (value := getattr(row, field)) is not None
    ]
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("step:Q", title="step"),
        y=alt.Y("value:Q", title=title),
        tooltip=[alt.Tooltip("step:Q"), alt.Tooltip("value:Q", title=title, format=".4f")],
    )
    return finished([base.mark_line(strokeWidth=2, color=BLUE)], 180, description)


def gains_chart(
    gains: Mapping[str, Mapping[int, Float[np.ndarray, " directions"]]], *, description: str
) -> dict[str, Any]:
    """How far an expert's scales spread, matrix by matrix, a column for each block.

    Args:
        gains: By kind of matrix and number of the block, scale less 1 of each direction.
        description: What the picture shows, in words.

    Raises:
        ValueError: If there is no matrix.
    """
    import altair as alt

    if not gains:
        raise ValueError("Expected the gains of at least one matrix, found none.")
    rows = [
        {
            "matrix": matrix,
            "block": block,
            "spread": round(float(found.std()), 6),
            "least": round(1 + float(found.min()), 4),
            "most": round(1 + float(found.max()), 4),
        }
        for matrix, blocks in gains.items()
        for block, found in blocks.items()
    ]
    cells = (
        alt.Chart(alt.Data(values=rows))
        .mark_rect(stroke=PAPER, strokeWidth=1.5, color=BLUE)
        .encode(
            x=alt.X("block:O", title="block", axis=alt.Axis(labelAngle=0)),
            y=alt.Y(
                "matrix:N",
                sort=list(gains),
                title=None,
                axis=alt.Axis(labelColor=INK, labelFontSize=13, grid=False),
            ),
            opacity=alt.Opacity("spread:Q", scale=alt.Scale(range=[0.04, 1], zero=True), legend=None),
            tooltip=[
                alt.Tooltip("matrix:N"),
                alt.Tooltip("block:O"),
                alt.Tooltip("spread:Q", format=".4f"),
                alt.Tooltip("least:Q", title="smallest scale", format=".3f"),
                alt.Tooltip("most:Q", title="largest scale", format=".3f"),
            ],
        )
    )
    return finished([cells], _CELL * len(gains) + 40, description)
