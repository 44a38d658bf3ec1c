"""Combinations are values: canonical, frozen, known by their content, and no larger than their split points."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.merging import Combination, blend, crossover

SEEDS = ("a", "b")


def combinations(segments=st.integers(1, 6), coefficient=st.sampled_from([0.0, -0.0, 0.25, 1.0, -1.5])):
    @st.composite
    def draw(draw):
        count = draw(segments)
        inner = draw(st.lists(st.integers(1, 29), min_size=count - 1, max_size=count - 1, unique=True))
        rows = draw(st.lists(st.lists(coefficient, min_size=2, max_size=2), min_size=count, max_size=count))
        return Combination(SEEDS, [0, *sorted(inner), 30], rows)

    return draw()


def by_position(combination):
    """Coefficients at every single position: what a combination means."""
    return np.repeat(combination.coefficients, np.diff(combination.breaks), axis=0)


@given(combinations())
def test_no_two_neighbouring_segments_are_equal(c):
    assert (c.coefficients[1:] != c.coefficients[:-1]).any(axis=1).all()


@given(combinations(), st.lists(st.integers(1, 29), max_size=6))
def test_superfluous_breaks_change_neither_meaning_nor_digest(c, more):
    finer = np.union1d(c.breaks, np.array(more, dtype=int))
    again = Combination(SEEDS, finer, c.refined(finer))
    assert again == c
    assert again.digest == c.digest
    assert again.segments == c.segments
    assert (by_position(again) == by_position(c)).all()


@given(combinations(), combinations())
def test_equality_hash_and_digest_go_by_what_is_at_every_position(one, other):
    same = bool((by_position(one) == by_position(other)).all())
    assert (one == other) is same
    assert (one.digest == other.digest) is same
    assert len({one, other}) == (1 if same else 2)


def test_the_seeds_are_part_of_the_content():
    one, other = Combination(("a", "b"), [0, 2], [[1, 0]]), Combination(("a", "c"), [0, 2], [[1, 0]])
    assert one != other
    assert one != "a"


def test_minus_zero_is_zero():
    assert Combination(SEEDS, [0, 3], [[1.0, -0.0]]) == Combination(SEEDS, [0, 3], [[1.0, 0.0]])
    assert Combination(SEEDS, [0, 1, 3], [[1.0, -0.0], [1.0, 0.0]]).segments == 1


def test_the_arrays_cannot_be_written_and_do_not_follow_the_callers():
    breaks, coefficients = np.array([0, 2, 5]), np.array([[1.0, 0.0], [0.0, 1.0]])
    c = Combination(SEEDS, breaks, coefficients)
    digest = c.digest
    breaks[1], coefficients[0, 0] = 4, 9.0
    assert c.breaks.tolist() == [0, 2, 5]
    assert c.coefficients[0, 0] == 1.0
    for array in (c.breaks, c.coefficients):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7
    with pytest.raises(AttributeError):
        c.seeds = ("x",)
    assert c.digest == digest


@given(combinations(coefficient=st.floats(-1e6, 1e6, allow_nan=False)))
def test_json_and_back_is_the_same_value(c):
    again = Combination.from_json(json.loads(json.dumps(c.to_json())))
    assert again == c
    assert again.digest == c.digest
    assert (again.coefficients == c.coefficients).all()


def test_the_digest_is_the_same_on_every_machine():
    c = Combination(("a", "b"), [0, 4, 10], [[1.0, 0.0], [0.5, 0.5]])
    assert c.digest == "d2e106d89ebc2ab8d4a358083316da43"


def test_json_grows_with_split_points_and_with_nothing_else():
    generator = np.random.default_rng(0)
    for size in (10**3, 10**11):
        population = [Combination.seed(("s" * 64, "t" * 64, "u" * 64), k, size) for k in range(3)]
        for _ in range(300):
            first, second = (population[i] for i in generator.choice(len(population), 2, replace=False))
            child = crossover(first, second, weight=generator.random(), split=0, rule="linear")
            population[generator.integers(len(population))] = child
        for c in population:  # three hundred generations without a split point are one segment
            assert c.segments == 1
            assert len(json.dumps(c.to_json())) < 450
    split = population[0]
    for cut in range(1, 50):
        split = crossover(split, population[1], weight=generator.random(), split=cut * 10**9, rule="linear")
        assert split.segments <= cut + 1
        assert len(json.dumps(split.to_json())) < 450 + 100 * split.segments


@pytest.mark.parametrize(
    ("seeds", "breaks", "coefficients", "message"),
    [
        (SEEDS, [1, 4], [[1, 0]], "ascend from 0"),
        (SEEDS, [0, 4, 4], [[1, 0], [0, 1]], "ascend from 0"),
        (SEEDS, [0, 4, 2], [[1, 0], [0, 1]], "ascend from 0"),
        (SEEDS, [0], [[1, 0]], "ascend from 0"),
        (SEEDS, [[0, 4]], [[1, 0]], "ascend from 0"),
        (SEEDS, [0, 4], [[1, 0, 0]], r"shape \(1, 2\), but they have \(1, 3\)"),
        (SEEDS, [0, 4], [[1, 0], [0, 1]], "1 segments of 2 seeds"),
        (SEEDS, [0, 2, 4], [[1, 0], [np.nan, 1]], "segment 1 has"),
        (SEEDS, [0, 4], [[np.inf, 1]], "must be finite"),
        ((), [0, 4], [], "at least one seed"),
    ],
)
def test_what_is_no_combination_is_refused(seeds, breaks, coefficients, message):
    with pytest.raises(ValueError, match=message):
        Combination(seeds, breaks, coefficients)


def test_a_break_between_positions_is_refused_and_not_rounded():
    with pytest.raises(TypeError, match="cast"):
        Combination(SEEDS, [0, 2.5, 4], [[1, 0], [0, 1]])


def test_shares_are_of_absolute_coefficients():
    c = Combination(SEEDS, [0, 1, 2, 3], [[0.5, 0.5], [3.0, -1.0], [0.0, 0.0]])
    assert c.shares().tolist() == [[0.5, 0.5], [0.75, 0.25], [0.0, 0.0]]


@given(combinations(), combinations(), st.integers(0, 30), st.lists(st.floats(-2, 2), min_size=4, max_size=4))
def test_blending_is_the_weighted_sum_at_every_position(first, second, split, w):
    child = blend(first, second, (w[0], w[1]), (w[2], w[3]), split)
    a, b = by_position(first), by_position(second)
    expected = np.concatenate([w[0] * a[:split] + w[1] * b[:split], w[2] * a[split:] + w[3] * b[split:]])
    assert (by_position(child) == expected).all()


def test_parents_of_other_seeds_or_sizes_do_not_blend():
    a = Combination.seed(("a", "b"), 0, 5)
    with pytest.raises(ValueError, match="same seeds"):
        blend(a, Combination.seed(("a", "c"), 0, 5), (1, 0), (0, 1), 2)
    with pytest.raises(ValueError, match="5 positions, the other 2 and 6"):
        blend(a, Combination.seed(("a", "b"), 0, 6), (1, 0), (0, 1), 2)


@pytest.mark.parametrize("split", [-1, 6])
def test_a_split_outside_the_model_is_refused(split):
    a = Combination.seed(("a", "b"), 0, 5)
    with pytest.raises(ValueError, match=r"\[0, 5\]"):
        blend(a, a, (1, 0), (0, 1), split)
