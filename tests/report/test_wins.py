"""The order of niches shows structure and loses nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.report import niche_order, run_info, win_info
from merganser.report._wins import MOST_COLUMNS, MOST_ROWS, binned
from merganser.run import RunDirectory


def scores(seed, members, samples):
    return (np.random.default_rng(seed).random((members, samples)) > 0.5).astype(float)


@given(st.integers(0, 99), st.integers(1, 7), st.integers(1, 12))
def test_every_member_and_every_sample_is_placed_once(seed, members, samples):
    order = niche_order(scores(seed, members, samples))
    assert sorted(order.members.tolist()) == list(range(members))
    assert sorted(order.samples.tolist()) == list(range(samples))


@given(st.integers(0, 99), st.integers(1, 7), st.integers(1, 12))
def test_samples_that_all_solve_come_first_and_those_nobody_solves_last(seed, members, samples):
    s = scores(seed, members, samples)
    order = niche_order(s)
    solvers = s.sum(axis=0)[order.samples]
    first, last = order.everyone, order.everyone + order.contested
    assert (solvers[:first] == members).all()
    assert ((solvers[first:last] > 0) & (solvers[first:last] < members)).all()
    assert (solvers[last:] == 0).all()


@given(st.integers(0, 99))
def test_shuffled_blocks_are_put_together_again(seed):
    generator = np.random.default_rng(seed)
    blocks = np.kron(np.eye(2), np.ones((4, 10)))
    blocks[0, 15] = blocks[5, 3] = 1.0
    s = blocks[generator.permutation(8)][:, generator.permutation(20)]
    order = niche_order(s)
    ordered = s[order.members][:, order.samples]
    changes = (ordered[:, 1:] != ordered[:, :-1]).sum()
    assert changes <= 8 + 2 * 2


def test_the_order_does_not_depend_on_the_order_of_columns():
    s = scores(3, 6, 40)
    mixed = s[:, np.random.default_rng(0).permutation(40)]
    one, other = (m[niche_order(m).members][:, niche_order(m).samples] for m in (s, mixed))
    assert np.array_equal(one.sum(axis=0), other.sum(axis=0))
    assert np.array_equal(one.mean(axis=1), other.mean(axis=1))


@given(st.integers(0, 99), st.integers(1, 50), st.integers(1, 20))
def test_binned_columns_keep_the_total_of_each_row(seed, samples, most):
    s = scores(seed, 3, samples)
    picture, width = binned(s, most), -(-samples // most)
    widths = [min(width, samples - start) for start in range(0, samples, width)]
    assert picture.shape[1] == len(widths) <= most
    assert (picture * widths).sum(axis=1) == pytest.approx(s.sum(axis=1))


def test_rows_are_the_members_with_their_journalled_scores(combination):
    info = run_info(combination)
    wins = win_info(info)
    assert sorted(wins.members) == sorted(info.members)
    with RunDirectory(combination).journal() as journal:
        for index, mean, drawn in zip(wins.members, wins.means, wins.picture, strict=True):
            row = journal.row(info.events[index].recipe, info.search.digest, info.search.samples)
            assert mean == pytest.approx(row.mean)
            assert drawn.sum() == row.scores.sum()


def test_before_the_end_of_a_run_on_subsets_columns_are_samples_that_all_members_know(halfway):
    info = run_info(halfway)
    wins = win_info(info)
    assert sorted(wins.members) == sorted(info.members)
    assert 95 <= wins.samples < 1150


def test_many_samples_are_drawn_as_averages(graded):
    wins = win_info(run_info(graded))
    assert wins.samples == 2_500
    assert wins.picture.shape[1] == 1_250 <= MOST_COLUMNS
    assert wins.picture.mean(axis=1) == pytest.approx(wins.means, abs=0.01)


def test_of_very_many_members_the_weakest_are_left_out(combination, monkeypatch):
    monkeypatch.setattr("merganser.report._wins.MOST_ROWS", 5)
    wins = win_info(run_info(combination))
    assert (len(wins.members), wins.left_out) == (5, 15)
    assert wins.means.min() >= 0.5
    assert MOST_ROWS == 200


def test_without_members_there_is_no_matrix(edited):
    assert win_info(run_info(edited("DELETE FROM results", "DELETE FROM meta WHERE key = 'members'"))) is None
