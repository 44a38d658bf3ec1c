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
    for title in ("How it learnt", "Which positions came first", "When to stop", "Watch it think"):
        assert title in page
    assert 'id="watch-thoughts"' in page


def test_the_same_command_again_takes_no_step(parity, command):
    out, said = parity
    again = command("think", "train", "parity", "--length", 4, *SMALL, "--out", out, "--json")
    assert last_json(again) == said
    other = command("think", "train", "parity", "--length", 5, *SMALL, "--out", out, code=1)
    assert "`task.length` was 4 there, and is 5 now" in other.stderr


def test_a_training_begins_with_the_model_of_another(parity, command, tmp_path):
    out, _ = parity
    few = ("think", "train", "parity", "--length", 4, "--steps", 1, "--batch", 4, "--start", out)
    said = last_json(command(*few, "--out", tmp_path / "more", "--json"))
    assert json.loads((tmp_path / "more/model/config.json").read_text())["neurons"] == 32
    assert said["steps"] == 1
    refused = command(*few, "--ticks", 5, "--out", tmp_path / "other", code=2)
    assert "has its own parts. Leave --ticks out" in " ".join(refused.stderr.split())


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


@pytest.mark.parametrize(("model", "words"), [("lstm", "An LSTM"), ("feed-forward", "A feed-forward net")])
def test_a_baseline_is_trained_run_and_shown_as_the_thought_machine_is(
    model, words, parity, tmp_path, command
):
    _, machine = parity
    out = tmp_path / model
    given = ("--length", 4, *SMALL, "--model", model, "--out", out)
    said = last_json(command("think", "train", "parity", *given, "--json"))
    assert abs(said["parameters"] - machine["parameters"]) <= 0.02 * machine["parameters"]
    page = (out / "report.html").read_text()
    assert f"{words}, {said['parameters']:,} numbers trained" in page
    several = ["From tick to tick", "When to stop", "Watch it think"]
    assert [title in page for title in several] == [model == "lstm"] * 3
    found = last_json(command("think", "run", out, "--halt", 1.0, "--json"))
    assert found["readout"] == ("instant" if model == "lstm" else "certain")
    assert found["end"]["accuracy"] == found["halted"]["accuracy"] == pytest.approx(said["test"])
    assert found["halted"]["ticks"] == (3 if model == "lstm" else 1)
    table = command("think", "train", "parity", *given).stdout
    assert ("halted at a certainty" in table) == (model == "lstm")


def test_several_seeds_are_trained_once_and_shown_together(tmp_path, command):
    out = tmp_path / "s"
    (out / "seed-2").mkdir(parents=True)
    (out / "seed-2" / "notes.txt").touch()
    given = ("think", "train", "parity", "--length", 3, *SMALL, "--seeds", "0,1,2", "--out", out)
    said = command(*given).stdout
    assert [line.split()[0] for line in said.splitlines()[1:7]] == [
        "0",
        "1",
        "2",
        "mean",
        "deviation",
        "least",
    ]
    assert "seed 2 failed: " in said
    page = (out / "report.html").read_text()
    assert "mean of 2 seeds, 1 failed" in page
    assert all(f'href="seed-{seed}/report.html"' in page for seed in (0, 1))
    assert 'href="seed-2' not in page
    assert '"seed 1"' in page[page.index('id="spec-accuracy"') :]
    assert (out / "seed-1" / "report.html").is_file()
    written = (out / "seed-0" / "history.jsonl").stat().st_mtime_ns
    found = last_json(command(*given, "--json"))
    assert (out / "seed-0" / "history.jsonl").stat().st_mtime_ns == written
    assert [each.get("failure") is None for each in found["seeds"]] == [True, True, False]
    tests = [each["test"] for each in found["seeds"][:2]]
    assert found["spread"]["test"]["mean"] == pytest.approx(sum(tests) / 2)


def test_a_training_that_fails_with_all_its_seeds_fails(tmp_path, command):
    given = ("think", "train", "parity", "--length", 3, *SMALL, "--learning-rate", 1e35, "--warm-up", 1)
    done = command(*given, "--seeds", "3", "--out", tmp_path / "s", code=1)
    assert "seed 3 failed: The loss of step" in done.stdout
    done = command(*given, "--out", tmp_path / "t", code=1)
    assert "The loss of step" in done.stderr
    assert "Traceback" not in done.stderr


def test_misuse_is_told(tmp_path, command):
    done = command("think", "train", "mazes", "--out", tmp_path / "t", code=2)
    assert "Expected a task among parity, digits, maze, maze-files, fashion, found 'mazes'" in done.stderr
    done = command("think", "train", "digits", "--length", 4, "--out", tmp_path / "t", code=2)
    assert "--length is for parity, but the task is digits" in " ".join(done.stderr.split())
    done = command("think", "train", "maze", "--size", 10, "--out", tmp_path / "t", code=2)
    assert "mazes of an odd size of at least 5 pixels, found 10" in " ".join(done.stderr.split())
    done = command("think", "train", "maze", "--preset", "maze-38", "--out", tmp_path / "t", code=2)
    assert "Did you mean `maze-39`?" in " ".join(done.stderr.split())
    done = command("think", "train", "digits", "--length", 4, "--out", tmp_path / "t", code=2)
    assert "--length is for parity, but the task is digits. Leave it out." in done.stderr
    done = command("think", "train", "digits", "--model", "rnn", "--out", tmp_path / "t", code=2)
    assert "Expected a model among ctm, lstm, feed-forward, found 'rnn'" in done.stderr
    done = command("think", "train", "fashion", "--data", tmp_path / "no", "--out", tmp_path / "t", code=1)
    assert "apt-get install dataset-fashion-mnist" in " ".join(done.stderr.split())
    for seeds, words in (
        ("0,x", "Expected --seeds such as 0,1,2"),
        ("0,-1", "not negative"),
        ("1,1", "each once"),
    ):
        done = command("think", "train", "digits", "--seeds", seeds, "--out", tmp_path / "t", code=2)
        assert words in done.stderr
    done = command("think", "train", "digits", "--seeds", "1", "--seed", 1, "--out", tmp_path / "t", code=2)
    assert "Both --seed and --seeds" in done.stderr
    assert "holds no training" in command("think", "run", tmp_path, code=1).stderr
