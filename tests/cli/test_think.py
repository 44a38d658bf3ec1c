"""`merganser think …` as a user meets it."""

import json

import pytest

from merganser.thinking.mazes import write_mazes
from merganser.thinking.training import MazeFiles, MazeRoutes, open_thinking

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
    for title in ("How it learnt", "Which positions came first", "When to stop", "Inside, sample 3"):
        assert title in page
    assert 'id="spec-attention-2"' in page
    assert 'id="spec-neurons-0"' in page


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
    assert "a picture of" in page


def test_mazes_are_drawn_or_read(tmp_path, command):
    pytest.importorskip("PIL")
    few = ("--ticks", 2, "--steps", 1, "--batch", 4, "--route", 6, "--json")
    drawn = command("think", "train", "maze", "--size", 9, "--family", "prim", *few, "--out", tmp_path / "a")
    assert (tmp_path / "a" / "report.html").is_file()
    for part, number in (("train", 12), ("test", 3)):
        write_mazes(MazeRoutes(9).mazes(number, "training", number), tmp_path / "files" / part)
    read = command("think", "train", "maze", "--data", tmp_path / "files", *few, "--out", tmp_path / "b")
    assert last_json(drawn)["parameters"] == last_json(read)["parameters"]
    found = last_json(
        command("think", "solve", tmp_path / "a", "--sizes", "7,11", "--mazes", 4, "--most", 2, "--json")
    )
    assert [(each["size"], each["mazes"]) for each in found["sizes"]] == [("7×7", 4), ("11×11", 4)]
    assert all(each["once"] <= each["solved"] for each in found["sizes"])
    table = command("think", "solve", tmp_path / "a", "--data", tmp_path / "files" / "test", "--most", 1)
    assert "9×9" in table.stdout
    failed = command("think", "solve", tmp_path / "a", "--sizes", "nine", code=2)
    assert "Expected --sizes as numbers with commas" in " ".join(failed.stderr.split())
    assert open_thinking(tmp_path / "b").task == MazeFiles(str(tmp_path / "files"), 6)


def test_misuse_is_told(tmp_path, command):
    done = command("think", "train", "mazes", "--out", tmp_path / "t", code=2)
    assert "Expected a task among parity, digits, maze, maze-files, found 'mazes'" in done.stderr
    done = command("think", "train", "digits", "--length", 4, "--out", tmp_path / "t", code=2)
    assert "--length is for parity, but the task is digits" in " ".join(done.stderr.split())
    done = command("think", "train", "maze", "--size", 10, "--out", tmp_path / "t", code=2)
    assert "mazes of an odd size of at least 5 pixels, found 10" in " ".join(done.stderr.split())
    done = command("think", "train", "maze", "--preset", "maze-38", "--out", tmp_path / "t", code=2)
    assert "Did you mean `maze-39`?" in " ".join(done.stderr.split())
    assert "holds no training" in command("think", "run", tmp_path, code=1).stderr
