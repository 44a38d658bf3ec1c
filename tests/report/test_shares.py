"""The shares are those of the winner's recipe."""

from dataclasses import replace

import numpy as np
import pytest

from merganser.merging import Combination, read_recipe
from merganser.report import run_info, share_info
from merganser.report._shares import mean_shares
from merganser.run import RunDirectory


def recipe_of(run):
    return read_recipe(RunDirectory(run).recipe_path(run_info(run).winner.digest))


def by_position(recipe):
    return np.repeat(recipe.shares(), np.diff(recipe.breaks), axis=0)


def test_every_stretch_is_shared_out_completely(combination):
    info = share_info(run_info(combination))
    assert info.shares.sum(axis=1) == pytest.approx(np.ones(len(info.shares)))
    assert sum(info.total) == pytest.approx(1.0)


def test_stretches_are_the_segments_of_the_recipe(combination):
    info, recipe = share_info(run_info(combination)), recipe_of(combination)
    assert not info.averaged
    assert info.edges.tolist() == recipe.breaks.tolist()
    assert info.shares == pytest.approx(recipe.shares())


def test_layers_are_averaged_over_their_own_positions(combination):
    info, dense = share_info(run_info(combination)), by_position(recipe_of(combination))
    assert [(layer.name, layer.start, layer.end) for layer in info.layers] == [
        ("layers.0", 0, 16_640),
        ("layers.1", 16_640, 19_210),
    ]
    for layer in info.layers:
        assert layer.shares == pytest.approx(dense[layer.start : layer.end].mean(axis=0))
    assert info.total == pytest.approx(dense.mean(axis=0))


def test_many_segments_are_averaged_exactly(combination, monkeypatch):
    monkeypatch.setattr("merganser.report._shares.MOST_VALUES", 10)
    info, dense = share_info(run_info(combination)), by_position(recipe_of(combination))
    assert info.averaged
    assert len(info.shares) == 5
    for begin, end, row in zip(info.edges[:-1], info.edges[1:], info.shares, strict=True):
        assert row == pytest.approx(dense[int(begin) : int(end)].mean(axis=0))


def test_a_negative_coefficient_counts_by_its_size():
    recipe = Combination(("a", "b"), [0, 10], [[1.5, -0.5]])
    assert mean_shares(recipe, np.array([0.0, 10.0])).tolist() == [[0.75, 0.25]]


def test_seeds_carry_the_names_of_the_parents(combination):
    assert share_info(run_info(combination)).seeds == ("classes 0-4", "classes 5-9")


def test_dense_and_unfinished_runs_have_no_shares(dense, unfinished, combination):
    assert share_info(run_info(dense)) is None
    assert share_info(run_info(unfinished)) is None
    assert share_info(replace(run_info(combination), winner=None)) is None
