"""Thought machines in searches: what is scored, what is held out, and that the winner is one of them."""

import numpy as np
import pytest
import torch

import merganser
from merganser import CheckpointError, ConfigError
from merganser.thinking import CTM, LiveThinker, answers_of
from merganser.thinking.training import Digits, MazeRoutes, Parity, open_thinking_splits, thinking_splits
from merganser.weights import Checkpoint, flat_read


def model_of(task, seed):
    torch.manual_seed(seed)
    return CTM(task.config(ticks=3, neurons=64)).eval()


def test_scores_are_the_shares_of_right_positions():
    task = Parity(12)
    model, splits = model_of(task, 0), thinking_splits(task, samples=50)
    answers = answers_of(model, *task.test())
    live = splits.test.live(model.checkpoint())
    scores = splits.test.score(live, np.arange(len(splits.test.samples)))
    hashes = dict(zip(splits.test.samples.hashes, scores, strict=True))
    assert len(hashes) == len(scores) < len(task.test().inputs)  # equal sequences once
    assert scores.mean() == pytest.approx(float(answers.scores()[:, -1].mean()), abs=0.02)
    some = np.array([5, 700, 3])
    assert np.array_equal(splits.test.score(live, some), scores[some])


def test_one_model_becomes_another():
    task = MazeRoutes(9, 5)
    first, second = model_of(task, 0), model_of(task, 1)
    inputs = task.batch(4, seed=0, step=1).inputs
    live = LiveThinker(first.checkpoint())
    live.write(flat_read(second.checkpoint()))
    with torch.no_grad():
        assert np.allclose(live(inputs.numpy()), second(inputs).answer().numpy(), atol=1e-6)


@pytest.mark.parametrize("task", [Parity(12), MazeRoutes(9, 5), Digits()], ids=lambda task: task.name)
def test_splits_share_no_sample(task):
    splits = thinking_splits(task, samples=300)
    parts = [set(part.samples.hashes) for part in (splits.search, splits.validation, splits.test)]
    assert min(map(len, parts)) > 100
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    assert splits.search.binary == (task.positions == 1)


def test_two_machines_evolve_into_one(tmp_path):
    task = Parity(12)
    for seed in range(2):
        model_of(task, seed).save_pretrained(tmp_path / str(seed))
    found = merganser.evolve(
        [tmp_path / "0", tmp_path / "1"],
        "think:parity?length=12&samples=60",
        search={"method": "natural-niches", "population": 4},
        budget=20,
        run=tmp_path / "run",
        out=tmp_path / "winner",
    )
    model = CTM.from_pretrained(tmp_path / "winner")
    splits = open_thinking_splits("parity?length=12&samples=60")
    scores = splits.test.score(LiveThinker(model.checkpoint()), np.arange(len(splits.test.samples)))
    assert found.winner.test.value == pytest.approx(scores.mean(), abs=1e-6)


def test_what_cannot_be_searched_is_told():
    with pytest.raises(ConfigError, match="All samples of parity are tested"):
        thinking_splits(Parity(5))
    with pytest.raises(ConfigError, match="Expected a task among parity"):
        open_thinking_splits("chess")
    with pytest.raises(ConfigError, match="number of samples of at least 1, found 0"):
        open_thinking_splits("digits?samples=0")
    with pytest.raises(CheckpointError, match="is no thought machine"):
        LiveThinker(Checkpoint.from_module(torch.nn.Linear(2, 2)))
