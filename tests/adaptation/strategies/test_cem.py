"""The cross-entropy method beside loops written from its equations."""

import numpy as np
import pytest

from merganser.adaptation.strategies import CrossEntropy
from merganser.adaptation.strategies._cem import ask, begin, tell


def run(settings, target, generations, starts=()):
    state = begin(np.full(len(target), 0.5), settings)
    for _ in range(generations):
        found = ask(state, settings, starts)
        starts = ()
        order = sorted(range(len(found)), key=lambda k: float(((found[k] - target) ** 2).sum()))
        state = tell(state, settings, found, order)
    return state


def test_it_finds_a_minimum_inside_and_on_the_edge():
    state = run(CrossEntropy(floor=0.001), np.array([0.3, 1.0, 0.0, 0.77]), 40)
    assert state.best == pytest.approx([0.3, 1.0, 0.0, 0.77], abs=0.02)


def test_the_same_seed_gives_the_same_candidates_and_another_others():
    target = np.array([0.2, 0.9])
    first, again, other = (run(CrossEntropy(seed=seed), target, 5).best for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_generation_holds_what_was_given_then_the_best_and_stays_in_its_range():
    settings = CrossEntropy(population=6, low=-0.5, high=0.25)
    state = begin(np.zeros(3), settings)
    starts = [np.array([0.25, 0.0, -0.5]), np.array([9.0, 0.0, 0.0])]
    found = ask(state, settings, starts)
    assert found.shape == (6, 3)
    assert found[:2].tolist() == [[0.25, 0.0, -0.5], [0.25, 0.0, 0.0]]
    assert found.min() >= -0.5
    assert found.max() <= 0.25
    assert np.array_equal(ask(tell(state, settings, found, [4, 3, 2, 1, 0, 5]), settings)[0], found[4])


def test_the_next_mean_and_spread_are_those_of_the_elites():
    settings = CrossEntropy(population=10, elites=0.25, floor=0.0)
    state = begin(np.full(2, 0.5), settings)
    found = ask(state, settings)
    after = tell(state, settings, found, [7, 1, 4, 0, 2, 3, 5, 6, 8, 9])
    elites = [found[7], found[1], found[4]]  # a quarter of ten, rounded up
    mean = [sum(e[k] for e in elites) / 3 for k in range(2)]
    spread = [(sum((e[k] - mean[k]) ** 2 for e in elites) / 3) ** 0.5 for k in range(2)]
    assert after.mean == pytest.approx(mean)
    assert after.spread == pytest.approx(spread)


def test_starts_beyond_the_population_all_come():
    settings = CrossEntropy(population=2)
    assert len(ask(begin(np.zeros(1), settings), settings, [np.array([k / 5]) for k in range(5)])) == 5


@pytest.mark.parametrize(
    "wrong", [{"population": 1}, {"elites": 0}, {"elites": 1.5}, {"spread": -1}, {"low": 1.0}]
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="Expected"):
        CrossEntropy(**wrong)
