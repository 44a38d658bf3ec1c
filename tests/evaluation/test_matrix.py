"""The score matrix: shapes and ranges are held, and only what was measured counts."""

import numpy as np
import pytest

from merganser.evaluation import ScoreMatrix, difference_interval, mean_interval

ROWS = {"a": np.array([1.0, 0, 1, 0.0]), "b": np.array([1.0, 1, 0, 0]), "c": np.array([0, 0, 0, 0.6])}
SAMPLES = ("w", "x", "y", "z")
MASK = {"a": np.array([True, True, False, True]), "c": np.array([False, False, True, True])}


def test_rows_means_and_intervals_are_those_of_what_was_measured():
    m = ScoreMatrix.of(ROWS, SAMPLES, MASK)
    assert m.row("b").tolist() == [1, 1, 0, 0]
    assert m.mean("a") == pytest.approx(1 / 3)
    assert m.mean("b") == 0.5
    assert m.mean("c") == pytest.approx(0.3)
    assert m.interval("a") == mean_interval(np.array([1.0, 0, 0]))


def test_differences_are_over_the_samples_that_both_were_measured_on():
    m = ScoreMatrix.of(ROWS, SAMPLES, MASK)
    assert m.difference("a", "b") == difference_interval(np.array([1.0, 0, 0]), np.array([1.0, 1, 0]))
    assert m.difference("c", "a").value == 0.6


def test_a_sample_is_solved_above_one_half_and_only_where_it_was_measured():
    m = ScoreMatrix.of(ROWS, SAMPLES, MASK)
    assert [m.solvers(s) for s in SAMPLES] == [("a", "b"), ("b",), (), ("c",)]
    assert ScoreMatrix.of(ROWS, SAMPLES).solvers("y") == ("a",)
    half = ScoreMatrix.of({"a": np.array([0.5])}, ("w",))
    assert half.solvers("w") == ()


def test_rows_without_a_mask_are_measured_and_lists_are_taken():
    m = ScoreMatrix.of({"a": [1, 0]}, ("x", "y"))
    assert m.measured.all()
    assert m.scores.dtype == np.float64


def test_weights_count_in_means_intervals_and_differences_where_something_was_measured():
    weights = np.array([4.0, 4, 1, 1])
    m = ScoreMatrix.of(ROWS, SAMPLES, MASK, weights)
    assert m.mean("b") == pytest.approx(0.8)
    assert m.mean("a") == pytest.approx(4 / 9)
    assert m.interval("a") == mean_interval(np.array([1.0, 0, 0]), np.array([4.0, 4, 1]))
    assert m.interval("a").value == pytest.approx(4 / 9)
    both = difference_interval(np.array([1.0, 0, 0]), np.array([1.0, 1, 0]), np.array([4.0, 4, 1]))
    assert m.difference("a", "b") == both
    assert both.value == pytest.approx(-4 / 9)
    assert ScoreMatrix.of(ROWS, SAMPLES, MASK, np.full(4, 0.3)).interval("c") == ScoreMatrix.of(
        ROWS, SAMPLES, MASK
    ).interval("c")


@pytest.mark.parametrize("weights", [np.ones(3), np.array([1.0, 1, 0, 1]), np.array([1.0, 1, np.nan, 1])])
def test_weights_that_are_no_weights_are_refused(weights):
    with pytest.raises(ValueError, match="a positive weight for each of 4 samples"):
        ScoreMatrix.of(ROWS, SAMPLES, weights=weights)


def test_no_models_are_a_matrix_too():
    m = ScoreMatrix.of({}, SAMPLES)
    assert m.scores.shape == m.measured.shape == (0, 4)
    with pytest.raises(KeyError, match="has none"):
        m.row("a")


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.nan])
def test_scores_outside_nought_and_one_are_refused_where_they_were_measured(wrong):
    rows = {"a": np.array([1.0, 0]), "b": np.array([0, wrong])}
    with pytest.raises(ValueError, match=f"model 'b' has {wrong:g} on sample 'y'"):
        ScoreMatrix.of(rows, ("x", "y"))
    unmeasured = ScoreMatrix.of(rows, ("x", "y"), {"b": np.array([True, False])})
    assert unmeasured.mean("b") == 0


def test_shapes_that_disagree_are_refused():
    with pytest.raises(ValueError, match=r"shape \(1, 2\), but scores have \(1, 3\)"):
        ScoreMatrix(("a",), ("x", "y"), np.zeros((1, 3)), np.ones((1, 2), bool))
    with pytest.raises(ValueError, match=r"mask \(2, 2\)"):
        ScoreMatrix(("a",), ("x", "y"), np.zeros((1, 2)), np.ones((2, 2), bool))
    with pytest.raises(ValueError, match="shape"):
        ScoreMatrix.of({"a": np.zeros(4)}, ("x", "y"))


def test_an_unknown_model_is_named_with_those_there_are():
    with pytest.raises(KeyError, match="No model 'q' in this matrix; it has a, b, c"):
        ScoreMatrix.of(ROWS, SAMPLES).mean("q")
