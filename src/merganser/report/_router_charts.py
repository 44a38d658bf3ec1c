"""How good a router is, as charts: whether its predictions can be believed, and what cost buys."""

from __future__ import annotations

from typing import Any

from merganser.report._chart import finished, percent_axis
from merganser.report._theme import BLUE, GREY, INK, ORANGE, PAPER, RED
from merganser.routing.requests import RouterEvaluation


def calibration_chart(found: RouterEvaluation, *, description: str) -> dict[str, Any]:
    """Predicted against observed scores; what can be believed lies on the diagonal."""
    import altair as alt

    rows = [
        {"predicted": b.predicted, "observed": b.observed, "size": b.size} for b in found.calibration.bins
    ]
    share = alt.Scale(domain=[0, 1])
    ideal = (
        alt.Chart(alt.Data(values=[{"at": 0}, {"at": 1}]))
        .mark_line(color=GREY, strokeDash=[4, 4])
        .encode(
            x=alt.X("at:Q", title="predicted score", axis=percent_axis(), scale=share),
            y=alt.Y("at:Q", title="observed score", axis=percent_axis(), scale=share),
        )
    )
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("predicted:Q", title="predicted score", axis=percent_axis(), scale=share),
        y=alt.Y("observed:Q", title="observed score", axis=percent_axis(), scale=share),
    )
    points = base.mark_point(filled=True, color=BLUE, opacity=1, stroke=PAPER, strokeWidth=1).encode(
        size=alt.Size("size:Q", legend=None, scale=alt.Scale(range=[60, 500])),
        tooltip=[
            alt.Tooltip("predicted:Q", format=".1%"),
            alt.Tooltip("observed:Q", format=".1%"),
            alt.Tooltip("size:Q", title="requests × experts"),
        ],
    )
    return finished([ideal, base.mark_line(color=BLUE, opacity=0.5), points], 300, description)


def cost_chart(found: RouterEvaluation, *, description: str) -> dict[str, Any]:
    """Score against cost: the router at every price, beside experts, chance and oracle."""
    import altair as alt

    others = (*found.experts, found.chance, found.oracle)
    colour = {found.chance.name: GREY, found.oracle.name: INK, found.router.name: RED}
    ways = [
        {"name": w.name, "cost": w.cost, "score": w.score.value, "hue": colour.get(w.name, ORANGE)}
        for w in (found.router, *others)
    ]
    curve = [
        {"cost": p.cost, "score": p.score, "price": p.price, "order": k} for k, p in enumerate(found.curve)
    ]
    x = alt.X("cost:Q", title="mean cost of a request")
    y = alt.Y("score:Q", title="score", axis=percent_axis(), scale=alt.Scale(zero=False))
    line = (
        alt.Chart(alt.Data(values=curve))
        .mark_line(color=RED, opacity=0.6, point={"color": RED, "size": 18})
        .encode(x=x, y=y, order="order:Q", tooltip=[alt.Tooltip("price:Q", format=".3~g")])
    )
    base = alt.Chart(alt.Data(values=ways)).encode(
        x=x,
        y=y,
        tooltip=["name:N", alt.Tooltip("score:Q", format=".1%"), alt.Tooltip("cost:Q", format=".3~g")],
    )
    hue = alt.Color("hue:N", scale=None)
    marks = base.mark_point(filled=True, size=110, opacity=1, stroke=PAPER, strokeWidth=1).encode(color=hue)
    words = base.mark_text(align="left", dx=9).encode(text="name:N")
    return finished([line, marks, words], 320, description)
