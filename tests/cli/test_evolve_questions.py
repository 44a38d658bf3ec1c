"""`merganser evolve` on questions: a task file by itself, the device, and what is no file for it."""

import html
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from merganser.report import run_info

pytest.importorskip("transformers")

STORIES = Path(__file__).parents[1] / "data" / "stories260k"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two models near the stories model, and a task file with questions beside it."""
    folder = tmp_path_factory.mktemp("questions")
    for seed in (1, 2):
        shutil.copytree(STORIES, folder / f"model-{seed}")
        generator = torch.Generator().manual_seed(seed)
        tensors = {
            name: (tensor + 0.2 * tensor.std() * torch.randn(tensor.shape, generator=generator)).contiguous()
            for name, tensor in load_file(STORIES / "model.safetensors").items()
        }
        save_file(tensors, folder / f"model-{seed}" / "model.safetensors", metadata={"format": "pt"})
    rows = [
        {"question": f"Tom has {n} cars.", "choices": [" He is happy.", " Is he happy dog."], "answer": n % 2}
        for n in range(40)
    ]
    (folder / "cars.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "cars.yaml").write_text("data: cars.jsonl\nscorer: choice:probability\n")
    return folder


MODELS = ("-m", "model-1", "-m", "model-2")


@pytest.fixture(scope="module")
def finished(command, place, tmp_path_factory):
    """A short run on the task file by itself, and its JSON."""
    run = tmp_path_factory.mktemp("runs") / "run"
    words = ("evolve", "cars.yaml", *MODELS, "--budget", 4, "--run", run, "--device", "cpu", "--json")
    return run, json.loads(command(*words, cwd=place).stdout.splitlines()[-1])


def test_a_task_file_is_taken_as_the_task_and_the_device_as_the_setting(finished):
    run, outcome = finished
    info = run_info(run)
    assert outcome["evaluations"] == 4
    assert (info.settings.task, info.settings.device) == ("cars.yaml", "cpu")


def test_what_was_gained_and_lost_is_shown_by_questions_with_their_answers(finished):
    run, outcome = finished
    answers = run_info(run).answers
    assert [each.to_json() for each in answers] == outcome["answers"] != []
    for each in answers:
        assert list(each.answers) == ["model-1", "model-2", "winner"]
        assert each.question.startswith("Tom has")
        assert each.expected in ("He is happy.", "Is he happy dog.")
        assert all(0 < given.score < 1 for given in each.answers.values())
    gains = [each.answers["winner"].score - max(p.score for p in _parents(each)) for each in answers]
    kinds = ["won" if gain > 0 else "lost" if gain < 0 else "same" for gain in gains]
    assert kinds == sorted(kinds, key=["won", "lost", "same"].index)
    page = (run / "report.html").read_text()
    assert "Questions and answers" in page
    assert html.escape(answers[0].question) in page


def _parents(answered):
    return [given for name, given in answered.answers.items() if name != "winner"]


def test_a_device_that_is_not_there_is_told(command, place, tmp_path):
    words = ("evolve", "cars.yaml", *MODELS, "--budget", 4, "--run", tmp_path / "r", "--device", "teapot")
    assert "teapot" in command(*words, cwd=place, code=2).stderr


@pytest.mark.parametrize("key", ["task: digits", "tasks: [{task: digits}]"])
def test_a_file_that_is_half_a_task_file_and_half_an_evolve_file_is_told(command, place, tmp_path, key):
    (tmp_path / "both.yaml").write_text(f"data: cars.jsonl\n{key}\n")
    said = command("evolve", "both.yaml", *MODELS, cwd=tmp_path, code=2).stderr
    assert (
        f"both.yaml has `data:`, as a task file has, and `{key.partition(':')[0]}:`, as an evolve file has"
        in said
    )


def test_a_task_file_of_lm_eval_is_no_evolve_file(command, place):
    said = command("evolve", "lm-eval:none.yaml", *MODELS, cwd=place, code=1).stderr
    assert "none.yaml" in said
    assert "Cannot read lm-eval:" not in said
