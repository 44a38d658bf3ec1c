"""CKA beside the verdict: of real models on texts and of perceptrons on arrays, read from files and tasks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from merganser import TaskError, compare
from merganser.comparison import THRESHOLDS, Representations, compare_features, data_of, read_data, view_for
from merganser.comparison._similarity import Estimate, Spread
from merganser.evaluation import choose, open_task
from merganser.models import perceptron_size, perceptron_tensors

WIDTHS = (64, 16, 10)


def perceptron(noise, seed=1):
    draws = np.random.default_rng(0).normal(size=perceptron_size(WIDTHS))
    draws += noise * np.random.default_rng(seed).normal(size=len(draws))
    return perceptron_tensors(draws.astype(np.float32), WIDTHS)


@pytest.fixture(scope="module")
def found(stories, noisy, texts):
    """The story teller and two noisy copies on forty texts, and what was told meanwhile."""
    told = []
    return compare([stories, *noisy], data=texts, view=view_for(texts, rows=10), watch=told.append), told


def test_pairs_have_the_cka_that_compare_features_finds(found, stories, noisy, texts):
    comparison, _ = found
    near, far, _ = comparison.pairs
    sums = compare_features({"a": str(stories), "b": str(noisy[1])}, texts, view_for(texts, rows=10))
    expected = [
        sums.similarity().between(("a", f"model.layers.{i}"), ("b", f"model.layers.{i}")) for i in range(5)
    ]
    measured = [depth.cka for depth in far.known.cka.depths]
    np.testing.assert_allclose(np.array(measured), np.array(expected), rtol=1e-5)
    np.testing.assert_allclose(far.known.cka.cka, np.mean(expected, axis=0), rtol=1e-5)
    assert far.known.cka.lowest.cka.value == min(each.value for each in measured)
    assert near.known.cka.cka.value > far.known.cka.cka.value
    assert near.known.cka.mutual_knn.value > far.known.cka.neighbours_by_chance == pytest.approx(2 / 9)


def test_what_was_found_stands_in_the_evidence_and_in_json_and_tells_merging_from_routing(
    found, stories, noisy
):
    comparison, _ = found
    [plain, *_] = compare([stories, *noisy]).pairs
    [pair, *_] = comparison.pairs
    assert pair.verdict.evidence[:2] == plain.verdict.evidence
    assert pair.verdict.evidence[-1].startswith("Representations: CKA 0.9")
    is_apart = pair.known.cka.lowest.cka.value < THRESHOLDS["unlike"].value
    assert plain.verdict.action == "merge"
    assert (pair.verdict.action, pair.verdict.confidence) == ("route" if is_apart else "merge", "likely")
    data = json.loads(json.dumps(comparison.to_json(), allow_nan=False))
    assert len(data["similarity"]["sites"]) == 15
    assert data["pairs"][0]["cka"]["cka"]["value"] == pair.known.cka.cka.value
    assert any("dimensions" in line for line in data["pairs"][0]["cka"]["caveats"])


def test_every_part_of_the_work_is_told_up_to_its_end(found):
    ticks = found[1]
    assert {tick.unit for tick in ticks} == {"bytes", "texts"}
    for unit in ("bytes", "texts"):
        done = [tick.done for tick in ticks if tick.unit == unit]
        assert done == sorted(done)
        assert done[-1] == next(tick.total for tick in ticks if tick.unit == unit)
    assert sum(tick.unit == "texts" for tick in ticks) == 3 * 5


def test_perceptrons_are_compared_on_arrays_and_their_line_on_samples(small_npz):
    chosen = choose(open_task(small_npz), "search")
    inputs = data_of(chosen)
    assert isinstance(inputs, np.ndarray)
    told = []
    models = [perceptron(0.3), perceptron(0.3, seed=2)]
    [pair] = compare(models, perceptron(0.0), data=inputs, chosen=chosen, watch=told.append).pairs
    assert [depth.first for depth in pair.known.cka.depths] == ["1", "3"]
    assert 0.3 < pair.known.cka.cka.value < 1
    assert pair.known.cka.chance < 0.05
    assert {tick.unit for tick in told} == {"bytes", "texts", "samples"}
    assert told[-1].done == told[-1].total == 5 * len(chosen)


def test_a_model_that_cannot_be_run_is_named_and_the_others_are_compared(small_npz):
    inputs = read_data(str(small_npz))
    found = compare([perceptron(0.1), perceptron(0.2), {"w": np.ones((64, 3, 3), np.float32)}], data=inputs)
    assert found.pairs[0].known.cka is not None
    assert {pair.known.cka for pair in found.pairs[1:]} == {None}
    assert list(found.unseen) == ["model 3"]
    assert {site.model for site in found.similarity.sites} == {"model 1", "model 2"}


def test_the_base_is_run_too_and_kept_in_the_cache(stories, noisy, texts, tmp_path):
    view = view_for(texts[:16], layers=["model.layers.4"])
    first = compare(noisy, stories, data=texts[:16], view=view, cache=tmp_path)
    files = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*.npz")}
    assert len(files) == 3
    again = compare(noisy, stories, data=texts[:16], view=view, cache=tmp_path)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.glob("*.npz")} == files
    np.testing.assert_array_equal(first.similarity.values, again.similarity.values)


def test_data_are_lines_questions_or_arrays(tmp_path, small_npz):
    (tmp_path / "lines.txt").write_text("\n\n".join(f"Line {i}" for i in range(12)))
    assert read_data(str(tmp_path / "lines.txt"), limit=9) == [f"Line {i}" for i in range(9)]
    rows = [{"question": f"Once {i}", "choices": [" He", " She"], "answer": 0} for i in range(40)]
    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_data(str(questions))[:2] == ["Once 0", "Once 1"]
    chosen = choose(open_task(questions), "search")
    assert len(data_of(chosen)) == len(chosen)
    assert set(data_of(chosen)) < set(read_data(str(questions)))
    assert data_of(choose(open_task(questions), "search", limit=7)) is None
    with pytest.raises(TaskError, match="at least 8 texts"):
        read_data(str(small_npz), limit=3)


def test_models_of_other_depths_are_compared_at_the_same_depth_and_outliers_are_one_sentence_a_model():
    from merganser.comparison import Similarity, Site
    from merganser.comparison._representations import same_depth

    sites = (*(Site("deep", str(i)) for i in range(5)), *(Site("flat", str(i)) for i in range(3)))
    square = np.eye(8)
    spreads = (*[Spread(64, 0.9)] * 4, Spread(64, 0.95), *[Spread(64, 0.1)] * 3)
    found = Similarity("cka", sites, square, 0 * square, 0.1 + 0 * square, 4, 64, spreads)
    assert same_depth(found, "deep", "flat") == [("0", "0"), ("1", "0"), ("2", "1"), ("3", "2"), ("4", "2")]
    assert same_depth(found, "flat", "deep") == [("0", "0"), ("1", "2"), ("2", "4")]
    [outliers] = [line for line in found.caveats() if "variance" in line]
    assert outliers.startswith("3 of 64 dimensions of 4 of deep carry 95%")
    assert "4 more of its layers" in outliers
    assert not [line for line in found.of("flat").caveats() if "variance" in line]


def test_one_batch_has_no_interval_and_says_so():
    from merganser.comparison import Depth

    nan = float("nan")
    found = Representations((Depth("a", "a", Estimate(0.5, nan, nan)),), 0.1, None, None, None, ())
    assert found.words.startswith("CKA 0.500 (no interval) at the same depth")
    assert found.to_json()["cka"]["low"] is None
