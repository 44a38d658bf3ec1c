"""`merganser series`: a row for each step, when to stop, the folder that is written."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

STORIES = Path(__file__).parents[1] / "data" / "stories260k"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two models that drift from one base, in two steps; one of them has a third."""
    folder = tmp_path_factory.mktemp("series")
    tensors = load_file(STORIES / "model.safetensors")
    shutil.copytree(STORIES, folder / "base")
    for seed, (name, steps) in enumerate((("A", (10, 200)), ("B", (10, 200, 300)))):
        generator = torch.Generator().manual_seed(seed)
        way = {n: torch.randn(t.shape, generator=generator) for n, t in tensors.items()}
        for step in steps:
            target = folder / name / f"checkpoint-{step}"
            shutil.copytree(STORIES, target)
            moved = {n: t + 0.0005 * step * way[n] for n, t in tensors.items()}
            save_file(moved, target / "model.safetensors", metadata={"format": "pt"})
    rows = [{"question": f"Once {i}", "choices": [" He", " She"], "answer": i % 2} for i in range(40)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_each_step_has_its_row_and_the_folder_its_report(place, command):
    words = ("series", "A", "B/checkpoint-*", "-b", "base", "-t", "questions.jsonl", "--limit", "8")
    done = command(*words, "--out", "out", cwd=place)
    head, *rows = done.stdout.splitlines()
    assert head.split()[:5] == ["step", "A", "/", "base", "B"]
    assert [row.split()[0] for row in rows[:2]] == ["10", "200"]
    assert "best" in done.stdout
    assert "The average of both scores best after " in done.stdout
    assert "has step 300: left out" in done.stderr
    assert {file.name for file in (place / "out").iterdir()} == {"series.json", "report.html"}
    saved = json.loads((place / "out" / "series.json").read_text())
    assert [step["step"] for step in saved["steps"]] == [10, 200]
    assert saved["steps"][0]["cka"]["cka"]["value"] > saved["steps"][1]["cka"]["cka"]["value"]


def test_without_a_task_weights_alone_are_told_and_the_last_line_is_json(place, command):
    found = json.loads(command("series", "A", "B", "--json", cwd=place).stdout.splitlines()[-1])
    assert found["best"] is None
    assert found["left_out"] == [300]
    assert "no step can be called the best" in command("series", "A", "B", cwd=place).stdout


def test_errors_are_clear(place, command):
    assert "cannot be read as a folder" in command("series", "A", "nowhere", code=1, cwd=place).stderr
    assert "two or more steps" in command("series", "A", "B/checkpoint-300", code=2, cwd=place).stderr
