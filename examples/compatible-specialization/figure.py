"""The picture of what `net.py` found: losses over specialisation, and how alike the specialists still are.

python figure.py net.json --out net.png
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from merganser.weights import atomic_write_bytes

HUES = {
    "average of weights": "#d55e00",
    "average of features": "#e69f00",
    "product of outputs": "#0072b2",
    "router a block": "#009e73",
    "cross-depth router, 4": "#cc79a7",
    "fine-tuned base": "#666666",
}
MERGES = {"average of weights": "weights", "average of features": "features", "product of outputs": "product"}
ROUTERS = {"router a block": "layers", "cross-depth router, 4": "cross-depth 4"}


def losses(studies: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row for each arm, step and seed; step 0 stands at 3."""
    for study in studies:
        for step, found in study["checkpoints"].items():
            at = {"step": max(int(step), 3), "seed": study["seed"]}
            yield from ({**at, "arm": arm, "loss": found[key]} for arm, key in MERGES.items())
            yield {**at, "arm": "fine-tuned base", "loss": study["fine-tuned base"]}
        for step, found in study["routed"].items():
            at = {"step": int(step), "seed": study["seed"]}
            yield from ({**at, "arm": arm, "loss": found[key]} for arm, key in ROUTERS.items())


def similarities(studies: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row for each block, step and seed."""
    for study in studies:
        for step, found in study["checkpoints"].items():
            for block, value in enumerate(found["cka"], start=1):
                yield {"step": max(int(step), 3), "block": f"block {block}", "cka": value}


def chart(studies: list[dict[str, Any]]) -> Any:
    """Both pictures beside each other: means over seeds, bands from the least to the largest."""
    axis = alt.Axis(
        values=[3, 10, 30, 100, 300, 1000, 3000], labelExpr="datum.value == 3 ? '0' : datum.label"
    )
    steps = alt.X("step:Q", scale=alt.Scale(type="log"), title="steps of specialisation", axis=axis)
    hue = alt.Color(
        "arm:N",
        scale=alt.Scale(domain=list(HUES), range=list(HUES.values())),
        legend=alt.Legend(symbolOpacity=1),
        title=None,
    )
    lost = alt.Chart(alt.Data(values=list(losses(studies)))).encode(x=steps, color=hue)
    loss = alt.Y("mean(loss):Q", title="loss on the joint task (nats)", scale=alt.Scale(zero=False))
    lines = lost.mark_line(strokeWidth=2, point=True).encode(y=loss)
    bands = lost.mark_area(opacity=0.15).encode(
        y=alt.Y("min(loss):Q", title="loss on the joint task (nats)"), y2="max(loss):Q"
    )
    alike = alt.Chart(alt.Data(values=list(similarities(studies)))).encode(
        x=steps,
        y=alt.Y("mean(cka):Q", title="CKA of the two specialists", scale=alt.Scale(domain=[0, 1])),
        color=alt.Color("block:N", scale=alt.Scale(scheme="greys"), title=None),
    )
    beside = alt.hconcat(
        (bands + lines).properties(width=380, height=280),
        alike.mark_line(strokeWidth=2, point=True).properties(width=260, height=280),
    )
    return beside.resolve_scale(color="independent").configure_view(stroke=None)


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+", help="what net.py wrote; several are joined")
    parser.add_argument("--out", type=Path, default=Path("net.png"))
    arguments = parser.parse_args()
    studies = [study for path in arguments.results for study in json.loads(path.read_text())]
    atomic_write_bytes(arguments.out, vl_convert.vegalite_to_png(chart(studies).to_dict(), scale=2))


if __name__ == "__main__":
    main()
