"""Pictures of routers are drawn from plain numbers, and every number is in them."""

import numpy as np
import pytest
import vl_convert

from merganser.report import entropy_chart, usage_chart

USAGE = {"maths": np.array([[0.75, 0.25], [0.5, 0.5], [0.125, 0.875]]), "plays": np.full((3, 2), 0.5)}


def values_of(chart):
    """All rows of all layers."""
    found = [layer.get("data", chart.get("data", {})) for layer in chart["layer"]]
    return [row for data in (chart.get("data", {}), *found) for row in data.get("values", [])]


def test_usage_shows_every_share():
    chart = usage_chart(USAGE, ("a", "b"))
    rows = {(r["task"], r["block"], r["expert"]): r["share"] for r in values_of(chart)}
    assert len(rows) == 12
    assert rows["maths", 2, "b"] == 0.875
    assert vl_convert.vegalite_to_svg({**chart, "width": 300}).startswith("<svg")


def test_entropy_shows_every_block_and_its_bound():
    chart = entropy_chart({"maths": np.array([0.1, 0.6]), "plays": np.array([0.69, 0.2])}, 2)
    rows = values_of(chart)
    assert {"task": "plays", "block": 1, "entropy": 0.2} in rows
    assert any(row.get("said") == "equal shares" and abs(row["entropy"] - 0.6931) < 1e-3 for row in rows)
    assert vl_convert.vegalite_to_svg({**chart, "width": 300}).startswith("<svg")


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="at least one task"):
        usage_chart({}, ("a",))
    with pytest.raises(ValueError, match="each of 3 experts, but the shares on 'maths'"):
        usage_chart(USAGE, ("a", "b", "c"))
    with pytest.raises(ValueError, match="at least one task"):
        entropy_chart({}, 2)
