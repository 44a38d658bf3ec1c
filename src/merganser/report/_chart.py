"""What all charts have in common: altair's specification of a layered chart, in the house's style.

altair is imported when the first chart is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from merganser.report._theme import chart_config

if TYPE_CHECKING:
    import altair as alt

_CLOSE = 0.05
_T = TypeVar("_T")


def finished(layers: Sequence[alt.Chart], height: int, description: str) -> dict[str, Any]:
    """The specification of a chart that is as wide as its place, checked by altair."""
    import altair as alt

    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    chart: Any = alt.layer(*layers)  # not always a layer chart by its annotation
    sized = chart.properties(width="container", height=height, autosize=fit, description=description)
    return sized.configure(**chart_config()).to_dict()


def percent_axis() -> alt.Axis:
    """An axis of fractions, in per cent; decimals only where ticks need them."""
    import altair as alt

    return alt.Axis(format=".1~%", tickCount=6)


def bundled(things: Iterable[_T], height: Callable[[_T], float], span: float) -> list[list[_T]]:
    """Things grouped with those close above them, so that they can share a label; lowest first.

    Args:
        things: What is to be labelled.
        height: Where each stands on the axis.
        span: Length of the axis, of which a twentieth is close.

    Examples:
        >>> bundled([3.0, 1.0, 1.1], float, 10.0)
        [[1.0, 1.1], [3.0]]
    """
    bundles: list[list[_T]] = []
    for thing in sorted(things, key=height):
        if bundles and height(thing) - height(bundles[-1][0]) <= _CLOSE * span:
            bundles[-1].append(thing)
        else:
            bundles.append([thing])
    return bundles
