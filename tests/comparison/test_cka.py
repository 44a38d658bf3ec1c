"""What CKA must be: against the literal formula, and its invariances."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from merganser.comparison import SimilaritySums, relate
from merganser.comparison._similarity import student

from ._literal import biased_cka, hsic_1, minibatch_cka

A, B = ("a", "last"), ("b", "last")
SEEDS = st.integers(0, 10_000)


def summed(xs, ys, **options):
    batches = [{A: x, B: y} for x, y in zip(xs, ys, strict=True)]
    sums = SimilaritySums.of(batches[0], **options)
    for batch in batches[1:]:
        sums += batch
    return sums


def cka(xs, ys):
    return summed(xs, ys).similarity().between(A, B).value


def pair(seed, rows=(24,), d=12, e=7, noise=1.0):
    """Related features in float64, batch by batch."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(d, e))
    xs = [rng.normal(size=(n, d)) for n in rows]
    return xs, [np.tanh(x @ mix) + noise * rng.normal(size=(len(x), e)) for x in xs]


@given(SEEDS, st.lists(st.integers(8, 40), min_size=1, max_size=4))
def test_it_is_the_literal_formula(seed, rows):
    xs, ys = pair(seed, rows)
    assert cka(xs, ys) == pytest.approx(minibatch_cka(xs, ys), abs=1e-12)


@given(SEEDS, st.sampled_from([0.0, 1.0, -30.0, 1e3]), st.sampled_from([(16, 5), (48, 96), (32, 700)]))
def test_float32_far_from_zero_is_as_good_as_float64(seed, offset, shape):
    n, d = shape
    xs, ys = ([(x + offset).astype(np.float32) for x in part] for part in pair(seed, (n, n), d, d))
    assert cka(xs, ys) == pytest.approx(minibatch_cka(xs, ys), abs=1e-6)


@given(SEEDS)
def test_features_are_like_themselves(seed):
    xs, _ = pair(seed, (16, 20))
    found = summed(xs, xs).similarity()
    assert found.between(A, B) == pytest.approx((1, 1, 1), abs=2e-6)
    assert found.between(A, A) == pytest.approx((1, 1, 1), abs=2e-6)


@given(SEEDS, st.floats(1e-6, 1e6), st.floats(-1e3, 1e3))
def test_rotation_scale_and_translation_do_not_matter(seed, scale, offset):
    xs, ys = pair(seed, (16, 16))
    rotation = np.linalg.qr(np.random.default_rng(seed + 1).normal(size=(12, 12)))[0]
    moved = [scale * x @ rotation + offset * scale for x in xs]
    assert cka(moved, ys) == pytest.approx(cka(xs, ys), abs=1e-8)


@pytest.mark.parametrize("scale", [1e-18, 1e-9, 1e9, 1e18])
def test_float32_of_any_size_neither_overflows_nor_vanishes(scale):
    xs, ys = ([x.astype(np.float32) for x in part] for part in pair(1, (16, 16)))
    scaled = [(x * np.float32(scale)) for x in xs]
    assert cka(scaled, ys) == pytest.approx(cka(xs, ys), abs=1e-6)


def test_independent_features_are_not_alike_however_wide():
    rng = np.random.default_rng(0)
    xs, ys = rng.normal(size=(2, 20, 32, 2000))
    found = summed(xs, ys).similarity()
    assert abs(found.values[0, 1]) < 0.02
    assert biased_cka(xs[0], ys[0]) > 0.95
    assert found.chance_of(A, B) > 0.2


def test_expected_products_do_not_depend_on_how_data_are_cut():
    """HSIC is estimated without bias from batches of any size: its means agree within their errors."""
    rng = np.random.default_rng(3)
    mix = rng.normal(size=(6, 6))
    means = {}
    for n in (8, 16, 64):
        xs = rng.normal(size=(6400 // n, n, 6))
        each = [relate({A: x, B: np.tanh(x @ mix)}).vectors["cka"] for x in xs]
        values = np.array([v[0] @ v[1] / (n * (n - 3)) for v in each])
        means[n] = values.mean(), values.std() / np.sqrt(len(values))
    for (one, its), (other, error) in itertools.combinations(means.values(), 2):
        assert abs(one - other) < 4 * np.hypot(its, error)
    assert all(mean > 10 * error for mean, error in means.values())


def test_torch_numpy_and_bfloat16_go_in():
    xs, ys = pair(5, (32,))
    kinds = [np.asarray(xs[0], np.float32), torch.tensor(xs[0]), torch.tensor(xs[0]).bfloat16()]
    same, double, half = (cka([x], ys) for x in kinds)
    assert double == cka(xs, ys)
    assert same == pytest.approx(double, abs=1e-6)
    assert half == pytest.approx(double, abs=5e-3)
    assert half != double


def test_negative_values_are_not_clamped():
    values = [
        cka(*([np.random.default_rng(s + t).normal(size=(1, 8, 50)) for t in (0, 99)])) for s in range(20)
    ]
    assert min(values) < 0 < max(values)


def test_chance_is_that_of_all_permutations():
    """The mean and deviation of CKA over all 720 permutations of six rows of one side."""
    rng = np.random.default_rng(0)
    K, L = (x @ x.T for x in rng.normal(size=(2, 6, 2)) ** 3)
    scale = np.sqrt(hsic_1(K, K) * hsic_1(L, L))
    orders = itertools.permutations(range(6))
    values = np.array([hsic_1(K, L[np.ix_(order, order)]) / scale for order in orders])
    assert values.mean() == pytest.approx(0, abs=1e-12)
    assert values.std() == pytest.approx(np.sqrt(2 / (6 * 3)), rel=1e-12)


def test_permuted_rows_spread_as_chance_says():
    xs, ys = pair(2, (24, 40, 8))
    found = summed(xs, ys).similarity()
    rng = np.random.default_rng(0)
    drawn = np.array([cka(xs, [rng.permutation(y) for y in ys]) for _ in range(400)])
    assert abs(drawn.mean()) < 4 * drawn.std() / 20
    assert drawn.std() == pytest.approx(found.chance[0, 1], rel=0.15)
    share = np.mean(drawn >= found.values[0, 1])
    assert share <= found.chance_of(A, B) < 0.05


def test_intervals_cover_the_truth():
    """95 % intervals of ten batches, the truth from very many."""
    rng = np.random.default_rng(11)
    mix = rng.normal(size=(5, 5))

    def draw(batches):
        xs = rng.normal(size=(batches, 16, 5))
        return xs, np.tanh(xs @ mix) + rng.normal(size=xs.shape)

    truth = cka(*draw(1500))
    estimates = [summed(*draw(10)).similarity().between(A, B) for _ in range(120)]
    covered = np.mean([low < truth < high for _, low, high in estimates])
    assert 0.88 <= covered < 1


def test_the_error_is_the_jackknife_that_leaves_batches_out():
    xs, ys = pair(4, (32,) * 20)
    left_out = [cka(xs[:i] + xs[i + 1 :], ys[:i] + ys[i + 1 :]) for i in range(20)]
    jackknife = np.sqrt(19 / 20 * np.sum((left_out - np.mean(left_out)) ** 2))
    assert summed(xs, ys).similarity().errors[0, 1] == pytest.approx(jackknife, rel=0.05)


@pytest.mark.parametrize("freedom", [1, 2, 5, 10, 11, 12, 30, 1000])
def test_quantiles_are_those_of_student(freedom):
    assert student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-3)
