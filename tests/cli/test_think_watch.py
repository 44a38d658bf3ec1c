"""`merganser think watch` as a user meets it."""

import json

import numpy as np
import pytest
from PIL import Image

from merganser.thinking.training import MazeRoutes, Parity, ThinkingTraining, train_thinking


def last_json(done):
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def maze(tmp_path_factory):
    """A training on mazes, hardly begun."""
    task = MazeRoutes(9, 6)
    few = {"ticks": 3, "neurons": 24, "width": 16, "memory": 3, "synapse_depth": 1, "backbone": "digits"}
    config = task.config(**few, output_neurons=20, action_neurons=20, self_pairs=2)
    settings = ThinkingTraining(steps=1, batch=4)
    return train_thinking(task, config, tmp_path_factory.mktemp("think") / "maze", settings).folder


def test_watching_writes_a_page_and_a_film(maze, tmp_path, command):
    film = tmp_path / "film.gif"
    said = last_json(command("think", "watch", maze, "--samples", 2, "--film", film, "--tile", "--json"))
    assert said["page"] == str(maze / "watch.html")
    assert "Watch it think: maze" in (maze / "watch.html").read_text()
    assert film.read_bytes().startswith(b"GIF89a")
    assert len(said["samples"]) == 2
    first = said["samples"][0]
    assert len(first["certainties"]) == first["ticks"] == 3
    assert first["certainties"][first["surest"] - 1] == max(first["certainties"])
    assert set(first["route"]) <= {"up", "down", "left", "right", "wait"}
    table = command("think", "watch", maze, "--sample", 7, "--sample", 3, "--ticks", 2).stdout
    assert [line.split()[0] for line in table.splitlines()[1:3]] == ["7", "3"]


def test_other_mazes_can_be_watched(maze, tmp_path, command):
    said = last_json(
        command("think", "watch", maze, "--size", 9, "--family", "loops", "--samples", 1, "--json")
    )
    assert len(said["samples"]) == 1
    drawn = np.zeros((7, 9, 3), dtype=np.uint8)
    drawn[3, 1:8] = 255
    drawn[3, 1], drawn[3, 7] = (255, 0, 0), (0, 255, 0)
    picture, page = tmp_path / "maze.png", tmp_path / "page.html"
    Image.fromarray(drawn).save(picture)
    said = last_json(command("think", "watch", maze, "--maze", picture, "--out", page, "--json"))
    assert said["page"] == str(page)
    assert '"ends":[[3,1],[3,7]]' in page.read_text()
    drawn[3, 4] = 0
    Image.fromarray(drawn).save(picture)
    assert (
        "No way leads from start to goal" in command("think", "watch", maze, "--maze", picture, code=1).stderr
    )
    twice = command("think", "watch", maze, "--maze", picture, "--size", 9, code=2)
    assert "Leave --size and --family out" in twice.stderr


def test_what_cannot_be_watched_is_told(maze, tmp_path, command):
    task = Parity(3)
    settings = ThinkingTraining(steps=1, batch=4)
    parity = train_thinking(task, task.config(ticks=2, neurons=24), tmp_path / "parity", settings).folder
    refused = command("think", "watch", parity, "--size", 9, code=2)
    assert "are for mazes, but the model learnt parity" in refused.stderr
    assert "found 'film.avi'" in command("think", "watch", maze, "--film", "film.avi", code=2).stderr
    assert (
        "Expected samples from 0 to 255, found 256"
        in command("think", "watch", maze, "--sample", 256, code=2).stderr
    )
