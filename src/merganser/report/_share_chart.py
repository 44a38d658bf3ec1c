"""Where each seed lives, as a chart: stacked shares along the flat parameters, layers marked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from merganser.report._chart import finished, percent_axis
from merganser.report._shares import LayerShare, ShareInfo
from merganser.report._theme import PAPER, colours

if TYPE_CHECKING:
    import altair as alt

_NARROW = 0.12
"""A layer narrower than this fraction of the model has no room for its name."""


def share_chart(info: ShareInfo, *, description: str) -> dict[str, Any]:
    """Stacked shares of the seeds along the flat parameters, layers marked."""
    import altair as alt

    rows = [
        {"from": begin, "to": end, "seed": seed, "share": share, "low": low, "high": low + share}
        for begin, end, stretch in zip(
            info.edges[:-1].tolist(), info.edges[1:].tolist(), info.shares, strict=True
        )
        for seed, share, low in _stacked(info.seeds, stretch.tolist())
    ]
    size = float(info.edges[-1])
    for row in rows:  # neighbours overlap by a hair, or the page's colour shines through the seams
        row["drawn"] = min(row["to"] + size / 1_000, size)
    palette = alt.Scale(domain=list(info.seeds), range=colours(len(info.seeds)))
    x = alt.X(
        "from:Q",
        title="position in the flat parameters",
        scale=alt.Scale(domain=[0, size], nice=False),
        axis=alt.Axis(format=",d", tickCount=6),
    )
    bars = (
        alt.Chart(alt.Data(values=rows))
        .mark_rect(opacity=1, strokeWidth=0)
        .encode(
            x=x,
            x2="drawn:Q",
            y=alt.Y("low:Q", title="share", axis=percent_axis(), scale=alt.Scale(domain=[0, 1])),
            y2="high:Q",
            color=alt.Color(
                "seed:N", scale=palette, legend=alt.Legend(symbolType="square", columns=4, offset=28)
            ),
            tooltip=[
                alt.Tooltip("seed:N"),
                alt.Tooltip("share:Q", format=".1%"),
                alt.Tooltip("from:Q", title="from position", format=",d"),
                alt.Tooltip("to:Q", title="to position", format=",d"),
            ],
        )
    )
    return finished([bars, *_layer_marks(info.layers, size, x)], 250, description)


def _stacked(seeds: Sequence[str], shares: Sequence[float]) -> Iterable[tuple[str, float, float]]:
    low = 0.0
    for seed, share in zip(seeds, shares, strict=True):
        yield seed, round(share, 4), round(low, 4)
        low += share


def _layer_marks(layers: Sequence[LayerShare], size: float, x: alt.X) -> list[alt.Chart]:
    """A line where each layer begins, and its name where there is room."""
    import altair as alt

    inner = [{"from": layer.start, "name": layer.name} for layer in layers if layer.start > 0]
    named = [
        {"from": layer.start, "name": layer.name}
        for layer in layers
        if layer.end - layer.start >= _NARROW * size
    ]
    rules = (
        alt.Chart(alt.Data(values=inner))
        .mark_rule(color=PAPER, strokeWidth=2)
        .encode(
            x=x,
            tooltip=[
                alt.Tooltip("name:N", title="layer"),
                alt.Tooltip("from:Q", title="begins at", format=",d"),
            ],
        )
    )
    names = (
        alt.Chart(alt.Data(values=named))
        .mark_text(align="left", baseline="bottom", dx=3, dy=-4, fontSize=12)
        .encode(x=x, y=alt.value(0), text="name:N")
    )
    return [rules, names]
