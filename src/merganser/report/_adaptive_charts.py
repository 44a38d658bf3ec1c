"""A model that chooses its experts, as charts: weights of a mixture, its search, who answers what, what passes cost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from merganser.adaptation.strategies import Confusion, Cost, Mixture, MixtureFound, Trace
from merganser.report._chart import finished, percent_axis
from merganser.report._theme import BLUE, GREY, INK, ORANGE, PAPER, RED

_BLOCK = re.compile(r"(?:^|\.)(\d+)\.")
_ROW, _GAP = 20, 22
"""Pixels for a row, and between experts."""


def weights_chart(mixture: Mixture, *, description: str) -> dict[str, Any]:
    """Weight of each expert: a bar each, or where they differ from matrix to matrix a map by block and matrix."""
    if isinstance(mixture.weights, tuple):
        return _weight_bars(mixture.mean_weights(), description)
    rows = [
        {"expert": name, "kind": _kind_of(matrix), "block": _block_of(matrix), "weight": round(weights[k], 5)}
        for matrix, weights in mixture.weights.items()
        for k, name in enumerate(mixture.experts)
    ]
    return _weight_map(rows, mixture.experts, description)


def _weight_bars(weights: dict[str, float], description: str) -> dict[str, Any]:
    import altair as alt

    rows = [{"expert": name, "weight": round(weight, 5)} for name, weight in weights.items()]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("weight:Q", title="weight"),
        y=alt.Y("expert:N", sort=list(weights), title=None, axis=alt.Axis(labelColor=INK, labelFontSize=13)),
        tooltip=["expert:N", alt.Tooltip("weight:Q", format=".3f")],
    )
    words = base.mark_text(align="left", dx=6, color=INK).encode(text=alt.Text("weight:Q", format=".2f"))
    return finished([base.mark_bar(color=BLUE, height=18), words], 34 * len(rows) + 20, description)


def _weight_map(rows: list[dict[str, Any]], experts: tuple[str, ...], description: str) -> dict[str, Any]:
    import altair as alt

    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    blocks = list(dict.fromkeys(row["block"] for row in rows))
    most = max((abs(row["weight"]) for row in rows), default=1.0) or 1.0
    spacing = alt.Scale(paddingInner=_GAP / (_GAP + _ROW * len(kinds)))
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("block:O", sort=blocks, title="block", axis=alt.Axis(labelAngle=0)),
        y=alt.Y(
            "expert:N",
            sort=list(experts),
            title=None,
            scale=spacing,
            axis=alt.Axis(labelColor=INK, labelFontSize=13, grid=False),
        ),
        yOffset=alt.YOffset("kind:N", sort=kinds, scale=alt.Scale(domain=kinds)),
        tooltip=["expert:N", "block:O", "kind:N", alt.Tooltip("weight:Q", format=".3f")],
    )
    marks = base.mark_rect(stroke=PAPER, strokeWidth=1.5).encode(
        color=alt.condition("datum.weight < 0", alt.value(ORANGE), alt.value(BLUE)),
        opacity=alt.Opacity("size:Q", scale=alt.Scale(domain=[0, most], range=[0.04, 1]), legend=None),
    )
    sized = marks.transform_calculate(size="abs(datum.weight)")
    return finished([sized], len(experts) * (_ROW * len(kinds) + _GAP), description)


def _block_of(matrix: str) -> str:
    """Number of a matrix's block, as its name says it.

    Examples:
        >>> _block_of("model.layers.12.mlp.up_proj.weight"), _block_of("head.weight")
        ('12', '–')
    """
    found = _BLOCK.search(matrix)
    return found[1] if found else "–"


def kinds_of(mixture: Mixture) -> list[str]:
    """Matrices of a block, in the order of the map's rows; none where all have the same weights."""
    weights = mixture.weights
    return [] if isinstance(weights, tuple) else list(dict.fromkeys(_kind_of(matrix) for matrix in weights))


def _kind_of(matrix: str) -> str:
    """A matrix's name within its block.

    Examples:
        >>> _kind_of("model.layers.12.mlp.up_proj.weight"), _kind_of("head.weight")
        ('mlp.up_proj', 'head')
    """
    found = _BLOCK.search(matrix)
    return matrix[found.end() if found else 0 :].removesuffix(".weight")


