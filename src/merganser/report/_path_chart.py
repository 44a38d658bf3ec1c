"""A path as a chart: which block at which hop, and beside it which blocks of each model are on the way."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from merganser.report._chart import finished
from merganser.report._path_info import PathInfo
from merganser.report._theme import INK, MUTED, PAPER, colours

if TYPE_CHECKING:
    import altair as alt

_SHAPES = ("circle", "diamond", "triangle-up", "square", "triangle-down", "cross")
_WIDTH = 860
"""Pixels that the picture is about wide, for sizes of marks; the page decides how wide it is."""
_ROW, _LOWEST, _HIGHEST = 15, 170, 560
"""Pixels for each block, and the least and the most of the whole picture."""
_UPRIGHT, MOST_LABELS = 20, 56
"""Hops up to which scales are written as other text is, and up to which they are written at all."""
_FULL = 1.25
"""A path whose scales are all nearer to 1 than this factor shows less than the full range of sizes."""


def path_chart(info: PathInfo, *, description: str) -> dict[str, Any]:
    """Blocks over hops with a line through them; to the right every block of every model, taken or not."""
    import altair as alt

    hops, tallest = len(info.path.hops), max(info.blocks)
    height = min(max(_ROW * tallest, _LOWEST), _HIGHEST)
    pitch = max(hops / 18, 0.6)
    columns = [hops - 1 + pitch * (1.6 + k) for k in range(len(info.names))]
    room = min(height / tallest, _WIDTH / (columns[-1] + 1))
    shapes = [_SHAPES[k % len(_SHAPES)] for k in range(len(info.names))]
    x = alt.X(
        "hop:Q",
        title="hop",
        scale=alt.Scale(domain=[-0.6, columns[-1] + 0.8 * pitch], nice=False),
        axis=alt.Axis(values=_ticks(hops), format="d"),
    )
    y = alt.Y(
        "block:Q",
        title="block",
        scale=alt.Scale(domain=[-0.6, tallest - 0.4], nice=False),
        axis=alt.Axis(values=_ticks(tallest), format="d"),
    )
    names, legend = list(info.names), alt.Legend(offset=40)
    colour = alt.Color("model:N", legend=legend, scale=alt.Scale(domain=names, range=colours(len(names))))
    shape = alt.Shape("model:N", legend=legend, scale=alt.Scale(domain=names, range=shapes))
    way = alt.Chart(alt.Data(values=_hops(info))).encode(x=x, y=y)
    line = way.mark_line(color=MUTED, strokeWidth=1.2, opacity=0.7).encode(order="hop:Q")
    marks = way.mark_point(filled=True, opacity=1, stroke=PAPER, strokeWidth=0.8).encode(
        color=colour,
        shape=shape,
        size=alt.Size("weight:Q", legend=None, scale=alt.Scale(domain=[-1, 1], range=_sizes(room))),
        tooltip=["hop:Q", "model:N", "block:Q", alt.Tooltip("scale:Q", format=".4~f")],
    )
    return finished(
        [line, marks, *_labels(way, hops), *_cells(info, columns, x, y, colour, room)], height, description
    )


def _hops(info: PathInfo) -> list[dict[str, Any]]:
    scales = [hop.scale for hop in info.path.hops]
    return [
        {
            "hop": t,
            "block": hop.block,
            "model": info.names[hop.model],
            "scale": hop.scale,
            "weight": weight,
            "label": "" if f"{hop.scale:.2f}" == "1.00" else f"{hop.scale:.2f}",
        }
        for t, (hop, weight) in enumerate(zip(info.path.hops, _weights(scales), strict=True))
    ]


def _weights(scales: list[float]) -> list[float]:
    """Where scales lie between -1 and 1 by their logarithms, a scale of 1 at 0; one that turns the sign is least."""
    logarithms = [math.log(scale) if scale > 0 else -math.inf for scale in scales]
    full = max([abs(each) for each in logarithms if math.isfinite(each)] + [math.log(_FULL)])
    return [round(max(each / full, -1.0), 4) for each in logarithms]


def _sizes(room: float) -> list[float]:
    """Areas of the smallest and the largest mark, where a hop and a block have so many pixels."""
    middle = min(max(room, 7.0), 15.0) ** 2 * 0.8
    return [round(0.3 * middle), round(1.7 * middle)]


def _labels(way: alt.Chart, hops: int) -> list[alt.Chart]:
    """Scales that are not 1, in a row over the picture."""
    import altair as alt

    if hops > MOST_LABELS:
        return []
    if hops <= _UPRIGHT:
        style: dict[str, Any] = {"align": "center", "baseline": "bottom", "dy": -6}
    else:
        style = {"align": "left", "baseline": "middle", "angle": 270, "dx": 6}
    return [way.mark_text(fontSize=10.5, **style).encode(y=alt.value(0), text="label:N")]


def _cells(
    info: PathInfo, columns: list[float], x: alt.X, y: alt.Y, colour: alt.Color, room: float
) -> list[alt.Chart]:
    """A column for each model with a cell for each block: filled if it is on the path, and how often if repeatedly."""
    import altair as alt

    times = info.times
    rows = [
        {"hop": columns[k], "block": block, "model": name, "times": times[k, block]}
        for k, (name, count) in enumerate(zip(info.names, info.blocks, strict=True))
        for block in range(count)
    ]
    size = round(min(max(room, 6.0), 13.0) ** 2 * 0.62)
    tooltip = ["model:N", "block:Q", alt.Tooltip("times:Q", title="times on the path")]
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y, tooltip=tooltip)
    taken = base.transform_filter("datum.times > 0")
    left = base.transform_filter("datum.times == 0")
    return [
        taken.mark_square(size=size, opacity=1).encode(color=colour),
        left.mark_square(size=size, opacity=0.55, filled=False, strokeWidth=1).encode(color=colour),
        taken.transform_filter("datum.times > 1")
        .transform_calculate(said="'×' + datum.times")
        .mark_text(align="left", dx=8, fontSize=11, color=INK)
        .encode(text="said:N"),
    ]


def _ticks(number: int) -> list[int]:
    """At most a dozen numbers from 0 at equal steps."""
    step = next(step for k in range(9) for s in (1, 2, 5) if number <= 12 * (step := s * 10**k))
    return list(range(0, number, step))
