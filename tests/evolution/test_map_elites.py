"""The grid: where a candidate belongs, who stays, and who become parents."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.evolution import CombinationSpace, DenseSpace, MapElites, Proposal, Row

SAMPLES = 40
GROUPS = np.arange(SAMPLES) % 2 == np.array([[1], [0]])


def start(bins=10, weights=None, **options):
    space = CombinationSpace("ab", np.eye(2))
    weights = np.ones(SAMPLES) if weights is None else weights
    return MapElites.start(space, weights, seed=0, groups=GROUPS, bins=bins, **options)


def scores(odd, even):
    """`odd` of the twenty odd samples and `even` of the twenty even ones are right."""
    row = np.zeros(SAMPLES)
    row[np.flatnonzero(GROUPS[0])[:odd]] = row[np.flatnonzero(GROUPS[1])[:even]] = 1.0
    return row


def told(state, *rows):
    for row in rows:
        state, _ = state.ask(0)
        index = sum(1 for _ in state.cells) + 100
        state = state.tell([Proposal(index, state.space.seeds[0], "cross")], [Row(row)])
    return state


@given(st.integers(0, 20), st.integers(0, 20))
def test_the_cell_is_ten_times_the_accuracy_on_each_group_rounded_down(odd, even):
    assert start().cell(scores(odd, even)) == (min(odd // 2, 9), min(even // 2, 9))


def test_a_perfect_score_lands_in_the_last_cell_and_is_kept():
    state = told(start(), np.ones(SAMPLES))
    assert list(state.cells) == [(9, 9)]
    assert state.members[0].scores.all()
    assert start(bins=4).cell(np.ones(SAMPLES)) == (3, 3)


def test_a_cell_keeps_the_better_and_the_earlier_of_equals():
    weights = np.where(np.arange(SAMPLES) == np.flatnonzero(GROUPS[0])[2], 5.0, 1.0)
    state = start(weights=weights)
    first, better = scores(2, 0), scores(3, 0)  # one cell; the third odd sample counts five times
    assert state.cell(first) == state.cell(better) == (1, 0)
    state = told(state, first)
    assert told(state, first) is state or told(state, first).cells == state.cells
    replaced = told(state, better)
    assert (replaced.members[0].scores == better).all()
    assert replaced.qualities[1, 0] == pytest.approx(7 / weights.sum())
    assert (told(replaced, first).members[0].scores == better).all()
    assert (state.members[0].scores == first).all()


def test_members_come_in_the_order_of_their_cells():
    state = told(start(), scores(20, 0), scores(0, 20), scores(4, 4))
    assert [state.cell(m.scores) for m in state.members] == [(0, 9), (2, 2), (9, 0)]


def pairs(state, n=60):
    u = (np.arange(n) + 0.5) / n
    cells = sorted(state.cells)
    at = {id(state.cells[c]): i for i, c in enumerate(cells)}
    drawn = [state._parents(x, y) for x in u for y in u]
    counts = np.zeros((len(cells), len(cells)))
    for a, b in drawn:
        counts[at[id(a)], at[id(b)]] += 1
    return counts / counts.sum()


def test_parents_are_two_different_cells_in_proportion_to_quality():
    state = told(start(), scores(4, 0), scores(12, 0), scores(20, 20))
    q = np.array([4, 12, 40]) / 40
    expected = [
        [0 if i == j else q[i] / q.sum() * q[j] / (q.sum() - q[i]) for j in range(3)] for i in range(3)
    ]
    np.testing.assert_allclose(pairs(state), expected, atol=0.02)


def test_one_cell_mates_with_itself_and_failures_with_anybody():
    assert pairs(told(start(), scores(0, 0)))[0, 0] == 1
    np.testing.assert_allclose(pairs(told(start(), scores(0, 0), scores(8, 8)))[1], [1, 0])
    assert pairs(told(start(), scores(0, 0), scores(8, 8)))[0, 0] == 0


def test_children_are_those_of_the_niches():
    state, (a, b) = MapElites.start(DenseSpace(0, 9), np.ones(SAMPLES), seed=0, groups=GROUPS).ask(2)
    state = state.tell([a, b], [Row(scores(4, 9)), Row(scores(14, 2))])
    state, children = state.ask(30)
    assert {p.parents for p in children} == {(0, 1), (1, 0)}
    assert all(p.kind == "cross" and p.cross.noise is not None for p in children)
    assert {p.cross.split for p in children} <= set(range(9))
    assert len({p.cross.split for p in children}) > 5


@pytest.mark.parametrize(
    ("bins", "groups"), [(0, GROUPS), (3, np.zeros((2, SAMPLES), bool)), (3, GROUPS & [[True], [False]])]
)
def test_a_grid_without_bins_or_samples_is_refused(bins, groups):
    with pytest.raises(ValueError, match="at least one bin"):
        MapElites.start(CombinationSpace("ab", np.eye(2)), np.ones(SAMPLES), seed=0, groups=groups, bins=bins)
