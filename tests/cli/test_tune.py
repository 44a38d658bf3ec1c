"""`merganser merge --tune` as a user meets it."""

import json

import numpy as np
import pytest

import merganser
from merganser.merging import read_recipe
from merganser.models import perceptron_size, perceptron_tensors
from merganser.weights import Checkpoint

WIDTHS = (64, 12, 10)


def last_json(done):
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a base and two models near it."""
    folder = tmp_path_factory.mktemp("tune")
    base = np.random.default_rng(0).standard_normal(perceptron_size(WIDTHS)).astype(np.float32)
    for i, name in enumerate(("base", "a", "b")):
        noise = np.random.default_rng(i).standard_normal(len(base)).astype(np.float32)
        flat = base if name == "base" else base + 0.2 * noise
        merganser.save(
            Checkpoint.from_tensors(perceptron_tensors(flat, WIDTHS)), folder / f"{name}.safetensors"
        )
    return folder


MERGE = ("merge", "a.safetensors", "b.safetensors", "--base", "base.safetensors", "--method", "ties")


def test_tuned_values_and_scores_stand_beside_the_defaults_and_the_merge_is_written(
    command, place, small_npz, tmp_path
):
    out, run = tmp_path / "out", tmp_path / "run"
    options = ("--tune", "lambda=0:3,density", "--task", small_npz, "--budget", 30, "--run", run)
    done = command(*MERGE, *options, "--density", 0.4, "--out", out, cwd=place, code=2)
    assert "`density` is both searched and fixed" in done.stderr
    done = command(*MERGE, *options, "--seed", 3, "--out", out, "--json", cwd=place)
    found = last_json(done)
    assert found["out"] == str(out)
    assert found["defaults"] == {"lambda": 1.0, "density": 0.2}
    assert 0 <= found["tuned"]["lambda"] <= 3
    assert found["tuning"]["search"] >= found["tuning"]["untuned"]["search"]
    assert found["tuning"]["evaluations"] == 30
    assert "untuned" in done.stderr
    recipe = read_recipe(out / "recipe.json")
    assert recipe.blueprint.settings["lambda"].cases[0].value == found["tuned"]["lambda"]
    exported = command("runs", "export", run, "--out", tmp_path / "exported", "--json")
    assert last_json(exported)["digest"] == merganser.open(out).digest


def test_the_table_shows_one_value_for_each_model_where_that_is_asked_for(
    command, place, small_npz, tmp_path
):
    options = ("--tune", "weight:each", "--task", small_npz, "--budget", 12, "--run", tmp_path / "run", "-q")
    done = command(*MERGE, *options, "--out", tmp_path / "out", cwd=place)
    [row] = [line.split() for line in done.stdout.splitlines() if line.startswith("weight")]
    assert len(row) == 4
    assert row[1] == "1"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--tune", "lambda", "--out", "x"), "Tuning needs a task"),
        (("--task", "digits", "--out", "x"), "--task is for tuning"),
        (("--budget", "9", "--out", "x"), "--budget is for tuning"),
        (("--tune", "lamda", "--task", "digits", "--out", "x"), "Did you mean `lambda`?"),
        (("--tune", "lambda:0", "--task", "digits", "--out", "x"), "but found 'lambda:0'"),
        (
            ("--tune", "density=0:2", "--task", "digits", "--out", "x"),
            "must be finite and ascend within [0, 1]",
        ),
        (("--tune", "lambda", "--task", "digits"), "name a folder with --out"),
        (("--tune", "lambda", "--task", "digits", "--out", "base.safetensors"), "exists already"),
    ],
)
def test_misuse_is_told_before_anything_is_tried(command, place, words, message):
    done = command(*MERGE, *words, cwd=place, code=1 if message == "exists already" else 2)
    assert message in done.stderr
    assert not (place / "runs").exists()
