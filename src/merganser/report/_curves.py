"""What changes over evaluations, as charts: scores and diversity.

Each function takes plain data and returns a specification that altair has checked. altair is imported when
the first chart is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from merganser.report._chart import bundled, finished, percent_axis
from merganser.report._run_info import RunInfo
from merganser.report._theme import BLUE, GREEN, MUTED, ORANGE
from merganser.report._words import listed, percent
from merganser.run import ModelScores, Progress

if TYPE_CHECKING:
    import altair as alt

_LOGARITHMIC_FROM = 40
"""A curve that spans this factor of evaluations is drawn over their logarithm: most happens early."""
_SERIES = {"best": "best, search", "validation": "best, validation", "mean": "mean, search"}


def progress_chart(info: RunInfo, *, description: str) -> dict[str, Any]:
    """Best and mean over evaluations, held-out beside search, parents as lines across."""
    import altair as alt

    shown: list[Any] = [
        k for k in _SERIES if k != "validation" or any(p.validation is not None for p in info.progress)
    ]
    legend = alt.Legend(labelExpr=_label_expression(_SERIES), symbolType="stroke", symbolStrokeWidth=2.5)
    curves = (
        alt.Chart(_points(info.progress))
        .transform_fold(shown, as_=["series", "score"])
        .transform_filter("isValid(datum.score)")
        .encode(
            x=_evaluations(info.progress),
            y=alt.Y("score:Q", title="score", axis=percent_axis(), scale=alt.Scale(zero=False, nice=True)),
            color=alt.Color(
                "series:N", legend=legend, scale=alt.Scale(domain=shown, range=[BLUE, ORANGE, GREEN])
            ),
            strokeDash=alt.StrokeDash(
                "series:N", scale=alt.Scale(domain=shown, range=[[1, 0], [6, 3], [3, 2]])
            ),
        )
    )
    parts = [curves.mark_line(strokeWidth=2.2), *_reference_lines(info)]
    if len(info.progress) < 4:
        parts.append(curves.mark_point(size=60, filled=True, opacity=1))
    parts += _cursor(info.progress, [(k, _SERIES[k], ".1%") for k in shown])
    return finished([*parts], 330, description)


def diversity_chart(info: RunInfo, field: str, *, description: str) -> dict[str, Any]:
    """Coverage, entropy or hypervolume over evaluations, from 0 to 1."""
    import altair as alt

    form, colour = (".1f", GREEN) if field == "entropy" else (".0%", BLUE)
    axis = alt.Axis(
        format=form, values=[0, 0.2, 0.4, 0.6, 0.8, 1] if field == "entropy" else [0, 0.25, 0.5, 0.75, 1]
    )
    base = alt.Chart(_points(info.progress)).encode(
        x=_evaluations(info.progress),
        y=alt.Y(f"{field}:Q", title=None, axis=axis, scale=alt.Scale(domain=[0, 1])),
    )
    parts = [
        base.mark_area(color=colour, opacity=0.14),
        base.mark_line(color=colour, strokeWidth=2.2),
    ]
    if len(info.progress) < 4:
        parts.append(base.mark_point(color=colour, size=60, filled=True, opacity=1))
    tooltip = (field, "entropy, bits", ".3f") if field == "entropy" else (field, field, ".1%")
    return finished([*parts, *_cursor(info.progress, [tooltip])], 170, description)


class _Label(NamedTuple):
    score: float
    label: str


def _points(progress: Iterable[Progress]) -> alt.Data:
    import altair as alt

    fields = ("evaluations", "best", "mean", "validation", "coverage", "entropy", "members", "hypervolume")
    rounded = [
        [round(v, 4) if isinstance(v, float) else v for v in (getattr(p, f) for f in fields)]
        for p in progress
    ]
    return alt.Data(values=[dict(zip(fields, row, strict=True)) for row in rounded])


def _evaluations(progress: Sequence[Progress]) -> alt.X:
    import altair as alt

    first, last = progress[0].evaluations, progress[-1].evaluations
    wide = last >= _LOGARITHMIC_FROM * first
    scale = alt.Scale(type="log" if wide else "linear", domain=[first, max(last, first + 1)], nice=False)
    ticks = (
        [v for e in range(1, 12) for m in (1, 2, 5) if first <= (v := m * 10**e) <= last]
        if wide
        else alt.Undefined
    )
    return alt.X(
        "evaluations:Q",
        title="evaluations",
        scale=scale,
        axis=alt.Axis(
            format=",d", tickCount=6, values=ticks, labelOverlap="greedy" if wide else True, labelSeparation=8
        ),
    )


def _cursor(progress: Sequence[Progress], fields: Sequence[tuple[str, str, str]]) -> list[alt.Chart]:
    """A line that follows the pointer, with the values at the nearest point."""
    import altair as alt

    nearest = alt.selection_point(
        nearest=True, on="pointerover", fields=["evaluations"], empty=False, clear="pointerout"
    )
    tooltip = [alt.Tooltip("evaluations:Q", format=",d")]
    tooltip += [
        alt.Tooltip(field=f, type="quantitative", title=title, format=form) for f, title, form in fields
    ]
    rule = (
        alt.Chart(_points(progress))
        .mark_rule(color=MUTED, strokeWidth=1)
        .encode(
            x=_evaluations(progress),
            opacity=alt.condition(nearest, alt.value(0.6), alt.value(0), empty=False),
            tooltip=tooltip,
        )
        .add_params(nearest)
    )
    return [rule]


def _reference_lines(info: RunInfo) -> list[alt.Chart]:
    import altair as alt

    values = [p.search for p in info.parents]
    lines = [{"score": p.search, "name": p.name, "validation": percent(p.validation)} for p in info.parents]
    everything = values + [s for p in info.progress for s in (p.best, p.mean, p.validation or p.best)]
    labels = _shared_labels(info.parents, max(everything) - min(everything))
    rules = (
        alt.Chart(alt.Data(values=lines))
        .mark_rule(strokeDash=[1, 3], strokeWidth=1.6, color=MUTED)
        .encode(
            y="score:Q",
            tooltip=[
                alt.Tooltip("name:N", title="parent"),
                alt.Tooltip("score:Q", title="search", format=".1%"),
                alt.Tooltip("validation:N"),
            ],
        )
    )
    names = (
        alt.Chart(alt.Data(values=[row._asdict() for row in labels]))
        .mark_text(align="right", baseline="bottom", dy=-4, dx=-4, limit=420)
        .encode(y="score:Q", x=alt.value("width"), text="label:N")
    )
    return [rules, names]


def _shared_labels(parents: Sequence[ModelScores], span: float) -> list[_Label]:
    """One label for each bundle of lines that lie close together, at the highest of them."""
    bundles = bundled(parents, lambda p: p.search, span)
    return [_Label(b[-1].search, listed([p.name for p in b])) for b in bundles]


def _label_expression(names: dict[str, str]) -> str:
    pairs = ", ".join(f"'{key}': '{value}'" for key, value in names.items())
    return f"({{{pairs}}})[datum.label]"
