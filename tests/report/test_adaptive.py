"""Pages of a model that chooses its experts, and of a search for a mixture."""

import numpy as np
import pytest

from merganser.adaptation.strategies import (
    Confusion,
    Cost,
    Decision,
    Generation,
    Mixture,
    MixtureFound,
    Standing,
    Trace,
)
from merganser.evaluation import Interval
from merganser.report import write_adaptive_report, write_mixture_report
from merganser.report._adaptive_charts import (
    confusion_chart,
    search_chart,
    seconds_chart,
    tokens_chart,
    weights_chart,
)

PER_MATRIX = {
    f"model.layers.{block}.mlp.{kind}.weight": (0.3 * block, -0.2)
    for block in range(3)
    for kind in ("up", "down")
}
HISTORY = (
    Generation(32, 0.4, -1.2, 0.2, (0.5, 0.5)),
    Generation(60, 0.7, -1.0, 0.5, (0.7, 0.2)),
    Generation(90, 0.8, -1.0, 0.6, (0.8, 0.1)),
)


def trace(expert, *, request="say it", reason=""):
    return Trace(request, Decision(expert, 0.6, reason), Cost(40, 0, 0.5), Cost(8, 12, 2.0))


def found(weights=(0.8, 0.1), held_out=Interval(0.75, 0.6, 0.9)):
    standings = tuple(
        Standing(name, score, held_out) for name, score in (("mixture", 0.8), ("<cats>", 0.4), ("base", 0.1))
    )
    mixture = Mixture(("<cats>", "dogs"), weights)
    held = 0 if held_out is None else 20
    return MixtureFound(mixture, standings, HISTORY, "nothing improves", 10, held, 12.5)


@pytest.fixture
def confusion():
    return Confusion(("cats", "other"), ("cats", "dogs", "other"), np.array([[7, 2, 1], [0, 1, 4]]))


def values_of(spec):
    """Every row of data in a chart."""
    parts = [spec, *spec["layer"]]
    return [row for part in parts for row in part.get("data", {}).get("values", [])]


def test_the_page_of_a_model_shows_who_answered_and_what_it_cost(tmp_path, confusion):
    traces = [trace("cats"), trace(None, request="<script>quack</script>", reason="no label")]
    page = write_adaptive_report(traces, tmp_path / "out" / "page.html", confusion=confusion).read_text()
    for said in (
        "73.3\u202f%",
        "Who answers what",
        "Deciding took 1.00 s, answering 4.00 s",
        "25.0\u202f%",
        "no label",
    ):
        assert said in page
    assert "<script>quack" not in page
    assert "&lt;script&gt;quack" in page
    plain = write_adaptive_report(traces, tmp_path / "page.html").read_text()
    assert "2 requests, answered by 2 experts" in plain
    assert "Who answers what" not in plain
    with pytest.raises(ValueError, match="found nothing"):
        write_adaptive_report([], tmp_path / "none.html")


@pytest.mark.parametrize("weights", [(0.8, 0.1), PER_MATRIX])
def test_the_page_of_a_search_shows_mixture_rivals_and_history(tmp_path, weights):
    page = write_mixture_report(found(weights), tmp_path / "page.html").read_text()
    for said in (
        "75.0\u202f% (60.0 to 90.0)",
        "&lt;cats&gt;",
        "90 mixtures in 3 generations",
        "nothing improves",
    ):
        assert said in page
    assert ("rows from the top: mlp.up and mlp.down" in page) == isinstance(weights, dict)
    alone = write_mixture_report(found(weights, None), tmp_path / "page.html").read_text()
    assert "Nothing was held out" in alone


def test_the_charts_hold_the_numbers(confusion):
    bars = values_of(weights_chart(Mixture(("a", "b"), (0.25, -1.0)), description="x"))
    assert {"expert": "b", "weight": -1.0} in bars
    many = {f"layers.{k}.mlp.up.weight": (1.0,) for k in range(12)}
    spec = weights_chart(Mixture(("a",), many), description="x")
    assert spec["layer"][0]["encoding"]["x"]["sort"] == [str(k) for k in range(12)]  # not 0, 1, 10, 11, 2
    cells = values_of(weights_chart(Mixture(("a", "b"), PER_MATRIX), description="x"))
    assert {"expert": "a", "kind": "mlp.up", "block": "2", "weight": 0.6} in cells
    counts = values_of(confusion_chart(confusion, description="x"))
    assert {"for": "other", "answered": "other", "count": 4, "share": 0.8, "right": True} in counts
    rows = values_of(search_chart(found(), description="x"))
    assert {"evaluations": 60, "score": 0.5, "what": "mean of the generation"} in rows
    assert {"evaluations": 90, "what": "held out", "score": 0.75, "low": 0.6, "high": 0.9} in rows
    tokens = values_of(tokens_chart([trace("a"), trace("b")], description="x"))
    assert {"pass": "second", "what": "written", "mean": 12.0} in tokens
    seconds = values_of(seconds_chart([trace("a")], description="x"))
    assert {"pass": "first", "what": "seconds", "mean": 0.5} in seconds
