"""What became of the task vectors in a merge, as a picture: layers beside each other, one row of bars a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from merganser._errors import OutputError
from merganser.merging import Explanation, Fate
from merganser.report._theme import FATES
from merganser.weights import atomic_write_bytes

if TYPE_CHECKING:
    import altair as alt

_FORMATS = (".png", ".svg", ".html")


def explanation_chart(explanation: Explanation) -> alt.FacetChart:
    """Shares of every model's task vector that survived, were dropped, or were in conflict, layer by layer.

    Shares are of the L1 norm. Layers stand in flat order.
    """
    import altair as alt

    rows = [
        row
        for number, (layer, fates) in enumerate(explanation.layers.items())
        for model, fate in fates.items()
        for row in _rows(number, layer, Path(model).name, fate)
    ]
    names, models = list(explanation.layers), [Path(model).name for model in explanation.total]
    bars = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar()
        .encode(
            x=alt.X("layer:N", sort=names, title=None, axis=alt.Axis(labelAngle=-60, labelLimit=160)),
            y=alt.Y(
                "share:Q",
                title="share of L1",
                stack="zero",
                axis=alt.Axis(format="%"),
                scale=alt.Scale(domain=[0, 1]),
            ),
            color=alt.Color(
                "fate:N",
                title=None,
                scale=alt.Scale(domain=list(FATES), range=list(FATES.values())),
                legend=alt.Legend(orient="top"),
            ),
            order="order:Q",
            tooltip=["layer:N", "model:N", "fate:N", alt.Tooltip("share:Q", format=".1%")],
        )
        .properties(height=90, width=max(160, 18 * len(names)))
    )
    return bars.facet(row=alt.Row("model:N", title=None, sort=models))


def write_explanation(explanation: Explanation, path: Path) -> None:
    """Write the picture as PNG, SVG or HTML, by the name's ending.

    Raises:
        ValueError: If the ending is another.
        OutputError: If it cannot be written.
    """
    if path.suffix not in _FORMATS:
        raise ValueError(f"A picture must end in {', '.join(_FORMATS)}, but is {path.name!r}.")
    specification = explanation_chart(explanation).to_dict()
    try:
        atomic_write_bytes(path, _drawn(specification, path.suffix))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error


def _rows(number: int, layer: str, model: str, fate: Fate) -> list[dict[str, Any]]:
    shares = (fate.l1.survived, fate.l1.dropped, fate.l1.conflict)
    return [
        {
            "number": number,
            "layer": layer,
            "model": model,
            "fate": name,
            "share": round(share, 5),
            "order": order,
        }
        for order, (name, share) in enumerate(zip(FATES, shares, strict=True))
    ]


def _drawn(specification: dict[str, Any], suffix: str) -> bytes:
    import vl_convert

    if suffix == ".png":
        return vl_convert.vegalite_to_png(specification, scale=2)
    draw = vl_convert.vegalite_to_svg if suffix == ".svg" else vl_convert.vegalite_to_html
    return draw(specification).encode()
