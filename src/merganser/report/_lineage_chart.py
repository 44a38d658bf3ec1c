"""The winner's ancestry as a chart: every ancestor at its birth and its score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from merganser.report._chart import bundled, finished, percent_axis
from merganser.report._lineage import Ancestor, LineageInfo
from merganser.report._run_info import RunInfo
from merganser.report._theme import BLUE, INK, MUTED, ORANGE, PAPER, RED
from merganser.report._words import count, listed, percent

if TYPE_CHECKING:
    import altair as alt

_TITLES = {
    "child": "child",
    "score": "search score",
    "parents": "parents",
    "weight": "weight of the second",
    "split": "split point",
    "share": "of the winner through it",
    "generation": "generation",
}


class _Node(NamedTuple):
    """A point of the chart: where it stands, what it is, and what its tooltip says."""

    x: int
    y: float
    kind: str
    name: str
    child: str
    score: str
    parents: str
    weight: str
    split: str
    share: str
    generation: int


class _Name(NamedTuple):
    x: int
    y: float
    name: str


def lineage_chart(info: RunInfo, lineage: LineageInfo, *, description: str) -> dict[str, Any]:
    """Every ancestor at its birth and score, lines from parents to children."""
    import altair as alt

    chosen = "winner" if info.finished else "best so far"
    nodes = [
        _node(info, ancestor, chosen if ancestor.event.index == lineage.index else None)
        for ancestor in lineage.ancestors
    ]
    latest = max(node.x for node in nodes)
    # most happens early: the axis is logarithmic beyond a twentieth of its length
    scale = alt.Scale(
        type="symlog", constant=max(latest / 20, 1), domain=[0, max(latest, 1)], nice=False, padding=12
    )
    x = alt.X(
        "x:Q",
        title="evaluation at which it was born",
        scale=scale,
        axis=alt.Axis(format=",d", tickCount=8, tickMinStep=1),
    )
    y = alt.Y("y:Q", title="search score", axis=percent_axis(), scale=alt.Scale(zero=False, nice=True))
    layers = [_lines(lineage, x, y), _points(nodes, chosen, x, y), *_names(nodes, x, y)]
    return finished([*layers], 380, description)


def _lines(lineage: LineageInfo, x: alt.X, y: alt.Y) -> alt.Chart:
    import altair as alt

    height = {a.event.index: round(a.event.score, 4) for a in lineage.ancestors}
    rows = [
        {"x": d.parent, "y": height[d.parent], "x2": d.child, "y2": height[d.child], "direct": d.direct}
        for d in lineage.descents
    ]
    dashes = alt.Scale(domain=[True, False], range=[[1, 0], [3, 3]])
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_rule(color=MUTED, opacity=0.38, strokeWidth=1)
        .encode(
            x=x, y=y, x2="x2:Q", y2="y2:Q", strokeDash=alt.StrokeDash("direct:N", legend=None, scale=dashes)
        )
    )


def _points(nodes: Sequence[_Node], chosen: str, x: alt.X, y: alt.Y) -> alt.Chart:
    import altair as alt

    kinds = ["seed", "ancestor", chosen]
    return (
        alt.Chart(alt.Data(values=[node._asdict() for node in nodes]))
        .mark_point(filled=True, opacity=1, stroke=PAPER, strokeWidth=0.8)
        .encode(
            x=x,
            y=y,
            color=alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=[ORANGE, BLUE, RED])),
            shape=alt.Shape(
                "kind:N", scale=alt.Scale(domain=kinds, range=["diamond", "circle", "triangle-up"])
            ),
            size=alt.condition("datum.kind == 'ancestor'", alt.value(55), alt.value(190)),
            tooltip=[alt.Tooltip(field=f, type="nominal", title=t) for f, t in _TITLES.items()],
        )
    )


def _names(nodes: Sequence[_Node], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Names of the seeds, which all stand at the left edge; those at nearly one height share a line."""
    import altair as alt

    heights = [node.y for node in nodes]
    bundles = bundled([n for n in nodes if n.name], lambda n: n.y, max(heights) - min(heights))
    rows = [
        _Name(max(n.x for n in b), sum(n.y for n in b) / len(b), listed([n.name for n in b])) for b in bundles
    ]
    base = alt.Chart(alt.Data(values=[row._asdict() for row in rows])).encode(x=x, y=y, text="name:N")
    place = {"align": "left", "dx": 10, "dy": 13, "fontSize": 12, "limit": 280}
    halo = base.mark_text(color=PAPER, stroke=PAPER, strokeWidth=4, strokeJoin="round", **place)
    return [halo, base.mark_text(color=INK, **place)]


def _node(info: RunInfo, ancestor: Ancestor, chosen: str | None) -> _Node:
    event, name = ancestor.event, ancestor.name or ""
    layer = None if event.split is None else info.layer_of(event.split)
    where = "" if layer is None else f" in {layer}"
    return _Node(
        x=event.index,
        y=round(event.score, 4),
        kind=chosen or ("seed" if ancestor.name is not None else "ancestor"),
        name=name,
        child=f"{event.index}, {name}" if name else str(event.index),
        score=percent(event.score),
        parents=" × ".join(map(str, event.parents)) or "–",
        weight="–" if event.weight is None else f"{event.weight:.3f}",
        split=f"{count(event.split)}{where}" if event.split else "–",
        share=percent(ancestor.share),
        generation=ancestor.generation,
    )
