"""Ways by asking again, against a loop over mazes and moves; models are untrained, so that all kinds of ends occur."""

import numpy as np
import pytest
import torch

from merganser import TaskError
from merganser.thinking import CTM, find_ways
from merganser.thinking.mazes import STEPS, Mazes, draw_mazes, pictures
from merganser.thinking.training import Digits, MazeRoutes


def model_of(seed, **changes):
    torch.manual_seed(seed)
    model = CTM(
        MazeRoutes(9, 12).config(ticks=3, neurons=64, output_neurons=32, action_neurons=32, **changes)
    )
    torch.nn.init.normal_(model.head.weight, std=3.0)
    return model.eval()


def asked_again(model, passages, start, goal, most, tolerated):
    """The definition, one maze and one move at a time."""
    barred, start = set(), tuple(start)
    for asked in range(1, most + 1):
        maze = Mazes(passages[None], np.array([start]), np.array([goal]))
        logits = model(torch.from_numpy(pictures(maze))).answer()[0]
        here, end, faults, passed = start, start, 0, False
        for move in logits.reshape(12, 5).argmax(1).tolist():
            ahead = (here[0] + STEPS[move][0], here[1] + STEPS[move][1])
            if passages[ahead]:
                here = ahead
            else:
                faults += 1
            if faults <= tolerated:
                passed = passed or here == tuple(goal)
                end = end if here in barred else here
        if passed:
            return True, asked, tuple(goal)
        if end == start:
            barred.add(start)
        start = end
    return False, most, start


@pytest.mark.parametrize("seed", range(3))
def test_asking_again_is_the_loop(seed):
    model = model_of(seed)
    mazes = draw_mazes(12, 7, family="loops", rng=np.random.default_rng(seed))
    with torch.no_grad():
        wanted = [
            asked_again(model, *maze, most=6, tolerated=2)
            for maze in zip(mazes.passages, mazes.starts, mazes.goals, strict=True)
        ]
    found = find_ways(model, mazes, most=6, batch=5)
    got = zip(found.solved.tolist(), found.asked.tolist(), map(tuple, found.ends.tolist()), strict=True)
    assert list(got) == wanted
    assert 0 < found.solved.mean() < 1
    assert not model.training


def test_one_model_walks_through_mazes_of_other_sizes():
    model = model_of(0)
    for size in (5, 13):
        mazes = draw_mazes(3, size, rng=np.random.default_rng(0))
        found = find_ways(model, mazes, most=2)
        assert mazes.passages[np.arange(3), *found.ends.T].all()


def test_a_model_of_something_else_is_refused():
    mazes = draw_mazes(1, 9, rng=np.random.default_rng(0))
    with pytest.raises(TaskError, match="answers are routes of 5 moves, found 10 classes"):
        find_ways(CTM(Digits().config()), mazes)
    with pytest.raises(ValueError, match="at least once"):
        find_ways(model_of(0), mazes, most=0)
