"""Chromosomes are split independently, and the child is still an exact combination of the seeds."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from merganser.merging import (
    Chromosomes,
    Combination,
    Gram,
    combine_flat,
    crossover,
    crossover_apart,
    slerp_weights,
)

STRETCHES = ((0, 3), (1, 4), (0, 1), (2, 2), (1, 5), (2, 3))
OWNERS = np.repeat([owner for owner, _ in STRETCHES], [length for _, length in STRETCHES])
APART = Chromosomes.of(STRETCHES)
SIZE = len(OWNERS)

weights = st.floats(0, 1, allow_subnormal=False)
cuts = st.tuples(*(st.integers(0, size - 1) for size in APART.sizes))


def parents(seed):
    values = np.random.default_rng(seed).standard_normal((2, SIZE))
    return values, [Combination.seed(("a", "b"), k, SIZE) for k in range(2)], Gram.of(values)


def child_of(values, first, second, w, splits, rule, gram):
    """The rule as a loop over positions."""
    a, b = (combine_flat(each, values) for each in (first, second))
    child, seen = np.empty(SIZE), [0, 0, 0]
    for x in range(SIZE):
        owner = OWNERS[x]
        t = w if seen[owner] < splits[owner] else 1 - w
        seen[owner] += 1
        factors = (1 - t, t) if rule == "linear" else slerp_weights(t, gram.angle(first, second))
        child[x] = factors[0] * a[x] + factors[1] * b[x]
    return child


@pytest.mark.parametrize("rule", ["linear", "slerp"])
@given(st.integers(0, 10**6), st.lists(st.tuples(weights, cuts), min_size=1, max_size=6))
def test_every_position_follows_the_split_of_its_chromosome_generation_after_generation(rule, seed, events):
    values, (first, second), gram = parents(seed)
    for w, splits in events:
        options = {"weight": w, "splits": splits, "chromosomes": APART, "gram": gram, "rule": rule}
        child = crossover_apart(first, second, **options)
        expected = child_of(values, first, second, w, splits, rule, gram)
        np.testing.assert_allclose(combine_flat(child, values), expected, atol=1e-9)
        first, second = second, child


@given(st.integers(0, 10**6), weights, cuts, cuts, st.integers(0, 2))
def test_coefficients_outside_a_chromosome_are_untouched_by_its_split(seed, w, splits, others, chromosome):
    assume(abs(w - 0.5) > 1e-3)  # else both sides of a split are the same
    _, (first, second), gram = parents(seed)
    moved = tuple(others[c] if c == chromosome else split for c, split in enumerate(splits))
    finest = np.arange(SIZE + 1)
    before, after = (
        crossover_apart(first, second, weight=w, splits=s, chromosomes=APART, gram=gram).refined(finest)
        for s in (splits, moved)
    )
    np.testing.assert_array_equal(before[chromosome != OWNERS], after[chromosome != OWNERS])
    differs = (before != after).any(axis=1) & (chromosome == OWNERS)
    assert differs.sum() == abs(splits[chromosome] - others[chromosome])


@given(st.integers(0, 10**6), weights, st.integers(0, SIZE - 1))
def test_one_chromosome_is_the_plain_crossover(seed, w, split):
    _, (first, second), gram = parents(seed)
    whole = Chromosomes.of([(0, SIZE)])
    child = crossover_apart(first, second, weight=w, splits=[split], chromosomes=whole, gram=gram)
    assert child == crossover(first, second, weight=w, split=split, gram=gram)


@pytest.mark.parametrize("splits", [(0, 0), (0, 0, 5), (-1, 0, 0), (0, 0, 0, 0)])
def test_splits_that_do_not_fit_are_an_error(splits):
    _, (first, second), gram = parents(0)
    with pytest.raises(ValueError, match="Chromosomes of 4, 9, 5 positions need a split within each"):
        crossover_apart(first, second, weight=0.3, splits=splits, chromosomes=APART, gram=gram)
    with pytest.raises(ValueError, match="needs the seeds' inner products"):
        crossover_apart(first, second, weight=0.3, splits=(0, 0, 0), chromosomes=APART)
