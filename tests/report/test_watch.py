"""The player of thoughts: its data."""

import base64
import json

import numpy as np
import pytest

from merganser.report._watch_data import player_data, thought_outcome
from merganser.thinking.mazes import Mazes, pictures
from merganser.thinking.watching import Watched, WatchedThought, wandering_of

from .thoughts import TASKS, thoughts_of


@pytest.fixture(scope="module", params=TASKS)
def watched(request):
    return thoughts_of(request.param)


def opened(packed):
    raw = np.frombuffer(base64.b64decode(packed["bytes"]), "<u2" if packed.get("wide") else "u1")
    return raw.reshape(packed["shape"])


def test_the_data_are_the_thoughts(watched):
    data = player_data(watched)
    json.dumps(data, allow_nan=False)
    assert data["kind"] == watched.kind
    for said, thought in zip(data["samples"], watched.thoughts, strict=True):
        np.testing.assert_array_equal(opened(said["answers"]), thought.answers)
        packed = said["attention"]
        shares = packed["low"] + packed["span"] * opened(packed) / 255
        np.testing.assert_allclose(shares, thought.attention, atol=packed["span"] / 400)
        assert said["surest"] == thought.surest
        if watched.kind == "maze":
            found = wandering_of(thought)
            np.testing.assert_array_equal(opened(said["places"]), found.places)
            assert said["walls"] == [each.tolist() for each in found.walls]


def test_places_of_large_mazes_take_two_bytes():
    chances = np.eye(400)[None, [0, 1, 300]]
    thought = WatchedThought(0, np.ones(3), np.array([0, 1, 300]), chances, np.array([0.1]), np.array([1.0]))
    data = player_data(Watched("none", (), (thought,)))
    assert opened(data["samples"][0]["answers"]).tolist() == [[0, 1, 300]]


def test_what_became_of_a_sample_is_said():
    passages = np.zeros((1, 4, 5), dtype=bool)
    passages[0, 1:3, 1:4] = True
    maze = pictures(Mazes(passages, starts=np.array([[1, 1]]), goals=np.array([[1, 3]])))[0]

    def said(*moves):
        chances = np.eye(5)[np.array([[3] * 5, moves])]
        thought = WatchedThought(
            0, maze, np.array([3, 3, 4, 4, 4]), chances, np.array([0.5, 0.9]), np.zeros(2)
        )
        return thought_outcome("maze", thought), thought_outcome("signs", thought)

    assert said(3, 3, 4, 4, 4) == ("2 steps: solved", "all right")
    assert said(3, 1, 4, 4, 4) == ("2 steps: wrong at step 2", "4 of 5 right")
    assert said(1, 3, 3, 0, 4)[0] == "2 steps: solved"  # another way


def test_a_route_that_is_cut_off_is_not_called_solved():
    passages = np.zeros((1, 3, 7), dtype=bool)
    passages[0, 1, 1:6] = True
    maze = pictures(Mazes(passages, starts=np.array([[1, 1]]), goals=np.array([[1, 5]])))[0]
    moves = np.array([3, 3])
    thought = WatchedThought(0, maze, moves, np.eye(5)[moves[None]], np.array([0.9]), np.zeros(1))
    assert thought_outcome("maze", thought) == "2 steps or more: right as far as asked"
    data = player_data(Watched("maze", (), (thought,)))["samples"][0]
    assert (data["reached"], data["whole"]) == ([False], [True])
