"""The final test as a chart: each model's score with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from merganser.evaluation import Interval
from merganser.report._chart import finished
from merganser.report._theme import INK, ORANGE, PAPER, RED


class Tested(Protocol):
    """Something with a test score."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def test(self) -> Interval | None:
        """Mean test score with its interval; None if there is none."""
        ...


def interval_chart(models: Sequence[Tested], *, description: str) -> dict[str, Any]:
    """Each one's test score with its interval; the first stands out."""
    import altair as alt

    rows = [_interval_row(m.name, m.test, k == 0) for k, m in enumerate(models) if m.test is not None]
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y(
            "name:N",
            sort=[r["name"] for r in rows],
            title=None,
            axis=alt.Axis(labelColor=INK, labelFontSize=13, labelLimit=190, grid=False),
        ),
        color=alt.Color("winner:N", legend=None, scale=alt.Scale(domain=[True, False], range=[RED, ORANGE])),
        tooltip=[
            alt.Tooltip("name:N", title="model"),
            alt.Tooltip("value:Q", title="test score", format=".1%"),
            alt.Tooltip("low:Q", title="95 % from", format=".1%"),
            alt.Tooltip("high:Q", title="to", format=".1%"),
        ],
    )
    x = alt.X(
        "low:Q",
        title="test score",
        axis=alt.Axis(format=".1~%", grid=True, domain=False, tickCount=8),
        scale=alt.Scale(zero=False, nice=True),
    )
    spans = base.mark_rule(strokeWidth=3, opacity=0.55, strokeCap="round").encode(x=x, x2="high:Q")
    marks = base.mark_point(filled=True, size=220, opacity=1, stroke=PAPER, strokeWidth=1).encode(
        x="value:Q",
        shape=alt.Shape(
            "winner:N", legend=None, scale=alt.Scale(domain=[True, False], range=["triangle-up", "diamond"])
        ),
    )
    return finished([spans, marks], 42 * len(rows) + 10, description)


def _interval_row(name: str, test: Interval, winner: bool) -> dict[str, Any]:
    return {"name": name, "value": test.value, "low": test.low, "high": test.high, "winner": winner}
