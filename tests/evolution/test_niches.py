"""The published rules of competition, checked against loops written straight from the paper."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.evolution import Niches, attraction, coverage, entropy, niche_fitness, weighted_means
from merganser.evolution._niches import capacities, prices

seeds, models, samples = st.integers(0, 10**6), st.integers(1, 7), st.integers(1, 12)
alphas = st.sampled_from([0.0, 0.5, 1.0, 2.0])


def scores_of(seed, models, samples, *, binary):
    generator = np.random.default_rng(seed)
    if binary:
        return (generator.random((models, samples)) < generator.random()).astype(np.float64)
    return generator.choice([0.0, 0.25, 0.5, 1.0, generator.random()], (models, samples))


def paper_price(s, j, alpha, epsilon, weight, *, binary):
    z = sum(row[j] for row in s)
    c = 1.0 if binary else max(row[j] for row in s)
    crowd = z**alpha if z > 0 else 1.0
    return weight * c / (crowd + epsilon)


@given(seeds, models, samples, alphas, st.sampled_from([0.0, 0.1]), st.booleans())
def test_fitness_is_the_papers_equations_3_and_5(seed, n, m, alpha, epsilon, binary):
    s, w = scores_of(seed, n, m, binary=binary), np.random.default_rng(seed).random(m) + 0.1
    expected = [
        sum(s[i][j] * paper_price(s, j, alpha, epsilon, w[j], binary=binary) for j in range(m))
        for i in range(n)
    ]
    np.testing.assert_allclose(niche_fitness(s, Niches(alpha, epsilon, binary), w), expected, rtol=1e-12)


@given(seeds, models, samples, alphas, st.booleans())
def test_attraction_is_the_papers_equation_4(seed, n, m, alpha, binary):
    s, niches = scores_of(seed, n, m, binary=binary), Niches(alpha, 0.0, binary)
    price = prices(s.sum(axis=0), capacities(s, niches), niches)
    for a in range(n):
        expected = [
            sum(
                paper_price(s, j, alpha, 0.0, 1.0, binary=binary) * max(s[b][j] - s[a][j], 0)
                for j in range(m)
            )
            for b in range(n)
        ]
        np.testing.assert_allclose(attraction(s, a, price), expected, rtol=1e-12)


@given(seeds, models, samples)
def test_every_covered_example_pays_out_exactly_one(seed, n, m):
    s = scores_of(seed, n, m, binary=True)
    assert niche_fitness(s).sum() == pytest.approx((s.sum(axis=0) > 0).sum(), rel=1e-12)


@given(seeds, models, samples)
def test_continuous_scores_share_out_the_best_score_of_every_example(seed, n, m):
    s = scores_of(seed, n, m, binary=False)
    assert niche_fitness(s, Niches(binary=False)).sum() == pytest.approx(s.max(axis=0).sum(), rel=1e-12)


@given(seeds, models, samples, st.floats(0.1, 3))
def test_without_competition_fitness_is_the_plain_sum_of_weighted_scores(seed, n, m, weight):
    s = scores_of(seed, n, m, binary=True)
    np.testing.assert_allclose(niche_fitness(s, Niches(0.0), weight), weight * s.sum(axis=1), rtol=1e-12)


@given(seeds, models, samples, alphas, st.booleans())
def test_the_order_of_models_and_samples_does_not_matter(seed, n, m, alpha, binary):
    s, generator = scores_of(seed, n, m, binary=binary), np.random.default_rng(seed + 1)
    niches, rows, columns = Niches(alpha, 0.0, binary), generator.permutation(n), generator.permutation(m)
    fitness = niche_fitness(s, niches)
    np.testing.assert_allclose(niche_fitness(s[rows][:, columns], niches), fitness[rows], rtol=1e-12)


@given(seeds, models, samples, alphas)
def test_nobody_and_no_clone_adds_anything(seed, n, m, alpha):
    s = scores_of(seed, n, m, binary=False)
    s = np.vstack([s, s[0]])
    price = prices(s.sum(axis=0), capacities(s, Niches(alpha, 0, False)), Niches(alpha, 0, False))
    pull = attraction(s, 0, price)
    assert pull[0] == 0
    assert pull[-1] == 0
    assert (pull >= 0).all()


def test_fitness_of_a_small_matrix_by_hand():
    s = np.array([[1.0, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0]])
    third = Fraction(1, 3)
    assert niche_fitness(s).tolist() == [float(third + 1), float(third + 1), float(third)]
    np.testing.assert_allclose(niche_fitness(s, Niches(2.0)), [1 + 1 / 9, 1 + 1 / 9, 1 / 9])
    np.testing.assert_allclose(niche_fitness(s, Niches(1.0, 1.0)), [0.25 + 0.5, 0.25 + 0.5, 0.25])
    np.testing.assert_allclose(niche_fitness(s, weights=np.array([3.0, 0.5, 2, 9])), [1.5, 3.0, 1.0])
    half = 0.5 * s
    np.testing.assert_allclose(niche_fitness(half, Niches(binary=False)), [4 / 6, 4 / 6, 1 / 6])


def test_attraction_by_hand():
    s = np.array([[1.0, 1, 0, 0], [1, 0, 1, 0], [1, 0, 1, 1]])
    assert attraction(s, 0, np.array([1 / 3, 1, 1 / 2, 1])).tolist() == [0, 0.5, 1.5]
    assert attraction(s, 2, np.array([1 / 3, 1, 1 / 2, 1])).tolist() == [1, 0, 0]


@pytest.mark.parametrize("wrong", [-0.5, 1.5, math.nan])
def test_scores_outside_nought_and_one_name_the_model_and_the_sample(wrong):
    s = np.ones((3, 4))
    s[2, 1] = wrong
    with pytest.raises(ValueError, match=f"model 2 scored {wrong:g} on sample 1"):
        niche_fitness(s)


def test_coverage_counts_what_somebody_solves():
    s = np.array([[1.0, 0.5, 0, 0.2], [0.0, 0, 0.51, 0]])
    assert coverage(s) == 0.5
    assert coverage(np.empty((0, 4))) == 0


def test_entropy_is_nought_in_agreement_and_one_at_half_and_half():
    assert entropy(np.ones((4, 3))) == 0
    assert entropy(np.zeros((4, 3))) == 0
    assert entropy(np.repeat([[1.0], [0.0]], 2, axis=0)) == 1
    quarter = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert entropy(np.array([[1.0, 1], [0, 1], [0, 1], [0, 1]])) == pytest.approx(quarter / 2)


def test_coverage_and_entropy_are_of_what_was_measured():
    scores = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    measured = np.array([[True, True, False, False], [True, False, True, False]])
    assert coverage(scores, measured) == pytest.approx(2 / 3)
    assert entropy(scores, measured) == pytest.approx(1 / 3)
    everything = np.ones_like(measured)
    assert coverage(scores, everything) == coverage(scores)
    assert entropy(scores, everything) == entropy(scores)


def test_means_are_over_what_was_measured():
    scores, weights = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]), np.array([1.0, 3.0, 2.0])
    measured = np.array([[True, False, True], [False, False, False]])
    assert weighted_means(scores * measured, weights, measured).tolist() == pytest.approx([2 / 3, 0.0])
    assert weighted_means(scores, weights, np.ones((2, 3), bool)) == pytest.approx(
        weighted_means(scores, weights)
    )
