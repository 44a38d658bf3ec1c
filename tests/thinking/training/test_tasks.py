"""Tasks: what is asked, that it follows from seed and step, and that the test is held out."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merganser import ConfigError, TaskError
from merganser.thinking import CTM
from merganser.thinking.mazes import mazes_of, walk, wall_codes, write_mazes
from merganser.thinking.training import Digits, MazeFiles, MazeRoutes, Parity, task_named


@given(st.integers(1, 20), st.integers(0, 99), st.integers(1, 99))
def test_parity_counts_minus_ones_from_the_left(length, seed, step):
    inputs, targets = Parity(length).batch(5, seed=seed, step=step)
    assert set(inputs.unique().tolist()) <= {-1.0, 1.0}
    for signs, answers in zip(inputs.tolist(), targets.tolist(), strict=True):
        for position in range(length):
            assert answers[position] == sum(sign < 0 for sign in signs[: position + 1]) % 2


@pytest.mark.parametrize("task", [Parity(8), Parity(30), Digits(), MazeRoutes()], ids=lambda task: task.name)
def test_batches_follow_from_seed_and_step(task):
    def inputs(seed, step):
        return task.batch(32, seed=seed, step=step).inputs

    assert torch.equal(inputs(1, 2), inputs(1, 2))
    assert not torch.equal(inputs(1, 2), inputs(1, 3))
    assert not torch.equal(inputs(1, 2), inputs(2, 2))
    assert torch.equal(task.test().inputs, task.test().inputs)


@pytest.mark.parametrize("length", [1, 4, 10])
def test_all_short_sequences_are_tested_once(length):
    for samples in (Parity(length).test(), Parity(length).validation()):
        assert len(samples.inputs) == len(samples.inputs.unique(dim=0)) == 2**length


def test_long_sequences_are_tested_on_others_than_are_looked_at():
    task = Parity(40)
    seen = {tuple(row) for row in task.validation().inputs.tolist()}
    tested = {tuple(row) for row in task.test().inputs.tolist()}
    drawn = {tuple(row) for step in range(20) for row in task.batch(64, seed=0, step=step).inputs.tolist()}
    assert (len(seen), len(tested)) == (512, 2048)
    assert not seen & tested
    assert not drawn & (seen | tested)


def test_digits_are_trained_looked_at_and_tested_apart():
    task = Digits()
    held_out = [
        {picture.numpy().tobytes() for picture in part.inputs} for part in (task.validation(), task.test())
    ]
    trained = {
        picture.numpy().tobytes()
        for step in range(150)
        for picture in task.batch(64, seed=0, step=step).inputs
    }
    assert [len(part) for part in held_out] == [237, 360]
    assert 1100 < len(trained) <= 1200
    assert not held_out[0] & held_out[1]
    assert not trained & (held_out[0] | held_out[1])
    assert (task.test().inputs.min(), task.test().inputs.max()) == (0, 1)
    assert np.bincount(task.test().targets[:, 0].numpy()).min() > 25


@pytest.mark.parametrize("task", [Parity(3), Parity(12), Digits(), MazeRoutes(11, 5), MazeRoutes(9)], ids=str)
def test_the_small_model_of_a_task_answers_it(task):
    config = task.config(ticks=2)
    samples = task.batch(3, seed=0, step=1)
    thought = CTM(config)(samples.inputs)
    assert thought.predictions.shape == (3, task.positions * task.classes, 2)
    assert samples.targets.shape == (3, task.positions)


@pytest.mark.parametrize("family", ["depth-first", "prim", "loops"])
def test_routes_that_are_asked_for_lead_through_the_maze(family):
    inputs, targets = MazeRoutes(9, 30, family).batch(20, seed=0, step=1)
    assert walk(mazes_of(inputs.numpy()), targets.numpy()).solved.all()
    cut = MazeRoutes(9, 4, family).batch(20, seed=0, step=1)
    assert torch.equal(cut.inputs, inputs)
    assert torch.equal(cut.targets, targets[:, :4])


def test_mazes_that_are_looked_at_and_tested_have_walls_of_their_own():
    task = MazeRoutes(9)
    trained = task.mazes(3000, "training", 0, 0)
    parts = [trained, *(mazes_of(part.inputs.numpy()) for part in (task.validation(), task.test()))]
    assert [len(part) for part in parts] == [3000, 512, 2048]
    codes = [set(wall_codes(part).tolist()) for part in parts]
    assert min(map(len, codes)) > 20
    assert not codes[0] & codes[1]
    assert not codes[0] & codes[2]
    assert not codes[1] & codes[2]
    assert walk(parts[2], task.test().targets.numpy()).solved.all()  # routes are whole


def test_mazes_in_files_are_split_turned_and_solved(tmp_path):
    pytest.importorskip("PIL")
    task = MazeRoutes(9)
    for part, number in (("train", 40), ("test", 6)):
        write_mazes(task.mazes(number, "training", len(part)), tmp_path / part / "0")
    files = MazeFiles(str(tmp_path), 20)
    held_back = {row.numpy().tobytes() for row in files.validation().inputs}
    first = files.batch(300, seed=0, step=1)
    assert walk(mazes_of(first.inputs.numpy()), first.targets.numpy()).solved.mean() > 0.9
    assert len(held_back) == 4
    assert not held_back & {row.numpy().tobytes() for row in first.inputs}
    assert len(first.inputs.unique(dim=0)) > 150  # of 36 mazes in 8 positions
    assert torch.equal(first.inputs, files.batch(300, seed=0, step=1).inputs)
    assert len(files.test().inputs) == 6
    assert files.config().outputs == 100
    with pytest.raises(TaskError, match="holds no pictures"):
        MazeFiles(str(tmp_path / "nowhere")).test()


def test_tasks_that_cannot_be_are_refused():
    with pytest.raises(
        ConfigError, match="a task among parity, digits, maze, maze-files, fashion, found 'mazes'"
    ):
        task_named("mazes")
    with pytest.raises(ConfigError, match="at least one sign, found a length of 0"):
        task_named("parity", length=0)
    for settings in ({"size": 8}, {"size": 7}, {"size": 10}, {"family": "moss"}, {"length": 0}):
        with pytest.raises(ConfigError, match="Expected"):
            task_named("maze", **settings)
    with pytest.raises(ConfigError, match="The task digits cannot be set up from"):
        task_named("digits", length=3)
