"""Insertion and selection, checked against the paper's steps in exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.evolution import Archive, ArchiveMember, Best, Niches, attraction


def member(index, scores):
    return ArchiveMember(index, f"genome {index}", np.asarray(scores, dtype=np.float64))


def filled(rows, niches=Niches(), weights=None, capacity=None):
    rows = np.asarray(rows, dtype=np.float64)
    archive = Archive.empty(
        capacity or len(rows), np.ones(rows.shape[1]) if weights is None else weights, niches
    )
    for i, row in enumerate(rows):
        archive = archive.insert(member(i, row))
    return archive


def worst_of(rows, alpha, epsilon=0):
    """Step 7 in exact arithmetic: fitness of archive and child together, lowest index among the least."""
    rows = [[Fraction(int(x)) for x in row] for row in rows]
    columns = range(len(rows[0]))
    z = [sum(row[j] for row in rows) for j in columns]
    price = [1 / ((z[j] ** alpha if z[j] else Fraction(1)) + epsilon) for j in columns]
    fitness = [sum(row[j] * price[j] for j in columns) for row in rows]
    return fitness.index(min(fitness))


@pytest.mark.parametrize("alpha", [0, 1, 2])
@pytest.mark.parametrize("epsilon", [0, 1])
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 14))
def test_insertion_is_the_papers_step_seven(alpha, epsilon, seed, capacity, samples):
    generator = np.random.default_rng(seed)
    archive = Archive.empty(capacity, np.ones(samples), Niches(alpha, epsilon))
    slots = []
    for index in range(capacity + 12):
        clone = len(slots) and generator.random() < 0.3
        row = slots[generator.integers(len(slots))][1] if clone else generator.integers(0, 2, samples)
        if len(slots) < capacity:
            slots.append((index, row))
        else:
            worst = worst_of([r for _, r in slots] + [row], alpha, epsilon)
            if worst < capacity:
                slots[worst] = (index, row)
        archive = archive.insert(member(index, row))
        assert [m.index for m in archive.members] == [i for i, _ in slots]
        assert (archive.scores == np.array([r for _, r in slots])).all()


@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([0.0, 0.5, 1.0]))
def test_continuous_insertion_counts_the_child_in_demand_and_capacity(seed, capacity, alpha):
    generator = np.random.default_rng(seed)
    rows, weights = generator.random((capacity + 1, 9)), generator.random(9) + 0.1
    archive = filled(rows[:-1], Niches(alpha, 0.05, False), weights)
    z, c = rows.sum(axis=0), rows.max(axis=0)
    fitness = [sum(weights[j] * c[j] * row[j] / (z[j] ** alpha + 0.05) for j in range(9)) for row in rows]
    worst = int(np.argmin(fitness))
    members = [m.index for m in archive.insert(member(99, rows[-1])).members]
    expected = [99 if i == worst else i for i in range(capacity)]
    assert members == expected


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_the_archive_never_exceeds_its_capacity_and_fills_empty_slots_first(seed, capacity):
    generator = np.random.default_rng(seed)
    archive = Archive.empty(capacity, np.ones(5), Niches())
    for index in range(capacity):  # even failures, which score nothing, find an empty slot
        assert not archive.full
        archive = archive.insert(member(index, np.zeros(5)))
        assert len(archive.members) == index + 1
    for index in range(capacity, 30):
        assert archive.full
        archive = archive.insert(member(index, generator.integers(0, 2, 5)))
        assert len(archive.members) == capacity


def test_an_exact_clone_displaces_the_incumbent_in_the_lowest_slot():
    archive = filled([[1, 0, 0], [0, 1, 0]])
    assert [m.index for m in archive.insert(member(5, [0, 1, 0])).members] == [0, 5]
    crowd = filled([[1, 1, 0]] * 3)
    assert [m.index for m in crowd.insert(member(5, [1, 1, 0])).members] == [5, 1, 2]


def test_equal_incumbents_lose_from_the_lowest_slot_even_if_sums_round_differently():
    # 1/3 + 1/3 + 1/3 against 1: equal, though floating point may not say so
    rows = [[1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 1, 1]]
    child = [1, 1, 1, 0, 0, 0, 0]
    assert worst_of([*rows, child], 1) == 0
    assert [m.index for m in filled(rows).insert(member(9, child)).members] == [9, 1, 2]


def test_a_child_that_is_the_worst_changes_nothing():
    archive = filled([[1, 1, 0], [0, 1, 1]])
    assert archive.insert(member(7, [0, 0, 0])) is archive


def test_the_child_counts_in_the_demand():
    rows = [[1, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 1, 1, 1, 0, 0], [0, 1, 1, 0, 1, 0]]
    archive, child = filled(rows), [1, 0, 0, 0, 0, 1]
    assert archive.fitness.argmin() == 1  # among themselves 2/3 of slot 1 is the least ...
    assert [m.index for m in archive.insert(member(9, child)).members] == [
        9,
        1,
        2,
        3,
    ]  # ... with the child 1/2


def test_an_archive_is_a_value():
    archive = filled([[1, 0, 0], [0, 1, 0]])
    before = archive.scores.copy()
    archive.insert(member(5, [1, 1, 1]))
    assert (archive.scores == before).all()
    assert [m.index for m in archive.members] == [0, 1]


@pytest.mark.parametrize("capacity", [0, -3])
def test_a_population_of_nobody_is_refused(capacity):
    with pytest.raises(ValueError, match=f"capacity is {capacity}"):
        Archive.empty(capacity, np.ones(3), Niches())


def frequencies(draw, count, slots):
    u = (np.arange(count) + 0.5) / count
    return np.bincount([draw(x) for x in u], minlength=slots) / count


@given(st.integers(0, 1000), st.integers(1, 6))
def test_parents_are_drawn_in_proportion_to_fitness(seed, n):
    archive = filled(np.random.default_rng(seed).integers(0, 2, (n, 8)))
    total = archive.fitness.sum()
    expected = archive.fitness / total if total > 0 else np.full(n, 1 / n)
    np.testing.assert_allclose(frequencies(archive.draw_parent, 2000, n), expected, atol=2e-3)


@given(st.integers(0, 1000), st.integers(2, 6))
def test_mates_are_drawn_in_proportion_to_attraction(seed, n):
    archive = filled(np.random.default_rng(seed).integers(0, 2, (n, 8)))
    for first in range(n):
        pull = attraction(archive.scores, first, archive.price)
        if pull.any():
            observed = frequencies(lambda u, first=first: archive.draw_mate(first, u), 2000, n)
            np.testing.assert_allclose(observed, pull / pull.sum(), atol=2e-3)


@given(st.integers(0, 1000), st.floats(0, 1, exclude_max=True))
def test_clones_are_never_mates_while_another_model_adds_something(seed, u):
    rows = np.random.default_rng(seed).integers(0, 2, (4, 6))
    rows[[0, 2]] = rows[1]
    rows[3, 0], rows[:3, 0] = 1, 0
    assert filled(rows).draw_mate(1, u) == 3


@given(st.floats(0, 1, exclude_max=True))
def test_where_nobody_adds_anything_the_mate_is_drawn_by_fitness_among_the_others(u):
    best = filled([[0, 1, 0], [1, 1, 1], [0, 0, 0], [1, 1, 0]])  # slot 1 has it all
    mate = best.draw_mate(1, u)
    share = best.fitness[0] / (best.fitness[0] + best.fitness[3])
    assert mate == (0 if u < share else 3)


@given(st.floats(0, 1, exclude_max=True))
def test_where_nobody_has_any_fitness_everybody_has_the_same_chance(u):
    archive = filled(np.zeros((4, 3)))
    assert archive.draw_parent(u) == int(4 * u)
    assert archive.draw_mate(2, u) == [0, 1, 3][int(3 * u)]


def test_a_lone_member_mates_with_itself():
    assert filled([[1, 0]]).draw_mate(0, 0.7) == 0
    assert filled([[0, 0]]).draw_mate(0, 0.7) == 0


def test_the_best_are_kept_in_order_and_the_earlier_of_equals_first():
    best = Best(3, np.array([1.0, 3.0]))
    for index, row in enumerate([[0, 0], [1, 0], [0, 1], [0, 1], [1, 0], [1, 1]]):
        best = best.insert(member(index, row))
    assert [m.index for m in best.members] == [5, 2, 3]
    assert best.qualities == (1.0, 0.75, 0.75)
    assert best.insert(member(9, [0, 1])) is best
