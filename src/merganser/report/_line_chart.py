"""Scores on the straight line between two models, for several pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from merganser.report._chart import finished, percent_axis
from merganser.report._found import PairFound
from merganser.report._theme import colours

MOST_LINES = 8


def line_chart(pairs: Sequence[PairFound], *, description: str) -> dict[str, Any]:
    """Scores between the models of each pair; dotted, the straight line between their ends.

    Args:
        pairs: Those that were scored, at most [`MOST_LINES`][].
        description: What the picture shows, in words.
    """
    import altair as alt

    rows = [
        {
            "pair": pair.label,
            "t": point.t,
            "value": round(point.score.value, 5),
            "low": round(point.score.low, 5),
            "high": round(point.score.high, 5),
            "end": point.t in (0, 1),
        }
        for pair in pairs
        for point in pair.line
    ]
    labels = [pair.label for pair in pairs]
    words = "datum.value == 0 ? 'the first' : datum.value == 1 ? 'the second' : datum.value"
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("t:Q", title=None, axis=alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], labelExpr=words)),
        color=alt.Color(
            "pair:N",
            legend=alt.Legend(symbolOpacity=1),
            scale=alt.Scale(domain=labels, range=colours(len(labels))),
        ),
        tooltip=[
            alt.Tooltip("pair:N"),
            alt.Tooltip("t:Q", title="of the way"),
            alt.Tooltip("value:Q", title="score", format=".1%"),
            alt.Tooltip("low:Q", title="95 % from", format=".1%"),
            alt.Tooltip("high:Q", title="to", format=".1%"),
        ],
    )
    y = alt.Y("value:Q", title="score", axis=percent_axis(), scale=alt.Scale(zero=False, nice=True))
    straight = base.transform_filter("datum.end").mark_line(strokeDash=[2, 3], strokeWidth=1.4)
    spans = base.mark_rule(strokeWidth=2, opacity=0.4).encode(y=alt.Y("low:Q"), y2="high:Q")
    return finished(
        [
            straight.encode(y=y),
            spans,
            base.mark_line(strokeWidth=2.2).encode(y=y),
            base.mark_point(filled=True, size=70, opacity=1).encode(y=y),
        ],
        320,
        description,
    )
