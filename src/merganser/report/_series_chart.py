"""A series as two charts above each other: scores and likeness against training steps, the critical point marked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from merganser.report._chart import finished, percent_axis
from merganser.report._found import SeriesFound
from merganser.report._theme import BLUE, GREEN, INK, ORANGE, RED

if TYPE_CHECKING:
    import altair as alt

SCORED = {"their average": "merged", "A": "first", "B": "second"}
"""Lines of the chart of scores, and where their values stand."""


def score_chart(found: SeriesFound, *, description: str) -> dict[str, Any]:
    """Scores of both models and of their average at every step.

    Args:
        found: The series; at least one step is scored.
        description: What the picture shows, in words.
    """
    rows = [
        _row(step.step, score, line)
        for line, field in SCORED.items()
        for step in found.steps
        if (score := getattr(step, field)) is not None
    ]
    return _chart(found, rows, dict(zip(SCORED, (RED, BLUE, ORANGE), strict=True)), "score", description)


def likeness_chart(found: SeriesFound, *, description: str) -> dict[str, Any]:
    """CKA of the two models at every step, from 0 to 1.

    Args:
        found: The series; at least one step was looked at.
        description: What the picture shows, in words.
    """
    rows = [_row(step.step, step.cka, "CKA of A and B") for step in found.steps if step.cka is not None]
    return _chart(found, rows, {"CKA of A and B": GREEN}, "CKA", description)


def _chart(
    found: SeriesFound, rows: list[dict[str, Any]], colours: dict[str, str], title: str, description: str
) -> dict[str, Any]:
    import altair as alt

    form, of_scores = (".1%", True) if title == "score" else (".3f", False)
    scale = alt.Scale(zero=False, nice=True) if of_scores else alt.Scale(domain=[0, 1], clamp=True)
    lines, legend = list(colours), alt.Legend(symbolOpacity=1, symbolStrokeWidth=2)
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=_steps(found),
        color=alt.Color("line:N", legend=legend, scale=alt.Scale(domain=lines, range=list(colours.values()))),
        tooltip=[
            alt.Tooltip("line:N", title=title),
            alt.Tooltip("step:Q", title="step", format=","),
            alt.Tooltip("value:Q", title=title, format=form),
            alt.Tooltip("low:Q", title="95 % from", format=form),
            alt.Tooltip("high:Q", title="to", format=form),
        ],
    )
    axis = percent_axis() if of_scores else alt.Axis(tickCount=5)
    y = alt.Y("value:Q", title=title, axis=axis, scale=scale)
    dashes = alt.StrokeDash(
        "line:N", legend=legend, scale=alt.Scale(domain=lines, range=[[1, 0], [6, 3], [2, 2]])
    )
    shapes = alt.Shape(
        "line:N", legend=legend, scale=alt.Scale(domain=lines, range=["triangle-up", "diamond", "square"])
    )
    sure = base.transform_filter("isValid(datum.low)").transform_filter(f"datum.line == '{lines[0]}'")
    layers = [
        *_marks(found, of_scores=of_scores),
        sure.mark_area(opacity=0.13, line=False).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(strokeWidth=2.2).encode(y=y, strokeDash=dashes),
        base.mark_point(filled=True, size=70, opacity=1).encode(y=y, shape=shapes),
    ]
    return finished(layers, 300 if of_scores else 190, description)


def _marks(found: SeriesFound, *, of_scores: bool) -> list[alt.Chart]:
    """A line at the critical point, and pale ones at steps that may be as good."""
    import altair as alt

    if found.best is None:
        return []
    places = [
        {"step": step.step, "best": step.step == found.best, "words": "critical point"}
        for step in found.steps
        if step.may_be_best
    ]
    base = alt.Chart(alt.Data(values=places)).encode(x=_steps(found))
    best = base.transform_filter("datum.best")
    label = best.mark_text(align="left", dx=6, color=INK, fontWeight="bold", baseline="top")
    return [
        base.mark_rule(strokeWidth=9, opacity=0.12, color=RED),
        best.mark_rule(strokeWidth=2, color=RED, strokeDash=[5, 3]),
        *([label.encode(y=alt.value(2), text="words:N")] if of_scores else []),
    ]


def _steps(found: SeriesFound) -> alt.X:
    """Training steps on a logarithmic axis, one that also has a 0 if there is a step 0."""
    import altair as alt

    steps = [step.step for step in found.steps]
    kind = "symlog" if steps[0] == 0 else "log"
    return alt.X(
        "step:Q",
        title="training steps",
        scale=alt.Scale(type=kind, domain=[steps[0], steps[-1]], nice=False, padding=14),
        axis=alt.Axis(values=steps, format=",", labelOverlap="greedy"),
    )


def _row(step: int, value: Any, line: str) -> dict[str, Any]:
    figures = zip(("value", "low", "high"), value, strict=True)
    return {"step": step, "line": line, **{k: None if math.isnan(v) else round(v, 5) for k, v in figures}}
