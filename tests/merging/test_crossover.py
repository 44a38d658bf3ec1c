"""Equation 2, checked against a loop over vectors, and its endpoints."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.merging import Combination, Gram, combine_flat, crossover, linear_weights, slerp_weights

weights = st.floats(0, 1, allow_subnormal=False)


def slerp(t, x, y):
    """The paper's formula on vectors, with the authors' fallback."""
    cosine = float(x @ y) / math.sqrt(float(x @ x) * float(y @ y)) if x.any() and y.any() else 1.0
    angle = math.acos(min(1.0, max(-1.0, cosine)))
    if math.sin(angle) <= 1e-6:
        return (1 - t) * x + t * y
    return math.sin((1 - t) * angle) / math.sin(angle) * x + math.sin(t * angle) / math.sin(angle) * y


def weights_of(t, x, y):
    """The two factors of `slerp`, for use on parts of the vectors."""
    cosine = float(x @ y) / math.sqrt(float(x @ x) * float(y @ y))
    angle = math.acos(min(1.0, max(-1.0, cosine)))
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def parents(seed, size=12):
    values = np.random.default_rng(seed).standard_normal((2, size))
    genomes = [Combination.seed(("a", "b"), k, size) for k in range(2)]
    return values, genomes, Gram.of(values)


@given(st.integers(0, 10**6), weights, st.integers(0, 12))
def test_one_angle_per_side_is_the_papers_equation(seed, w, split):
    (a, b), (first, second), gram = parents(seed)
    child = crossover(first, second, weight=w, split=split, gram=gram, angles="sides")
    expected = np.concatenate([slerp(w, a[:split], b[:split]), slerp(1 - w, a[split:], b[split:])])
    np.testing.assert_allclose(combine_flat(child, np.stack([a, b])), expected, atol=1e-12)


@given(st.integers(0, 10**6), weights, st.integers(0, 12))
def test_one_angle_for_the_whole_is_the_authors_code(seed, w, split):
    (a, b), (first, second), gram = parents(seed)
    child = crossover(first, second, weight=w, split=split, gram=gram)
    (la, lb), (ra, rb) = weights_of(w, a, b), weights_of(1 - w, a, b)
    expected = np.concatenate([la * a[:split] + lb * b[:split], ra * a[split:] + rb * b[split:]])
    np.testing.assert_allclose(combine_flat(child, np.stack([a, b])), expected, atol=1e-12)


@given(st.integers(0, 10**6), weights, st.integers(0, 12))
def test_on_a_line_it_is_the_weighted_mean(seed, w, split):
    (a, b), (first, second), _ = parents(seed)
    child = crossover(first, second, weight=w, split=split, rule="linear")
    expected = np.concatenate([(1 - w) * a[:split] + w * b[:split], w * a[split:] + (1 - w) * b[split:]])
    np.testing.assert_allclose(combine_flat(child, np.stack([a, b])), expected, atol=1e-12)


def test_the_two_readings_of_the_angle_differ():
    values, (first, second), gram = parents(0)
    whole, sides = (
        crossover(first, second, weight=0.3, split=4, gram=gram, angles=a) for a in ("whole", "sides")
    )
    assert np.abs(combine_flat(whole, values) - combine_flat(sides, values)).max() > 1e-3


@pytest.mark.parametrize("rule", ["slerp", "linear"])
@pytest.mark.parametrize("angles", ["whole", "sides"])
@given(st.integers(0, 1000), st.integers(1, 11))
def test_weights_nought_and_one_are_one_point_crossover(rule, angles, seed, split):
    _, (first, second), gram = parents(seed)
    for weight, rows in ((0.0, [[1, 0], [0, 1]]), (1.0, [[0, 1], [1, 0]])):
        child = crossover(first, second, weight=weight, split=split, gram=gram, rule=rule, angles=angles)
        assert child == Combination(("a", "b"), [0, split, 12], rows)


@pytest.mark.parametrize("angles", ["whole", "sides"])
@given(st.integers(0, 1000), weights)
def test_a_split_at_the_first_position_is_plain_slerp_of_the_whole(angles, seed, w):
    (a, b), (first, second), gram = parents(seed)
    child = crossover(first, second, weight=w, split=0, gram=gram, angles=angles)
    assert child.segments == 1
    np.testing.assert_allclose(combine_flat(child, np.stack([a, b])), slerp(1 - w, a, b), atol=1e-12)


def test_a_split_at_the_end_is_plain_slerp_the_other_way_round():
    (a, b), (first, second), gram = parents(3)
    child = crossover(first, second, weight=0.2, split=12, gram=gram, angles="sides")
    np.testing.assert_allclose(combine_flat(child, np.stack([a, b])), slerp(0.2, a, b), atol=1e-12)


@given(st.integers(0, 1000), st.integers(0, 12))
def test_equal_weights_give_the_midpoint_on_both_sides_of_the_split(seed, split):
    values, (first, second), gram = parents(seed)
    child = crossover(first, second, weight=0.5, split=split, gram=gram)
    np.testing.assert_allclose(combine_flat(child, values), slerp(0.5, *values), atol=1e-12)


def test_orthogonal_parents_by_hand():
    values = np.array([[1.0, 0.0], [0.0, 1.0]])
    first, second = (Combination.seed(("a", "b"), k, 2) for k in range(2))
    child = crossover(first, second, weight=2 / 3, gram=Gram.of(values))  # t = 1/3 of a right angle
    np.testing.assert_allclose(combine_flat(child, values), [math.sqrt(3) / 2, 0.5], rtol=1e-15)


@given(weights, st.floats(0.01, 3.1))
def test_an_arc_keeps_the_length_of_unit_vectors(t, angle):
    a, b = slerp_weights(t, angle)
    assert a * a + b * b + 2 * a * b * math.cos(angle) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("angle", [None, 0.0, 1e-7, math.pi, math.pi - 1e-7])
def test_parallel_antiparallel_and_zero_parents_are_interpolated_linearly(angle):
    assert slerp_weights(0.3, angle) == linear_weights(0.3) == (0.7, 0.3)


@pytest.mark.parametrize("angles", ["whole", "sides"])
@pytest.mark.parametrize(
    "seeds",
    [[[1.0, 2, 3], [1, 2, 3]], [[1, 2, 3], [-2, -4, -6]], [[0, 0, 0], [1, 2, 3]], [[0, 0, 0], [0, 0, 0]]],
    ids=["equal", "opposite", "one zero", "both zero"],
)
def test_degenerate_parents_give_the_line(seeds, angles):
    values = np.array(seeds, dtype=np.float64)
    first, second = (Combination.seed(("a", "b"), k, 3) for k in range(2))
    child = crossover(first, second, weight=0.25, split=1, gram=Gram.of(values), angles=angles)
    expected = [*(0.75 * values[0] + 0.25 * values[1])[:1], *(0.25 * values[0] + 0.75 * values[1])[1:]]
    np.testing.assert_allclose(combine_flat(child, values), expected, atol=1e-15)


def test_a_side_that_is_zero_falls_back_alone():
    values = np.array([[0.0, 1, 0], [5, 0, 1]])
    first, second = (Combination.seed(("a", "b"), k, 3) for k in range(2))
    child = crossover(first, second, weight=0.5, split=1, gram=Gram.of(values), angles="sides")
    np.testing.assert_allclose(child.coefficients[0], [0.5, 0.5])
    np.testing.assert_allclose(child.coefficients[1], [math.sqrt(0.5)] * 2)


def test_slerp_without_the_inner_products_says_what_to_pass():
    first = Combination.seed(("a",), 0, 3)
    with pytest.raises(ValueError, match=r"gram=Gram\.of"):
        crossover(first, first, weight=0.5)
