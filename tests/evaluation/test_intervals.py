"""Intervals against published values, and the laws any interval keeps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.evaluation import difference_interval, mean_interval


@pytest.mark.parametrize(
    ("right", "samples", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), table I, Wilson without continuity correction
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (8, 10, 0.4902, 0.9433),
        (10, 10, 0.7225, 1.0000),
    ],
)
def test_accuracies_have_wilsons_interval(right, samples, low, high):
    interval = mean_interval(np.arange(samples) < right)
    assert interval.value == pytest.approx(right / samples)
    assert interval.low == pytest.approx(low, abs=6e-5)
    assert interval.high == pytest.approx(high, abs=6e-5)


@given(st.integers(0, 50), st.integers(1, 50))
def test_wilsons_interval_holds_the_mean_and_stays_within_nought_and_one(right, samples):
    value, low, high = mean_interval((np.arange(samples) < right).astype(float))
    assert 0 <= low <= value <= high <= 1
    assert low < high


def test_other_scores_are_bootstrapped_always_with_the_same_result():
    scores = np.random.default_rng(0).beta(2, 3, 400)
    interval = mean_interval(scores)
    error = 1.96 * scores.std() / 20
    assert interval.value == scores.mean()
    assert interval.low == pytest.approx(scores.mean() - error, abs=0.004)
    assert interval.high == pytest.approx(scores.mean() + error, abs=0.004)
    np.random.seed(3)
    state = np.random.get_state()[1].copy()
    assert mean_interval(scores.copy()) == interval
    assert (np.random.get_state()[1] == state).all()


def test_a_difference_is_paired():
    generator = np.random.default_rng(1)
    hard = generator.random(300)
    a, b = (hard < 0.6).astype(float), (hard < 0.5).astype(float)  # a solves all that b solves, and more
    interval = difference_interval(a, b)
    assert interval.value == pytest.approx(a.mean() - b.mean())
    assert 0 < interval.low < interval.value < interval.high
    swapped = difference_interval(b, a)
    assert swapped.value == -interval.value
    assert swapped.low == pytest.approx(-interval.high, abs=0.01)
    assert difference_interval(a, a) == (0, 0, 0)
    assert mean_interval(a).high - mean_interval(a).low > interval.high - interval.low


def test_a_bootstrap_covers_the_truth_about_nineteen_times_in_twenty():
    generator = np.random.default_rng(2)
    covered = 0
    for _ in range(25):
        low, high = mean_interval(generator.random(60))[1:]
        covered += low <= 0.5 <= high
    assert 20 <= covered <= 25


@given(st.integers(0, 30), st.integers(0, 9), st.floats(0.1, 9), st.booleans())
def test_equal_weights_change_no_digit(right, seed, weight, binary):
    generator = np.random.default_rng(seed)
    a = (np.arange(30) < right).astype(float) if binary else generator.random(30)
    b, weights = generator.random(30), np.full(30, weight)
    assert mean_interval(a, weights) == mean_interval(a)
    assert difference_interval(a, b, weights) == difference_interval(a, b)


def two_tasks(first, second, shares=(0.75, 0.25)):
    """Scores of two tasks in a row, and weights by which they count as given."""
    sizes = (len(first), len(second))
    weights = np.concatenate([np.full(n, share / n) for n, share in zip(sizes, shares, strict=True)])
    return np.concatenate([first, second]), weights


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_accuracies_of_weighted_tasks_are_covered_about_nineteen_times_in_twenty(share):
    """Tasks of other size and difficulty, where one interval over all samples would be too wide or too narrow."""
    generator = np.random.default_rng(3)
    truth = share * 0.5 + (1 - share) * 0.95
    covered = 0
    for _ in range(400):
        scores, weights = two_tasks(
            (generator.random(25) < 0.5).astype(float),
            (generator.random(400) < 0.95).astype(float),
            (share, 1 - share),
        )
        low, high = mean_interval(scores, weights)[1:]
        covered += low <= truth <= high
    assert 370 <= covered <= 390


def test_weighted_scores_and_differences_have_the_error_of_stratified_samples():
    generator = np.random.default_rng(4)
    tasks = [(generator.beta(2, 3, n), generator.beta(3, 2, n)) for n in (300, 900)]
    a, weights = two_tasks(tasks[0][0], tasks[1][0])
    b, _ = two_tasks(tasks[0][1], tasks[1][1])
    for values, interval in ((a, mean_interval(a, weights)), (a - b, difference_interval(a, b, weights))):
        first, second = values[:300], values[300:]
        error = 1.96 * np.sqrt(0.75**2 * first.var() / 300 + 0.25**2 * second.var() / 900)
        assert interval.value == pytest.approx(0.75 * first.mean() + 0.25 * second.mean())
        assert interval.low == pytest.approx(interval.value - error, abs=0.1 * error)
        assert interval.high == pytest.approx(interval.value + error, abs=0.1 * error)


def test_the_size_of_weights_and_the_order_of_samples_do_not_matter():
    scores, weights = two_tasks(np.array([1.0, 0, 1]), np.array([1.0, 1, 1, 0]))
    expected = mean_interval(scores, weights)
    assert mean_interval(scores, 7 * weights) == pytest.approx(expected)
    order = np.array([6, 0, 3, 5, 2, 1, 4])
    assert mean_interval(scores[order], weights[order]) == pytest.approx(expected)


def test_an_interval_of_weighted_accuracies_stays_within_nought_and_one():
    scores, weights = two_tasks(np.ones(3), np.ones(40), (0.9, 0.1))
    assert mean_interval(scores, weights).high == pytest.approx(1)
    assert mean_interval(scores, weights).low > mean_interval(np.ones(3)).low
    assert mean_interval(1 - scores, weights).low == 0


def test_nothing_has_no_interval():
    with pytest.raises(ValueError, match="at least one score"):
        mean_interval(np.array([]))
    with pytest.raises(ValueError, match="there are 2 and 3"):
        difference_interval(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="there are 0 and 0"):
        difference_interval(np.zeros(0), np.zeros(0))
