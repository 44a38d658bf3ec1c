"""The report of a comparison and of a series: read from the folder, complete, and drawn by a browser."""

import json
import math
import re

import numpy as np
import pytest

from merganser import RunError, compare
from merganser.comparison import stop_specialising
from merganser.evaluation import Interval
from merganser.report import (
    ComparisonFound,
    Foretold,
    MapFound,
    SeriesFound,
    gain_chart,
    read_found,
    similarity_chart,
    spearman,
    write_comparison_report,
)
from merganser.report._similarity_chart import shown_sites
from merganser.weights import short_names


def test_a_comparison_is_read_back_as_it_was_found(compared):
    found, folder = compared
    read = read_found(folder)
    assert isinstance(read, ComparisonFound)
    assert read.models == ("one.safetensors", "<i>two.safetensors", "three.safetensors", "four.safetensors")
    assert read.base == "base.safetensors"
    for pair, known in zip(read.pairs, found.pairs, strict=True):
        assert (pair.action, pair.evidence) == (known.verdict.action, known.verdict.evidence)
        assert pair.cka == pytest.approx(known.known.cka.cka)
        assert pair.height == pytest.approx(known.known.barrier.height)
        assert pair.gain == pytest.approx(known.known.barrier.gain)
        assert [point.t for point in pair.line] == [0, 0.25, 0.5, 0.75, 1]
    assert len(read.similarity.sites) == 5 * 3
    np.testing.assert_allclose(read.similarity.values, found.similarity.values)
    assert read.lengths["three.safetensors"]["all"] == pytest.approx(
        found.groups[0].geometry.total.relative[2]
    )
    assert set(next(iter(read.ranks.values()))) == set(read.models)


def test_the_page_of_a_comparison_has_every_verdict_and_escapes_names(compared):
    found, folder = compared
    page = write_comparison_report(folder).read_text()
    places = [page.index(f'id="{name}"') for name in ("verdicts", "figures", "lengths", "representations")]
    places += [page.index(f'id="{name}"') for name in ("line", "gain", "ranks", "thresholds")]
    assert places == sorted(places)
    assert "<i>two" not in page
    for pair in found.pairs:
        assert f": {pair.verdict.action}" in page
    assert "Spearman&#x27;s ρ" in page
    assert "over 6 pairs" in page
    assert page.count("<li>") >= 6 * 3


def test_a_comparison_without_data_task_and_base_has_the_sections_it_can_have(noisy_perceptron, tmp_path):
    compare([noisy_perceptron(0.1, 1), noisy_perceptron(0.1, 2)]).save(tmp_path)
    page = write_comparison_report(tmp_path).read_text()
    assert 'id="verdicts"' in page
    for name in ("lengths", "representations", "line", "gain", "ranks"):
        assert f'id="{name}"' not in page


def test_the_heat_map_has_a_fixed_scale_every_pair_of_sites_and_marks_one_depth(compared):
    _, folder = compared
    spec = similarity_chart(read_found(folder).similarity, description="map")
    cells, same, *_ = spec["layer"]
    rows = next(iter(spec["datasets"].values())) if "datasets" in spec else cells["data"]["values"]
    assert len(rows) == 15 * 15
    assert cells["encoding"]["opacity"]["scale"] == {"domain": [0, 1], "range": [0, 1], "clamp": True}
    assert sum(row["same"] for row in rows) == 5 * 5 * 3
    assert all(row["value"] == 1 for row in rows if row["a"] == row["b"])
    assert same["transform"] == [{"filter": "datum.same"}]
    assert {"low", "high"} <= set(rows[0])


def test_of_too_many_layers_every_second_is_drawn_and_unknown_cells_are_left_out():
    sites = tuple((model, f"layers.{i}") for model in "ab" for i in range(60))
    values = np.full((120, 120), 0.5)
    values[0, :] = math.nan
    found = MapFound(sites, values.tolist(), values.tolist(), values.tolist(), ())
    assert [sites[i][1] for i in shown_sites(found)][:2] == ["layers.0", "layers.2"]
    spec = similarity_chart(found, description="map")
    assert len(spec["layer"][0]["data"]["values"]) == 60 * 59


def test_the_page_of_a_series_marks_the_critical_point_and_the_steps_that_may_be_as_good(series):
    found, folder = series
    read = read_found(folder)
    assert isinstance(read, SeriesFound)
    assert read.best == found.best.step
    assert tuple(step.step for step in read.steps if step.may_be_best) == found.may_be_best
    assert read.steps[2].merged == pytest.approx(found.steps[2].line.means[0.5])
    page = write_comparison_report(folder).read_text()
    assert found.words[0] in page
    spec = json.loads(re.search(r'id="spec-scores">(.*?)</script>', page)[1])
    bars, line, *_ = spec["layer"]
    assert [row["step"] for row in bars["data"]["values"]] == list(found.may_be_best)
    assert line["transform"] == [{"filter": "datum.best"}]
    assert bars["encoding"]["x"]["scale"]["type"] == "symlog"


def test_a_series_without_scores_says_so(noisy_perceptron, measured, tmp_path):
    sides = ({step: noisy_perceptron(0.02 * step, k) for step in (1, 9)} for k in (1, 2))
    stop_specialising(*sides, data=measured[1]).save(tmp_path)
    page = write_comparison_report(tmp_path, tmp_path / "other.html").read_text()
    assert "no step can be called the best" in page
    assert 'id="scores"' not in page
    assert '"type":"log"' in page


def test_ranks_decide_spearmans_rho_and_the_chart_has_both_intervals():
    assert spearman([1, 2, 3], [1, 4, 9]) == 1
    assert spearman([1, 2, 3, 4], [3, 3, 1, 1]) == pytest.approx(-0.894, abs=1e-3)
    assert math.isnan(spearman([1, 1], [1, 2]))
    nan = float("nan")
    points = [
        Foretold("a", Interval(0.5, nan, nan), Interval(0.1, 0.0, 0.2)),
        Foretold("b", Interval(0.9, 0.8, 1.0), Interval(-0.1, -0.2, 0.0)),
    ]
    rows = gain_chart(points, "CKA", description="gains")["layer"][1]["data"]["values"]
    assert rows[0] == {"name": "a", "x": 0.5, "from": None, "to": None, "y": 0.1, "low": 0.0, "high": 0.2}
    assert rows[1]["from"] == 0.8


def test_names_are_as_short_as_they_can_be_told_apart():
    assert short_names(["a/x/1", "b/x/1", "c"]) == {"a/x/1": "a/x/1", "b/x/1": "b/x/1", "c": "c"}
    assert short_names(["same", "same"]) == {"same": "same"}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("nothing.json", "{}", "found neither"),
        ("comparison.json", "{", "damaged"),
        ("comparison.json", '{"kind": "comparison", "version": 1}', "damaged"),
        ("series.json", '{"kind": "series", "version": 2}', "version 2"),
        ("series.json", "[]", "damaged"),
    ],
)
def test_a_folder_that_holds_none_says_so(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(RunError, match=says):
        write_comparison_report(tmp_path)
