"""Random search and the walk along the arc."""

import math

import numpy as np
import pytest

from merganser.evolution import BruteForce, CombinationSpace, DenseSpace, RandomSearch, Row
from merganser.merging import combine_flat

W = np.ones(4)


def test_brute_force_visits_the_whole_arc_with_its_ends_first():
    seeds = np.array([[2.0, 0], [0, 2]])
    state, proposals = BruteForce.start(CombinationSpace("ab", seeds), W, steps=11).ask(100)
    assert state.exhausted
    angles = [math.degrees(math.atan2(*combine_flat(p.genome, seeds)[::-1])) for p in proposals]
    np.testing.assert_allclose(angles, [0, 90, *(9.0 * k for k in range(1, 10))], atol=1e-9)
    np.testing.assert_allclose([np.linalg.norm(combine_flat(p.genome, seeds)) for p in proposals], 2.0)
    assert len({p.digest for p in proposals}) == 11


def test_the_smallest_grid_is_the_two_ends():
    state, proposals = BruteForce.start(CombinationSpace("ab", np.eye(2)), W, steps=2).ask(5)
    assert [p.kind for p in proposals] == ["seed", "seed"]
    assert state.exhausted


@pytest.mark.parametrize(
    ("space", "steps", "message"),
    [
        (CombinationSpace("abc", np.eye(3)), 5, "there are 3"),
        (CombinationSpace("a", np.eye(1)), 5, "there are 1"),
        (DenseSpace(0, 3), 5, "children are mutated"),
        (CombinationSpace("ab", np.eye(2)), 1, "at least 2 steps, but has 1"),
    ],
)
def test_brute_force_refuses_what_has_no_arc(space, steps, message):
    with pytest.raises(ValueError, match=message):
        BruteForce.start(space, W, steps=steps)


def test_random_candidates_come_from_two_different_seeds():
    space = CombinationSpace("abc", np.eye(3))
    _, proposals = RandomSearch.start(space, W, seed=0).ask(200)
    children = proposals[3:]
    assert {p.parents for p in children} == {(a, b) for a in range(3) for b in range(3) if a != b}
    assert {p.cross.split for p in children} == {0, 1, 2}
    weights = np.array([p.cross.weight for p in children])
    assert abs(weights.mean() - 0.5) < 0.1
    assert weights.std() == pytest.approx(math.sqrt(1 / 12), abs=0.05)


def test_random_candidates_from_scratch_are_fresh_vectors():
    space = DenseSpace(0, 2000)
    _, proposals = RandomSearch.start(space, W, seed=0).ask(6)
    vectors = [space.flat(p.genome) for p in proposals]
    assert (np.abs(np.corrcoef(vectors) - np.eye(6)) < 0.1).all()
    assert all(v.std() == pytest.approx(0.01, rel=0.1) for v in vectors)
    assert all(p.parents == () for p in proposals)


def test_the_best_are_remembered():
    state, proposals = RandomSearch.start(CombinationSpace("ab", np.eye(2)), W, seed=0, population=3).ask(9)
    state = state.tell(proposals, [Row(np.full(4, x)) for x in (0.1, 0.9, 0.3, 0.9, 0, 1, 0.2, 0.1, 0.8)])
    assert [m.index for m in state.members] == [5, 1, 3]
