"""What the page of a training says of how its model thinks."""

import pytest
import torch

from merganser.report import write_thinking_report
from merganser.report._thinking_info import thinking_info
from merganser.thinking import CTM, answers_of
from merganser.thinking.training import MazeRoutes, Parity, ThinkingTraining, train_thinking

SMALL = {"ticks": 3, "neurons": 24, "width": 16, "memory": 3}
PAIRS = {
    "output_neurons": 20,
    "action_neurons": 20,
    "self_pairs": 2,
    "synapse_depth": 1,
    "backbone": "digits",
}


def trained(task, folder, **changes):
    settings = ThinkingTraining(steps=1, batch=4)
    return train_thinking(task, task.config(**SMALL, **changes), folder, settings)


@pytest.fixture(scope="module")
def maze(tmp_path_factory):
    return trained(MazeRoutes(9, 6), tmp_path_factory.mktemp("think") / "maze", **PAIRS)


def test_ticks_and_answers_are_told_by_the_length_of_the_route(maze):
    samples = maze.task.test()
    answers = answers_of(CTM.from_pretrained(maze.path), *samples)
    steps = (samples.targets < 4).sum(dim=1)
    points = thinking_info(maze).hardness
    assert [each.value for each in points] == sorted(set(steps.tolist()))
    assert sum(each.samples for each in points) == len(steps)
    first = points[0]
    those = steps == first.value
    assert first.right == pytest.approx(float(answers.scores(whole=True)[those, -1].double().mean()))
    assert first.ticks == 3  # a model that learnt nothing never is sure enough


def test_the_page_of_mazes_tells_of_their_difficulty(maze, tmp_path):
    page = write_thinking_report(maze, tmp_path / "report.html").read_text()
    for words in ("Watch it think", "Whether hard ones take longer", 'id="spec-hard-ticks"'):
        assert words in page
    assert "Where it looks at each tick" not in page
    assert len(page) < 3_000_000


def test_attention_to_signs_is_told_tick_by_tick(tmp_path):
    found = thinking_info(trained(Parity(5), tmp_path / "parity"))
    assert found.looks.shape == (5, 3)
    torch.testing.assert_close(torch.from_numpy(found.looks).sum(0), torch.ones(3, dtype=torch.float64))
    assert found.hardness == ()
