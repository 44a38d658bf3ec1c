"""Routers as pictures: who is used at which block on which task, and how undecided the routers are there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from merganser.report._chart import finished
from merganser.report._theme import INK, MUTED, PAPER, colours

_ROW, _GAP = 22, 26
"""Pixels for an expert's row, and between tasks."""


def usage_chart(
    usage: Mapping[str, Float[np.ndarray, "blocks experts"]],
    experts: tuple[str, ...],
    *,
    description: str = "Share of each expert at each block, by task.",
) -> dict[str, Any]:
    """Shares of experts, block by block, a band of rows for each task.

    Args:
        usage: For each task the mean share of each expert at each block, in [0, 1], such as `Usage.by_expert`.
        experts: Names of the experts.
        description: What the picture shows, in words.

    Raises:
        ValueError: If there is no task, or a matrix has not one column an expert.
    """
    import altair as alt

    if not usage:
        raise ValueError("Expected the usage of experts on at least one task, found none.")
    for task, shares in usage.items():
        if shares.ndim != 2 or shares.shape[1] != len(experts):
            raise ValueError(
                f"Expected a column for each of {len(experts)} experts, but the shares on {task!r} have the shape "
                f"{shares.shape}."
            )
    rows = [
        {"task": task, "expert": expert, "block": block, "share": round(float(shares[block, e]), 5)}
        for task, shares in usage.items()
        for e, expert in enumerate(experts)
        for block in range(len(shares))
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("block:O", title="block", axis=alt.Axis(labelAngle=0)),
        y=alt.Y(
            "task:N",
            sort=list(usage),
            title=None,
            scale=alt.Scale(paddingInner=_GAP / (_GAP + _ROW * len(experts))),
            axis=alt.Axis(labelColor=INK, labelFontSize=13, grid=False),
        ),
        yOffset=alt.YOffset("expert:N", sort=list(experts), scale=alt.Scale(domain=list(experts))),
        tooltip=[
            alt.Tooltip("task:N"),
            alt.Tooltip("block:O"),
            alt.Tooltip("expert:N"),
            alt.Tooltip("share:Q", format=".1%"),
        ],
    )
    marks = base.mark_rect(stroke=PAPER, strokeWidth=1.5).encode(
        color=alt.Color(
            "expert:N",
            scale=alt.Scale(domain=list(experts), range=colours(len(experts))),
            legend=alt.Legend(),
        ),
        opacity=alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.04, 1]), legend=None),
    )
    height = len(usage) * (_ROW * len(experts) + _GAP)
    return finished([marks], height, description)


def entropy_chart(
    entropy: Mapping[str, Float[np.ndarray, " blocks"]],
    choices: int,
    *,
    description: str = "Entropy of the routers' shares at each block, by task.",
) -> dict[str, Any]:
    """How undecided routers are: a line for each task, between one expert for all and equal shares.

    Args:
        entropy: For each task the mean entropy at each block, in nats.
        choices: Experts that a block chooses from, which bounds the entropy by its logarithm.
        description: What the picture shows, in words.

    Raises:
        ValueError: If there is no task.
    """
    import altair as alt

    if not entropy:
        raise ValueError("Expected the entropy of routers on at least one task, found none.")
    rows = [
        {"task": task, "block": block, "entropy": round(float(value), 5)}
        for task, values in entropy.items()
        for block, value in enumerate(values)
    ]
    most = math.log(choices)
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("block:O", title="block", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("entropy:Q", title="entropy (nats)", scale=alt.Scale(domain=[0, 1.05 * most], nice=False)),
        color=alt.Color(
            "task:N",
            scale=alt.Scale(domain=list(entropy), range=colours(len(entropy))),
            legend=alt.Legend() if len(entropy) > 1 else None,
        ),
        tooltip=[alt.Tooltip("task:N"), alt.Tooltip("block:O"), alt.Tooltip("entropy:Q", format=".3f")],
    )
    equal = alt.Chart(alt.Data(values=[{"entropy": most, "said": "equal shares"}])).encode(y="entropy:Q")
    layers = [
        base.mark_line(strokeWidth=2),
        base.mark_point(filled=True, size=60, opacity=1),
        equal.mark_rule(strokeDash=[4, 4], color=MUTED),
        equal.mark_text(align="left", dy=-7, x=4, color=MUTED).encode(text="said:N"),
    ]
    return finished(layers, 180, description)
