"""The page of a router holds what was measured, escaped, with its charts."""

import numpy as np
import pytest

from merganser.report import write_routing_report
from merganser.routing.requests import Attempt, Decision, RoutingData, Row, Trace, evaluate_router, fit_router


@pytest.fixture
def evaluation():
    """A router of two experts that cost different amounts."""
    rows = []
    for n in range(80):
        split, text = ("test" if n % 4 == 0 else "all"), f"{'red' if n % 2 else 'blue'} request {n}"
        rows.append(Row("<left>", text, float(n % 2), split, task="reds"))
        rows.append(Row("right", text, float(not n % 2) * 0.8, split, task="blues"))
    data = RoutingData.of(rows, ["<left>", "right"])
    router = fit_router(data, costs={"<left>": 2.0, "right": 1.0})
    return evaluate_router(router, data.part("test"))


def trace(text, reason):
    attempts = (Attempt("right", "late", reason, "", 0.5, 0, 1.0),)
    return Trace(
        "1", 0.0, text, Decision({"right": 0.7}, ("right",)), attempts, None, None, None, "late", 0.5
    )


def test_the_page_shows_scores_calibration_costs_and_requests(evaluation, tmp_path):
    traces = [trace("<script>quack</script>", "took longer than 0.5 s")]
    page = write_routing_report(evaluation, tmp_path / "out" / "report.html", traces=traces).read_text()
    for said in (
        "&lt;left&gt;",
        "at random",
        "oracle",
        "calibration error",
        "took longer than 0.5 s",
        "70.0",
    ):
        assert said in page, said
    for name in ("spec-calibration", "spec-cost"):
        assert f'id="{name}"' in page
    assert "<script>quack" not in page


def test_without_costs_and_requests_their_sections_are_left_out(tmp_path):
    rows = [Row("a", f"request {n}", float(n % 2), "test" if n % 3 == 0 else "all") for n in range(60)]
    data = RoutingData.of(rows, ["a"])
    found = evaluate_router(fit_router(data), data.part("test"))
    page = write_routing_report(found, tmp_path / "report.html").read_text()
    assert "spec-cost" not in page
    assert "Requests" not in page
    assert found.captured is None
    assert np.isfinite(found.calibration.error)
