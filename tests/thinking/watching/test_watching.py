"""What is kept of a thought so that one can watch it."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from merganser._errors import TaskError
from merganser.thinking import CTM, Answers, answers_of, matched, new_thinker
from merganser.thinking.mazes import Mazes, mazes_of, pictures
from merganser.thinking.training import Digits, MazeRoutes, Parity, Samples
from merganser.thinking.watching import (
    WatchedThought,
    chosen_samples,
    difficulty_of,
    sort_alike,
    together,
    wandering_of,
    watch_thoughts,
)

TASK = MazeRoutes(9, 6)
SMALL = {"ticks": 4, "neurons": 24, "width": 16, "heads": 2, "memory": 3, "synapse_depth": 1}
PAIRS = {"output_neurons": 20, "action_neurons": 20, "self_pairs": 2}


@pytest.fixture(scope="module")
def maze_model():
    torch.manual_seed(0)
    return CTM(TASK.config(**SMALL, **PAIRS))


@pytest.fixture(scope="module")
def mazes():
    return Samples(*(part[:3] for part in TASK.test()))


def test_a_watched_thought_is_what_the_model_makes_of_it(maze_model, mazes):
    watched = watch_thoughts(maze_model, TASK, mazes, numbers=[4, 5, 9], neurons=7)
    maze_model.eval()
    thought = maze_model(mazes.inputs, trace=True)
    assert (watched.kind, watched.grid, len(watched.neurons)) == ("maze", (5, 5), 7)
    for k, each in enumerate(watched.thoughts):
        np.testing.assert_allclose(each.attention, thought.trace.attention[:, k], atol=1e-6)
        np.testing.assert_allclose(
            each.activations, thought.trace.activations[:, k][:, watched.neurons], atol=1e-6
        )
        np.testing.assert_allclose(each.certainties, thought.certainties[k].detach(), atol=1e-6)
        assert each.chances.shape == (4, 6, 5)
        assert each.surest == int(thought.certainties[k].argmax())
        picked = -np.log(each.chances[:, np.arange(6), each.targets]).mean(axis=1)
        np.testing.assert_allclose(each.losses, picked, rtol=1e-5)
    assert [each.number for each in watched.thoughts] == [4, 5, 9]
    assert watched.others.shape == (3, 4, 7)


def test_the_neurons_that_move_most_are_watched(maze_model, mazes):
    watched = watch_thoughts(maze_model, TASK, mazes, neurons=5)
    moves = maze_model(mazes.inputs, trace=True).trace.activations.std(dim=0).mean(dim=0)
    assert set(watched.neurons) == set(moves.topk(5).indices.tolist())


def test_pairs_that_the_model_reads_are_as_it_reads_them(maze_model, mazes):
    with torch.no_grad():
        maze_model.output.decay.uniform_(0, 1, generator=torch.Generator().manual_seed(1))
    maze_model.eval()
    thought = maze_model(mazes.inputs, trace=True)
    every = together(thought.trace.activations, torch.arange(24), maze_model)
    last = {}  # a pair that is drawn twice decays as it was drawn last
    for p, pair in enumerate(
        zip(maze_model.output.left.tolist(), maze_model.output.right.tolist(), strict=True)
    ):
        last[tuple(sorted(pair))] = p
    for (i, j), p in last.items():
        torch.testing.assert_close(every[:, :, i, j], thought.latents[:, p])
    torch.testing.assert_close(every, every.transpose(2, 3))


def test_without_a_model_all_ticks_count_alike():
    activations = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0))
    found = together(activations, torch.tensor([2, 0]))
    expected = (activations[:, :, 2] * activations[:, :, 0]).cumsum(0) / torch.arange(1, 6).sqrt()[:, None]
    torch.testing.assert_close(found[:, :, 0, 1], expected)


def test_neurons_that_move_alike_stand_side_by_side():
    time = torch.linspace(0, 6, 20)
    rows = torch.stack([time.sin(), -time.sin(), 2 * time.sin(), -3 * time.sin()], dim=1)
    order = sort_alike(rows[:, None], torch.arange(4)).tolist()
    assert {*order[:2]} in ({0, 2}, {1, 3})


@dataclass
class Bare:
    """A thought without a trace, as a model of one tick may give."""

    readout = "certain"
    predictions: torch.Tensor
    certainties: torch.Tensor
    positions: int = 1
    ticks: int = 1
    trace: None = None


class Flat(nn.Module):
    def forward(self, inputs, *, trace):
        scores = inputs.flatten(1)[:, :10].unsqueeze(-1)
        return Bare(scores, scores.softmax(1).amax(1))


def test_what_a_model_does_not_show_is_not_watched():
    watched = watch_thoughts(Flat(), Digits(), Samples(*(part[:2] for part in Digits().test())))
    first = watched.thoughts[0]
    assert (watched.kind, watched.neurons, watched.others) == ("picture", (), None)
    assert first.attention is first.activations is first.together is None
    assert first.ticks == 1


def test_where_a_route_leads_and_which_walls_it_meets():
    passages = np.zeros((1, 5, 5), dtype=bool)
    passages[0, 1, 1:4] = True
    maze = Mazes(passages, starts=np.array([[1, 1]]), goals=np.array([[1, 3]]))
    chances = np.eye(5)[np.array([[3, 3, 4], [0, 3, 1]])]
    thought = WatchedThought(
        0, pictures(maze)[0], np.array([3, 3, 4]), chances, np.array([0.9, 0.5]), np.zeros(2)
    )
    found = wandering_of(thought)
    assert found.solved.tolist() == [True, False]
    assert found.places[0].tolist() == found.right.tolist() == [[1, 1], [1, 2], [1, 3], [1, 3]]
    assert found.places[1].tolist() == [[1, 1], [1, 1], [1, 2], [1, 2]]
    assert [walls.tolist() for walls in found.walls] == [[], [[0, 1], [2, 2]]]
    assert thought.halted(0.8) == 0
    assert thought.halted(0.95) is None
    with pytest.raises(TaskError, match="Expected one start"):
        mazes_of(np.zeros((1, 3, 5, 5)))


def test_easy_and_hard_samples_are_chosen_and_some_that_fail():
    right = torch.tensor([1, 0, 1, 1, 1, 1, 0, 1, 1, 0])
    logits = 5 * torch.eye(2)[1 - right][:, None, :, None]  # the right class is 0
    answers = Answers(logits, torch.ones(10, 1), torch.zeros(10, 1, dtype=torch.long))
    hardness = torch.arange(10).flip(0)
    chosen = chosen_samples(answers, 6, hardness)
    assert chosen == sorted(chosen, reverse=True)
    assert {8, 0} < set(chosen)
    assert sum(int(right[k]) == 0 for k in chosen) == 2
    assert len(chosen_samples(answers, 99)) == 10
    assert len(chosen_samples(answers, 1)) == 1
    with pytest.raises(ValueError, match="at least 1"):
        chosen_samples(answers, 0)


def test_routes_are_as_hard_as_they_are_long(maze_model, mazes):
    found = difficulty_of(TASK, mazes)
    assert found.values.tolist() == [int((row < 4).sum()) for row in mazes.targets]
    assert difficulty_of(Parity(4), Parity(4).test()) is None
    answers = answers_of(maze_model, *mazes)
    steps = found.values[chosen_samples(answers, 3, found.values)].tolist()
    assert steps == sorted(steps)


def test_an_lstm_answers_at_its_last_tick():
    task = Parity(4)
    torch.manual_seed(0)
    model = new_thinker(matched(task.config(ticks=5, neurons=24), "lstm"))
    samples = Samples(*(part[:8] for part in task.test()))
    thoughts = watch_thoughts(model, task, samples).thoughts
    assert {thought.answered for thought in thoughts} == {4}
    unsure = replace(thoughts[0], certainties=np.array([0.1, 0.9, 0.2, 0.1, 0.3]))
    assert (unsure.surest, unsure.answered) == (1, 4)
    machine = watch_thoughts(CTM(task.config(ticks=5, neurons=24)), task, samples).thoughts
    assert all(thought.answered == thought.surest for thought in machine)
