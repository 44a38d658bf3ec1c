"""Subsets that take turns: everything before anything twice, and every subset like the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.evaluation import Classification, Mixture, Rotation


def task(labels, split="search", seed=0):
    inputs = np.random.default_rng([seed, len(labels)]).standard_normal((len(labels), 3))
    return Classification.of(f"task {seed}", inputs, np.asarray(labels), split)


@given(st.integers(1, 90), st.data())
def test_a_cycle_holds_every_sample_once_and_its_subsets_differ_by_one_at_most(samples, data):
    size, seed = data.draw(st.integers(1, samples)), data.draw(st.integers(0, 99))
    labels = data.draw(st.lists(st.integers(0, 4), min_size=samples, max_size=samples))
    rotation = Rotation.of(task(labels), size, seed=seed)
    for cycle in range(3):
        subsets = [rotation.ids(cycle * rotation.rounds + turn) for turn in range(rotation.rounds)]
        assert sorted(np.concatenate(subsets).tolist()) == list(range(samples))
        sizes = [len(ids) for ids in subsets]
        assert min(sizes) == rotation.smallest
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= size


@given(st.lists(st.integers(0, 4), min_size=2, max_size=90), st.data())
def test_every_subset_has_its_share_of_each_class_within_one(labels, data):
    rotation = Rotation.of(task(labels), data.draw(st.integers(1, len(labels))))
    for turn in range(2 * rotation.rounds):
        ids = rotation.ids(turn)
        for label in set(labels):
            share = labels.count(label) / rotation.rounds
            assert abs(np.count_nonzero(np.array(labels)[ids] == label) - share) < 1


def test_every_subset_has_its_share_of_each_task_and_of_each_class_in_it():
    first, second = [0, 1] * 20, [0, 0, 1, 2] * 30
    rotation = Rotation.of(Mixture((task(first, seed=1), task(second, seed=2))), 16)
    assert rotation.rounds == 10
    for turn in range(30):
        ids = rotation.ids(turn)
        mine = ids[ids < 40]
        assert len(mine) == 4
        assert np.count_nonzero(np.array(first)[mine]) == 2
        others = np.array(second)[ids[ids >= 40] - 40]
        assert np.bincount(others, minlength=3).tolist() == [6, 3, 3]


def test_turns_are_the_same_each_time_and_other_seeds_and_cycles_divide_differently():
    labels = [0, 1, 2, 3] * 12
    rotation, again = (Rotation.of(task(labels), 8, seed=5) for _ in range(2))
    assert all((rotation.ids(turn) == again.ids(turn)).all() for turn in range(20))
    other = Rotation.of(task(labels), 8, seed=6)
    assert any((rotation.ids(turn) != other.ids(turn)).any() for turn in range(6))
    assert any((rotation.ids(turn) != rotation.ids(turn + 6)).any() for turn in range(6))


def test_the_order_of_the_file_has_no_influence():
    whole = task([0, 1] * 15)
    order = np.random.default_rng(1).permutation(30)
    shuffled = Classification.of("task 0", whole.inputs[order], whole.samples.labels[order], "search")
    one, other = Rotation.of(whole, 7), Rotation.of(shuffled, 7)
    for turn in range(10):
        ours = {whole.samples.hashes[i] for i in one.ids(turn)}
        assert ours == {shuffled.samples.hashes[i] for i in other.ids(turn)}


def test_a_subset_of_everything_is_everything_in_order():
    rotation = Rotation.of(task([1, 0, 1, 0, 2]), 5)
    assert rotation.ids(0).tolist() == rotation.ids(7).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("size", [0, 6])
def test_a_subset_larger_than_the_whole_is_refused(size):
    with pytest.raises(ValueError, match=f"at most all of the 5 samples, but is to hold {size}"):
        Rotation.of(task([0, 1, 0, 1, 0]), size)