def search_chart(found: MixtureFound, *, description: str) -> dict[str, Any]:
    """Best and mean score on the shots as mixtures are scored; at the end that of the best on held-out samples."""
    import altair as alt

    rows = [
        {"evaluations": g.evaluations, "score": score, "what": what}
        for g in found.history
        for what, score in (("best on the shots", g.best), ("mean of the generation", g.mean))
    ]
    x = alt.X("evaluations:Q", title="mixtures scored")
    y = alt.Y("score:Q", title="score", axis=percent_axis(), scale=alt.Scale(domain=[0, 1]))
    names = ["best on the shots", "mean of the generation", "held out"]
    hue = alt.Color("what:N", scale=alt.Scale(domain=names, range=[RED, GREY, BLUE]), legend=alt.Legend())
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=x, y=y, color=hue, tooltip=["what:N", "evaluations:Q", alt.Tooltip("score:Q", format=".1%")]
    )
    layers = [base.mark_line(strokeWidth=2), base.mark_point(filled=True, size=45, opacity=1)]
    held = found.standings[0].held_out
    if held is not None:
        at = {"evaluations": found.history[-1].evaluations, "what": "held out"}
        data = alt.Data(values=[{**at, "score": held.value, "low": held.low, "high": held.high}])
        mark = alt.Chart(data).encode(x=x, color=hue, tooltip=[alt.Tooltip("score:Q", format=".1%")])
        layers.append(mark.mark_rule(strokeWidth=3, opacity=0.55).encode(y="low:Q", y2="high:Q"))
        layers.append(
            mark.mark_point(filled=True, shape="diamond", size=160, opacity=1, stroke=PAPER).encode(y=y)
        )
    return finished(layers, 260, description)


def confusion_chart(found: Confusion, *, description: str) -> dict[str, Any]:
    """Whom requests were for against who answered; the fuller the colour, the larger the share of a row."""
    import altair as alt

    totals = found.counts.sum(axis=1)
    rows = [
        {
            "for": truth,
            "answered": answered,
            "count": int(found.counts[i, k]),
            "share": float(found.counts[i, k] / max(1, totals[i])),
            "right": truth == answered,
        }
        for i, truth in enumerate(found.truths)
        for k, answered in enumerate(found.answered)
    ]
    axis = alt.Axis(labelColor=INK, labelFontSize=13, labelAngle=0, grid=False)
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("answered:N", sort=list(found.answered), title="answered by", axis=axis),
        y=alt.Y("for:N", sort=list(found.truths), title="for", axis=axis),
        tooltip=["for:N", "answered:N", "count:Q", alt.Tooltip("share:Q", format=".1%")],
    )
    cells = base.mark_rect(stroke=PAPER, strokeWidth=2).encode(
        color=alt.Color("right:N", scale=alt.Scale(domain=[True, False], range=[BLUE, ORANGE]), legend=None),
        opacity=alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.05, 0.8]), legend=None),
    )
    counts = base.mark_text(color=INK, fontSize=14).encode(text="count:Q")
    return finished([cells, counts], 46 * len(found.truths) + 40, description)


def tokens_chart(traces: Sequence[Trace], *, description: str) -> dict[str, Any]:
    """Mean tokens that each pass read and wrote for a request."""
    rows = [
        {"pass": name, "what": what, "mean": _mean([getattr(cost, what) for cost in costs])}
        for name, costs in _passes(traces).items()
        for what in ("read", "written")
    ]
    return _bars(rows, "tokens a request", ["read", "written"], description)


def seconds_chart(traces: Sequence[Trace], *, description: str) -> dict[str, Any]:
    """Mean seconds of each pass for a request."""
    rows = [
        {"pass": name, "what": "seconds", "mean": _mean([cost.seconds for cost in costs])}
        for name, costs in _passes(traces).items()
    ]
    return _bars(rows, "seconds a request", ["seconds"], description)


def _passes(traces: Sequence[Trace]) -> dict[str, list[Cost]]:
    return {"first": [trace.first for trace in traces], "second": [trace.second for trace in traces]}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))


def _bars(rows: list[dict[str, Any]], title: str, names: list[str], description: str) -> dict[str, Any]:
    import altair as alt

    hues = alt.Scale(domain=names, range=[BLUE, ORANGE][: len(names)])
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("mean:Q", title=title, stack="zero"),
        y=alt.Y(
            "pass:N", sort=["first", "second"], title=None, axis=alt.Axis(labelColor=INK, labelFontSize=13)
        ),
        color=alt.Color("what:N", scale=hues, legend=alt.Legend() if len(names) > 1 else None),
        tooltip=["pass:N", "what:N", alt.Tooltip("mean:Q", format=".3~g")],
    )
    return finished([base.mark_bar(height=20)], 90, description)
