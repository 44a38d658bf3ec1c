"""`merganser route layers`: from models and texts to a folder that other commands open."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

STORIES = Path(__file__).parents[1] / "data" / "stories260k"
TEXT = "Once upon a time there was a little dog. He loved to play in the park with his friend Lily. " * 12


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models whose MLPs differ from those of the storyteller, and texts."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("models")
    (folder / "texts.txt").write_text(TEXT)
    tensors = load_file(STORIES / "model.safetensors")
    for number, name in enumerate(("near", "far")):
        shutil.copytree(STORIES, folder / name)
        generator = torch.Generator().manual_seed(number)
        noisy = {
            n: t + (0.02, 0.2)[number] * torch.randn(t.shape, generator=generator) if ".mlp." in n else t
            for n, t in tensors.items()
        }
        save_file(noisy, folder / name / "model.safetensors", metadata={"format": "pt"})
    return folder


def options(models, out, *more):
    return [
        *("route", "layers", models / "near", models / "far", "--data", models / "texts.txt", "--out", out),
        *("--most-tokens", 24, "--batch", 4, "--steps", 12, "--every", 4, "--learning-rate", 0.05, *more),
    ]


def test_a_routed_folder_is_made_generates_and_is_evaluated(command, models, tmp_path):
    out = tmp_path / "routed"
    done = command(*options(models, out, "--base", STORIES, "--with-base", "--json"))
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["experts"] == ["near", "far", "base"]
    assert found["parameters"] == 3 * 64 * 5
    assert found["loss"] < found["loss_before"]
    assert all(shares[1] < shares[0] for shares in found["usage"])  # the disturbed one is used less
    assert not list(tmp_path.glob("*.training*"))
    page = (out / "report.html").read_text()
    for words in ("Who is used where", "How undecided the routers are", "texts.txt"):
        assert words in page
    said = command("generate", out, "Once upon a time", "--max-tokens", 5, "--json")
    assert json.loads(said.stdout.splitlines()[-1])["models"][0]["answers"][0]["tokens"] == 5
    (tmp_path / "q.jsonl").write_text(
        "\n".join(json.dumps({"question": f"{n} dogs and a", "answer": " cat"}) for n in range(12))
    )
    scored = command("evaluate", out, "--task", tmp_path / "q.jsonl", "--split", "all", "--json")
    assert len(json.loads(scored.stdout.splitlines()[-1])["results"]) == 1


def test_the_report_shows_files_apart(command, models, tmp_path):
    (tmp_path / "texts.txt").write_text("The cat sat on the mat and saw a bird in the tree. " * 12)
    out = tmp_path / "routed"
    command(*options(models, out, "--data", tmp_path / "texts.txt"))
    page = (out / "report.html").read_text()
    assert f"{models.name}/texts.txt" in page
    assert f"{tmp_path.name}/texts.txt" in page


def test_the_levels_and_a_table(command, models, tmp_path):
    words = ("--level", "cross-depth", "--reach", 2, "--own-bias", 4, "--top-k", 2, "--self-contained")
    done = command(*options(models, tmp_path / "routed", "--base", STORIES, *words))
    assert "parameters trained" in done.stdout
    assert "loss on held-out windows" in done.stdout
    facts = json.loads((tmp_path / "routed" / "routed.json").read_text())
    assert facts["routing"] == {"level": "cross-depth", "reach": 2, "top_k": 2, "mlps": None, "own_bias": 4.0}
    assert (tmp_path / "routed" / "trunk" / "tokenizer.json").is_file()


def test_a_trunk_that_the_models_were_not_tuned_on_is_said(command, models, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(STORIES, tmp_path / "other")
    moved = {n: t * 1.1 for n, t in load_file(STORIES / "model.safetensors").items()}
    save_file({n: t.to(torch.float32) for n, t in moved.items()}, tmp_path / "other" / "model.safetensors")
    done = command(*options(models, tmp_path / "routed", "--trunk", tmp_path / "other"))
    assert "near differs from the trunk by 9.1 % of the trunk's length" in done.stderr


@pytest.mark.parametrize(
    ("more", "message", "code"),
    [
        (["--level", "deep"], "Expected a level of static, single", 2),
        (["--with-base"], "--with-base needs a base", 2),
        (["--reach", 2], "Only `cross-depth` has a reach", 2),
        (["--data", "none.txt"], "none.txt cannot be read", 1),
        (["--mlps", "model.*.feed"], "has no parts called", 2),
    ],
)
def test_misuse_is_said(command, models, tmp_path, more, message, code):
    done = command(*options(models, tmp_path / "routed", *more), code=code)
    assert message in done.stderr.replace("\n", " ")
    assert not (tmp_path / "routed").exists()


def test_what_is_there_is_not_replaced_unless_asked(command, models, tmp_path):
    (tmp_path / "routed").mkdir()
    done = command(*options(models, tmp_path / "routed"), code=1)
    assert "exists already" in done.stderr
