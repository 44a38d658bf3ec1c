"""Barriers on the line against models that are merged, saved and scored one by one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from merganser import CheckpointError, load, merge
from merganser.comparison import Barrier, barrier
from merganser.evaluation import SplitRule, choose, difference_interval, open_task
from merganser.models import perceptron_size, perceptron_tensors
from merganser.weights import Checkpoint, open_checkpoint

STORIES = Path(__file__).parents[1] / "data" / "stories260k"
WIDTHS = (64, 16, 10)


@pytest.fixture(scope="module")
def one_thread():
    """Tiny tensors are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def perceptron(seed):
    flat = np.random.default_rng(seed).normal(size=perceptron_size(WIDTHS)).astype(np.float32)
    return perceptron_tensors(flat, WIDTHS)


def accuracy(tensors, task, ids):
    """Whether the largest output is the label, by plain numpy."""
    hidden = np.maximum(
        task.inputs[ids].reshape(len(ids), -1) @ tensors["layers.0.weight"] + tensors["layers.0.bias"], 0
    )
    logits = hidden @ tensors["layers.1.weight"] + tensors["layers.1.bias"]
    return (logits.argmax(axis=1) == task.samples.labels[ids]).astype(float)


def test_the_line_between_two_perceptrons_is_scored(small_npz):
    chosen = choose(open_task(small_npz, SplitRule()), "search")
    first, second = perceptron(1), perceptron(2)
    found = barrier(Checkpoint.from_tensors(first), Checkpoint.from_tensors(second), chosen)
    [(task, ids)] = chosen.parts
    ends = [accuracy(tensors, task, ids) for tensors in (first, second)]
    for t, scores in found.scores.items():
        mean = {n: ((1 - t) * first[n].astype(np.float64) + t * second[n]).astype(np.float32) for n in first}
        np.testing.assert_array_equal(scores, accuracy(mean, task, ids))
        if 0 < t < 1:
            line = (1 - t) * ends[0] + t * ends[1]
            assert found.shortfalls[t] == difference_interval(line, scores)
    assert list(found.scores) == [0, 0.25, 0.5, 0.75, 1]
    assert found.height.value == max(each.value for each in found.shortfalls.values())


def test_the_height_holds_whichever_shortfall_is_the_largest():
    ones, half = np.ones(50), np.tile([0.0, 1.0], 25)
    found = Barrier({0.0: ones, 0.25: half, 0.5: half[::-1], 0.75: ones, 1.0: ones})
    assert found.height.value == 0.5
    assert found.height.low == max(found.shortfalls[t].low for t in (0.25, 0.5))
    assert found.height.high >= found.shortfalls[0.25].high
    above = Barrier({0.0: half, 0.25: ones, 0.5: ones, 0.75: ones, 1.0: half})
    assert above.height.value == -0.5
    assert above.to_json()["points"][1] == {
        "t": 0.25,
        "value": 1.0,
        "low": above.means[0.25].low,
        "high": 1.0,
    }


@pytest.mark.usefixtures("one_thread")
def test_language_models_on_the_line_are_the_merged_models(tmp_path):
    places = []
    for number in range(2):
        places.append(Path(shutil.copytree(STORIES, tmp_path / f"model{number}")))
        generator = torch.Generator().manual_seed(number)
        tensors = load_file(STORIES / "model.safetensors")
        noisy = {n: t + 0.1 * torch.randn(t.shape, generator=generator) for n, t in tensors.items()}
        save_file(noisy, places[-1] / "model.safetensors", metadata={"format": "pt"})
    rows = [
        {
            "question": f"Once upon a time there was a {a}.",
            "choices": [" He", " She", " They", " It"],
            "answer": i % 4,
        }
        for i, a in enumerate(["girl", "boy", "dog", "cat", "duck", "tree", "car", "king"])
    ]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = choose(open_task(tmp_path / "questions.jsonl", None), "all")
    found = barrier(*map(open_checkpoint, places), chosen)
    [(task, ids)] = chosen.parts
    for t, weight in ((0.0, [1, 0]), (0.75, [1, 3])):
        merged = load(merge(places, weight=weight, out=tmp_path / f"merged{t}"))
        np.testing.assert_array_equal(found.scores[t], task.score(merged, ids))


def test_models_that_do_not_fit_say_so(small_npz):
    chosen = choose(open_task(small_npz), "search")
    broken = {name: np.full_like(tensor, np.nan) for name, tensor in perceptron(1).items()}
    with pytest.raises(CheckpointError, match=r"at 0\.25 of the way"):
        barrier(Checkpoint.from_tensors(perceptron(0)), Checkpoint.from_tensors(broken), chosen)
    other = Checkpoint.from_tensors({"layers.0.weight": np.ones((64, 10), np.float32)})
    with pytest.raises(ValueError, match="must share one architecture"):
        barrier(Checkpoint.from_tensors(perceptron(0)), other, chosen)
