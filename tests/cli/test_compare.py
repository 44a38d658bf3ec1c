"""`merganser compare`: differences, figures, verdicts; as words and as data."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

STORIES = Path(__file__).parents[1] / "data" / "stories260k"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a base, two fine-tunes, and a stranger with fewer blocks."""
    folder = tmp_path_factory.mktemp("compared")
    tensors = load_file(STORIES / "model.safetensors")
    shutil.copytree(STORIES, folder / "base")
    for seed, name in enumerate(("one", "two", "small")):
        shutil.copytree(STORIES, folder / name)
        generator = torch.Generator().manual_seed(seed)
        noisy = {n: t + 0.02 * torch.randn(t.shape, generator=generator) for n, t in tensors.items()}
        if name == "small":
            noisy = {n: t for n, t in noisy.items() if "layers.4" not in n}
            config = json.loads((folder / name / "config.json").read_text()) | {"num_hidden_layers": 4}
            (folder / name / "config.json").write_text(json.dumps(config))
        save_file(noisy, folder / name / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_words_tell_differences_figures_and_verdicts(place, command):
    done = command("compare", "one", "two", "small", cwd=place)
    said = done.stdout
    assert "one and two\n  tokenizer: the same, 512 tokens" in said
    assert "blocks: 5 against 4" in said
    assert "one and two: merge by linear, slerp (likely)\n  Weights are related: median cosine 0.9" in said
    assert "one and small: route (likely)" in said
    assert "do not fit" in said
    assert "`--json` lists under `thresholds`" in done.stderr


def test_models_of_one_name_are_told_apart(place, command):
    for folder in ("a", "b"):
        shutil.copytree(place / {"a": "one", "b": "two"}[folder], place / folder / "step-100")
    said = command("compare", "a/step-100", "b/step-100", cwd=place).stdout
    assert "a/step-100 and b/step-100: merge" in said
    assert "\nstep-100 and step-100" not in said


def test_a_base_among_the_models_is_noticed_and_a_named_one_is_measured_from(place, command):
    assert (
        "base looks like the base of its relatives"
        in command("compare", "one", "two", "base", cwd=place).stderr
    )
    said = command("compare", "one", "two", "--base", "base", cwd=place).stdout
    assert "length / base" in said
    assert "one and two: route, or else merge by model_stock, linear (likely)" in said
    assert "overlap 1 %" in said
    assert "stable ranks" not in said
    spectra = command("compare", "one", "two", "--base", "base", "--spectra", cwd=place).stdout
    assert "stable ranks" in spectra
    assert "model.layers.4" in spectra


def test_the_last_line_is_json_with_every_layer_and_the_barrier(place, command):
    rows = [{"question": f"Once {i}", "choices": [" He", " She"], "answer": i % 2} for i in range(40)]
    (place / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("compare", "one", "two", "-b", "base", "-t", "questions.jsonl", "--limit", "8", "--json")
    found = json.loads(command(*words, cwd=place).stdout.splitlines()[-1])
    [pair] = found["pairs"]
    assert pair["kin"]["kinship"] == "related"
    assert [point["t"] for point in pair["barrier"]["points"]] == [0, 0.25, 0.5, 0.75, 1]
    [geometry] = found["geometry"]
    assert list(geometry["layers"])[1] == "model.layers.0"
    assert set(geometry["layers"]["model.layers.0"]) == {"all", "attention", "mlp", "norms"}
    assert "barrier (95 %)" in command(*words[:-1], cwd=place).stdout


@pytest.fixture(scope="module")
def texts(place):
    """A file of forty lines, some of them empty."""
    lines = [f"{who} {did}." for did in ("ran home", "was sad", "saw a cat", "sat") for who in "ABCDEFGHIJ"]
    (place / "texts.txt").write_text("\n\n".join(lines))
    return "texts.txt"


def test_data_give_every_pair_its_cka_and_the_folder_its_report(place, texts, command):
    words = ("compare", "one", "two", "-b", "base", "--data", texts, "--texts", "32", "--imprints", "kept")
    done = command(*words, "-o", "out", cwd=place)
    assert "Representations: CKA 0.9" in done.stdout
    assert "CKA (95 %)" in done.stdout
    assert "What to know about CKA\n  32 rows in 2 batches of 16; features have up to 64" in done.stdout
    assert len(list((place / "kept").glob("*.npz"))) == 3
    assert {file.name for file in (place / "out").iterdir()} == {"comparison.json", "report.html"}
    found = json.loads(command(*words, "--json", cwd=place).stdout.splitlines()[-1])
    saved = json.loads((place / "out" / "comparison.json").read_text())
    assert saved == {"kind": "comparison", "version": 1, **found}
    assert len(found["similarity"]["sites"]) == 15
    assert "already" in command(*words, "-o", "out", code=1, cwd=place).stderr
    tokens = command(*words, "--tokens", "some", code=2, cwd=place)
    assert "must be one of mean, last, sampled, all" in tokens.stderr


def test_what_a_task_asks_are_texts_too_and_models_of_other_depth_are_compared(place, command):
    rows = [{"question": f"Once {i}", "choices": [" He", " She"], "answer": i % 2} for i in range(40)]
    (place / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = (
        "compare",
        "one",
        "small",
        "-t",
        "asked.jsonl",
        "--limit",
        "2",
        "--layer",
        "model.layers.3",
        "--json",
    )
    [pair] = json.loads(command(*words, cwd=place).stdout.splitlines()[-1])["pairs"]
    assert [depth["first"] for depth in pair["cka"]["depths"]] == ["model.layers.3"]
    assert pair["verdict"]["action"] == "route"
    assert pair["verdict"]["evidence"][-1].startswith("Representations: CKA")


def test_errors_are_clear(place, command):
    assert "two or more models" in command("compare", "one", code=2, cwd=place).stderr
    assert (
        "is the base and among the models too"
        in command("compare", "one", "two", "--base", "one", code=2, cwd=place).stderr
    )
    assert "nowhere" in command("compare", "one", "nowhere", code=1, cwd=place).stderr
    assert "Expected a base" in command("compare", "one", "two", "--base", "small", code=1, cwd=place).stderr
