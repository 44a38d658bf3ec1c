"""Pareto fronts as a chart: two objectives against each other; of more, each on an axis of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from merganser.report._chart import finished, percent_axis
from merganser.report._fronts import FrontsInfo, Marked
from merganser.report._theme import BLUE, GREEN, INK, ORANGE, PAPER, RED
from merganser.report._words import counted

if TYPE_CHECKING:
    import altair as alt

_LOOKS = {
    "parent": (ORANGE, "diamond"),
    "baseline": (GREEN, "square"),
    "winner": (RED, "triangle-up"),
    "best so far": (RED, "triangle-up"),
}
_FAINTEST = 0.25
"""Opacity of the earliest front; the last one is opaque."""


def front_chart(fronts: FrontsInfo, *, description: str) -> dict[str, Any]:
    """Two objectives: fronts after more and more evaluations. More: the last front, a line for each trade-off."""
    layers = _plane(fronts) if len(fronts.objectives) == 2 else _parallel(fronts)
    return finished(layers, 380, description)


def _plane(fronts: FrontsInfo) -> list[alt.Chart]:
    import altair as alt

    first, second = fronts.objectives
    x = alt.X("p:Q", title=f"{first}, search", axis=percent_axis(), scale=_scale())
    y = alt.Y("q:Q", title=f"{second}, search", axis=percent_axis(), scale=_scale())
    labels = [counted(stage.evaluations, "evaluation") for stage in fronts.stages]
    rows = [
        {"p": p, "q": q, "stage": label}
        for label, stage in zip(labels, fronts.stages, strict=True)
        for p, q in stage.points.round(4).tolist()
    ]
    steps = max(len(labels) - 1, 1)
    opacities = [1 - (1 - _FAINTEST) * (len(labels) - 1 - k) / steps for k in range(len(labels))]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=x,
        y=y,
        opacity=alt.Opacity("stage:N", sort=labels, scale=alt.Scale(domain=labels, range=opacities)),
        tooltip=[*_scores({"p": first, "q": second}), alt.Tooltip("stage:N", title="after")],
    )
    lines = base.mark_line(color=BLUE, interpolate="step-before", strokeWidth=1.6).encode(order="p:Q")
    dots = base.mark_point(color=BLUE, filled=True, size=45)
    places = [
        {"p": p, "q": q, **_named(model)}
        for model in fronts.marked
        for p, q in [model.point.round(4).tolist()]
    ]
    marks = alt.Chart(alt.Data(values=places)).encode(x=x, y=y)
    return [lines, dots, _marks(marks, fronts, _scores({"p": first, "q": second}))]


def _parallel(fronts: FrontsInfo) -> list[alt.Chart]:
    import altair as alt

    names = list(fronts.objectives)
    x = alt.X("task:N", sort=names, title=None, axis=alt.Axis(labelAngle=0, labelColor=INK, grid=True))
    y = alt.Y("score:Q", title="score, search", axis=percent_axis(), scale=_scale())
    rows = [
        {"task": task, "score": score, "line": line}
        for line, point in enumerate(fronts.stages[-1].points.round(4).tolist())
        for task, score in zip(names, point, strict=True)
    ]
    lines = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(color=BLUE, opacity=0.35, strokeWidth=1.4)
        .encode(x=x, y=y, detail="line:N")
    )
    places = [
        {"task": task, "score": score, **_named(model)}
        for model in fronts.marked
        for task, score in zip(names, model.point.round(4).tolist(), strict=True)
    ]
    base = alt.Chart(alt.Data(values=places)).encode(x=x, y=y)
    through = base.mark_line(strokeWidth=2).encode(detail="name:N", color=_colours(fronts))
    return [lines, through, _marks(base, fronts, _scores({"score": "score"}))]


def _marks(base: alt.Chart, fronts: FrontsInfo, tooltip: list[alt.Tooltip]) -> alt.Chart:
    """Points of the models that stand out, by kind."""
    import altair as alt

    kinds = _kinds(fronts)
    shapes = alt.Scale(domain=kinds, range=[_LOOKS[kind][1] for kind in kinds])
    return base.mark_point(filled=True, size=190, opacity=1, stroke=PAPER, strokeWidth=0.8).encode(
        color=_colours(fronts),
        shape=alt.Shape("kind:N", scale=shapes),
        tooltip=[alt.Tooltip("name:N", title="model"), *tooltip],
    )


def _colours(fronts: FrontsInfo) -> alt.Color:
    import altair as alt

    kinds = _kinds(fronts)
    return alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=[_LOOKS[kind][0] for kind in kinds]))


def _kinds(fronts: FrontsInfo) -> list[str]:
    return list(dict.fromkeys(model.kind for model in fronts.marked))


def _named(model: Marked) -> dict[str, str]:
    return {"kind": model.kind, "name": model.name}


def _scale() -> alt.Scale:
    import altair as alt

    return alt.Scale(zero=False, nice=True, padding=12)


def _scores(fields: dict[str, str]) -> list[alt.Tooltip]:
    import altair as alt

    return [
        alt.Tooltip(field=f, type="quantitative", title=title, format=".1%") for f, title in fields.items()
    ]
