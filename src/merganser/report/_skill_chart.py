"""Skills as a chart: a band for each task, in it every model's score with its interval, and the change beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from merganser.report._chart import finished
from merganser.report._theme import GREY, INK, MUTED, PAPER, RED, colours
from merganser.report._words import points
from merganser.run import Skill

_LANE, _GAP = 17, 30
"""Pixels for a model, and between tasks."""
_ROOM = 0.2
"""Share of the axis that is left free beside the intervals, for words."""
_MERGES = ("square", "cross", "triangle-down", "triangle-left", "triangle-right")


def skill_chart(skills: Sequence[Skill], names: Sequence[str], *, description: str) -> dict[str, Any]:
    """Winner, merges by rule and parents on each task.

    Args:
        skills: The tasks.
        names: What to call each of them; no two alike.
        description: What the picture shows, in words.
    """
    import altair as alt

    parents = list(dict.fromkeys(name for skill in skills for name in skill.parents))
    merges = list(dict.fromkeys(_merge_name(name) for skill in skills for name in skill.baselines))
    models = ["winner", *merges, *parents]
    rows = [row for skill, name in zip(skills, names, strict=True) for row in _rows(skill, name)]
    low, high = min(row["low"] for row in rows), max(row["high"] for row in rows)
    span = max(high - low, 0.01)
    hues = [RED, *[GREY] * len(merges), *colours(len(parents))]
    shapes = [
        "triangle-up",
        *(_MERGES[k % len(_MERGES)] for k in range(len(merges))),
        *["diamond"] * len(parents),
    ]
    legend = alt.Legend(columns=4, symbolOpacity=1)
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y(
            "task:N",
            sort=list(names),
            title=None,
            scale=alt.Scale(paddingInner=_GAP / (_GAP + _LANE * len(models)), paddingOuter=0.1),
            axis=alt.Axis(labelColor=INK, labelFontSize=13, labelLimit=190, grid=False),
        ),
        yOffset=alt.YOffset("model:N", sort=models, scale=alt.Scale(domain=models)),
        color=alt.Color("model:N", legend=legend, scale=alt.Scale(domain=models, range=hues)),
        tooltip=[
            alt.Tooltip("task:N"),
            alt.Tooltip("model:N"),
            alt.Tooltip("value:Q", title="score", format=".1%"),
            alt.Tooltip("low:Q", title="95 % from", format=".1%"),
            alt.Tooltip("high:Q", title="to", format=".1%"),
        ],
    )
    x = alt.X(
        "low:Q",
        title="score",
        axis=alt.Axis(format=".1~%", grid=True, domain=False, tickCount=8),
        scale=alt.Scale(domain=[low - 0.03 * span, high + _ROOM * span], nice=False),
    )
    spans = base.mark_rule(strokeWidth=2.5, opacity=0.5, strokeCap="round").encode(x=x, x2="high:Q")
    marks = base.mark_point(filled=True, size=120, opacity=1, stroke=PAPER, strokeWidth=0.8).encode(
        x="value:Q",
        shape=alt.Shape("model:N", legend=legend, scale=alt.Scale(domain=models, range=shapes)),
    )
    said = base.transform_filter("datum.change != ''").encode(x="high:Q", text="change:N")
    clear = said.transform_filter("datum.clear").mark_text(align="left", dx=9, fontWeight="bold")
    unclear = said.transform_filter("!datum.clear").mark_text(align="left", dx=9)
    words = [clear.encode(color=alt.value(INK)), unclear.encode(color=alt.value(MUTED))]
    height = len(skills) * (_LANE * len(models) + _GAP)
    return finished([spans, marks, *words], height, description)


def _merge_name(method: str) -> str:
    """What a merge by rule is called among parents, one of which may have the same name.

    Examples:
        >>> _merge_name("linear")
        'merge: linear'
    """
    return f"merge: {method}"


def _rows(skill: Skill, name: str) -> list[dict[str, Any]]:
    change = skill.change
    merges = {_merge_name(method): interval for method, interval in skill.baselines.items()}
    return [
        {
            "task": name,
            "model": model,
            "value": round(interval.value, 5),
            "low": round(interval.low, 5),
            "high": round(interval.high, 5),
            "change": points(change.value) if model == "winner" else "",
            "clear": is_clear(skill),
        }
        for model, interval in {"winner": skill.winner, **merges, **skill.parents}.items()
    ]


def is_clear(skill: Skill) -> bool:
    """Whether the winner's difference to the best parent of the task is more than chance, at 95 %."""
    return skill.change.low > 0 or skill.change.high < 0
