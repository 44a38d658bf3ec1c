"""Mazes that somebody drew."""

import sys

import numpy as np
import pytest
from PIL import Image

from merganser._errors import TaskError
from merganser.thinking.mazes import draw_mazes, pictures, read_maze


@pytest.fixture
def drawn():
    """A maze as a picture of bytes."""
    maze = draw_mazes(1, 9, rng=np.random.default_rng(0))
    return maze, (255 * pictures(maze)[0].transpose(1, 2, 0)).astype(np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_picture_of_a_maze_is_the_maze(drawn, mode, tmp_path):
    maze, picture = drawn
    Image.fromarray(picture).convert(mode).save(tmp_path / "maze.png")
    found = read_maze(tmp_path / "maze.png")
    np.testing.assert_array_equal(found.passages, maze.passages)
    assert (found.starts.tolist(), found.goals.tolist()) == (maze.starts.tolist(), maze.goals.tolist())


def told(picture, path):
    Image.fromarray(picture).save(path)
    with pytest.raises(TaskError) as raised:
        read_maze(path)
    return str(raised.value)


def test_what_is_no_maze_is_told(drawn, tmp_path):
    maze, picture = drawn
    path = tmp_path / "maze.png"
    (start,), (goal,) = maze.starts, maze.goals
    without = picture.copy()
    without[tuple(start)] = 0  # a wall where it should begin
    assert "Expected one start (red) in every maze, found 0" in told(without, path)
    twice = np.repeat(np.repeat(picture, 2, axis=0), 2, axis=1)
    assert "found 4 in maze 0. A maze has one pixel for each place" in told(twice, path)
    shut = np.zeros_like(picture)
    shut[tuple(start)], shut[tuple(goal)] = (255, 0, 0), (0, 255, 0)
    shut[4, 4] = 255
    assert "No way leads from start to goal" in told(shut, path)


def test_what_is_no_picture_is_told(tmp_path, monkeypatch):
    path = tmp_path / "maze.png"
    with pytest.raises(TaskError, match="cannot be read"):
        read_maze(path)
    path.write_text("no picture")
    with pytest.raises(TaskError, match="is no picture"):
        read_maze(path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(TaskError, match=r"pip install 'merganser\[film\]'"):
        read_maze(path)
