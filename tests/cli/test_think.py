"""`merganser think …` as a user meets it."""

import json

import numpy as np
import pytest
from PIL import Image

from merganser.thinking.training import MazeRoutes, ThinkingTraining, train_thinking

SMALL = (
    "--ticks",
    3,
    "--neurons",
    32,
    "--width",
    16,
    "--memory",
    3,
    "--steps",
    6,
    "--every",
    3,
    "--batch",
    8,
)


def last_json(done):
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def parity(tmp_path_factory, command):
    """A training on parity, hardly begun, and what the command said."""
    out = tmp_path_factory.mktemp("think") / "parity"
    done = command("think", "train", "parity", "--length", 4, *SMALL, "--out", out, "--json")
    return out, last_json(done)


def test_a_training_leaves_a_model_and_a_page(parity):
    out, said = parity
    assert (said["steps"], said["stopped"]) == (6, "steps")
    assert (out / "model" / "config.json").is_file()
    page = (out / "report.html").read_text()
    for title in ("How it learnt", "Which positions came first", "When to stop", "Watch it think"):
        assert title in page
    assert 'id="watch-thoughts"' in page


def test_the_same_command_again_takes_no_step(parity, command):
    out, said = parity
    again = command("think", "train", "parity", "--length", 4, *SMALL, "--out", out, "--json")
    assert last_json(again) == said
    other = command("think", "train", "parity", "--length", 5, *SMALL, "--out", out, code=1)
    assert "`task.length` was 4 there, and is 5 now" in other.stderr


def test_running_says_what_stopping_saves(parity, command):
    out, said = parity
    found = last_json(command("think", "run", out, "--halt", 0.0, "--json"))
    assert found["samples"] == 16
    assert found["end"]["accuracy"] == pytest.approx(said["test"])
    assert found["halted"]["ticks"] == 1
    assert found["halted"]["saved"] == pytest.approx(2 / 3)
    table = command("think", "run", out, "--readout", "average", "--samples", 5, "--ticks", 2).stdout
    assert table.splitlines()[1].split()[-1] == "2"
    assert "halted at a certainty of 0.8" in table


def test_digits_have_no_map_of_positions(tmp_path, command):
    out = tmp_path / "digits"
    done = command("think", "train", "digits", "--steps", 2, "--ticks", 2, "--batch", 8, "--out", out)
    assert "parameters trained in 2 steps (all steps are taken)" in done.stdout
    page = (out / "report.html").read_text()
    assert "Which positions came first" not in page
    assert "a picture and says what it is" in page


def test_misuse_is_told(tmp_path, command):
    done = command("think", "train", "mazes", "--out", tmp_path / "t", code=2)
    assert "Expected a task among parity, digits, maze, found 'mazes'" in done.stderr
    done = command("think", "train", "digits", "--length", 4, "--out", tmp_path / "t", code=2)
    assert "Digits have no --length" in done.stderr
    assert "holds no training" in command("think", "run", tmp_path, code=1).stderr


@pytest.fixture(scope="module")
def maze(tmp_path_factory):
    """A training on mazes, hardly begun."""
    task = MazeRoutes(5, 6)
    config = task.config(
        ticks=3, neurons=24, width=16, memory=3, output_neurons=20, action_neurons=20, self_pairs=2
    )
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


def test_what_cannot_be_watched_is_told(maze, parity, tmp_path, command):
    assert (
        "are for mazes, but the model learnt parity"
        in command("think", "watch", parity[0], "--size", 9, code=2).stderr
    )
    assert "found 'film.avi'" in command("think", "watch", maze, "--film", "film.avi", code=2).stderr
    assert (
        "Expected samples from 0 to 255, found 256"
        in command("think", "watch", maze, "--sample", 256, code=2).stderr
    )
