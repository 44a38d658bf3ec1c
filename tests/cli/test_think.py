"""`merganser think …` as a user meets it."""

import json

import pytest

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
    least = command("think", "run", out, "--halt-by", "least").stdout
    assert "halted at a certainty of 0.8 at the least certain position" in least


def test_digits_have_no_map_of_positions(tmp_path, command):
    out = tmp_path / "digits"
    done = command("think", "train", "digits", "--steps", 2, "--ticks", 2, "--batch", 8, "--out", out)
    assert "parameters trained in 2 steps (all steps are taken)" in done.stdout
    page = (out / "report.html").read_text()
    assert "Which positions came first" not in page
    assert "a picture of" in page


def test_misuse_is_told(tmp_path, command):
    done = command("think", "train", "mazes", "--out", tmp_path / "t", code=2)
    assert "Expected a task among parity, digits, found 'mazes'" in done.stderr
    done = command("think", "train", "digits", "--length", 4, "--out", tmp_path / "t", code=2)
    assert "Digits have no --length" in done.stderr
    assert "holds no training" in command("think", "run", tmp_path, code=1).stderr
