"""Files of experts on the command line: compared by their scales, evolved over their base."""

import json
from pathlib import Path

import pytest
import torch

from merganser import open as open_model
from merganser.adaptation import ExpertVector, decompose, identity, open_expert, save_expert

pytest.importorskip("transformers")

STORIES = Path(__file__).parents[1] / "data" / "stories260k"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An expert, its opposite in scales, and one of another base."""
    place = tmp_path_factory.mktemp("experts")
    factors = decompose(open_model(STORIES))
    generator = torch.Generator().manual_seed(0)
    gains = {name: torch.rand(len(factors[name].sigma), generator=generator) - 0.5 for name in factors}
    for name, sign in {"up": 1, "down": -1}.items():
        expert = ExpertVector.from_gains({n: sign * g for n, g in gains.items()}, factors.digests)
        save_expert(expert, place / f"{name}.safetensors")
    elsewhere = ExpertVector.from_gains(gains, dict.fromkeys(gains, "0" * 64))
    save_expert(elsewhere, place / "elsewhere.safetensors")
    (place / "stories").symlink_to(STORIES)
    return place


@pytest.mark.parametrize("base", [[], ["--base", "stories"]])
def test_experts_are_compared_by_their_scales(folder, command, base):
    told = command("compare", "up.safetensors", "down.safetensors", *base, "--json", cwd=folder)
    pair = json.loads(told.stdout)["pairs"][0]
    assert pair["task_vectors"]["cosine"] == pytest.approx(-1)
    assert pair["task_vectors"]["opposite"] == pytest.approx(1)
    scales = [open_expert(folder / f"{name}.safetensors").as_checkpoint() for name in ("up", "down")]
    ones = identity(open_expert(folder / "up.safetensors")).as_checkpoint()
    from merganser.comparison import compare

    expected = compare(scales, ones).to_json()["pairs"][0]
    assert pair["task_vectors"] == expected["task_vectors"]


def test_experts_are_told_what_their_verdict_rests_on(folder, command):
    told = command("compare", "up.safetensors", "down.safetensors", cwd=folder)
    assert "not of experts" in " ".join(told.stderr.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["up.safetensors", "stories"], "up.safetensors is an expert and stories is none"),
        (["up.safetensors", "elsewhere.safetensors"], "Expected experts of one base"),
        (["elsewhere.safetensors", "elsewhere.safetensors", "--base", "stories"], "for another base"),
        (["up.safetensors", "down.safetensors", "--task", "digits"], "neither `--task` nor"),
    ],
)
def test_experts_that_cannot_be_compared_are_refused(folder, command, words, said):
    told = command("compare", *words, cwd=folder, code=1 if "base" in words[-2] else 2)
    assert said in " ".join(told.stderr.split())


def test_experts_are_not_merged_as_weights(folder, command):
    told = command("merge", "up.safetensors", "down.safetensors", "--out", "no", cwd=folder, code=2)
    assert "up.safetensors is an expert" in " ".join(told.stderr.split())
    assert not (folder / "no").exists()


def test_experts_evolve_and_the_run_is_shown_with_its_report(folder, command):
    rows = [
        {"question": f"{i}. Tom lost", "choices": [" his toy.", " lost lost."], "answer": 0}
        for i in range(40)
    ]
    (folder / "toys.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "toys.yaml").write_text(
        "data: toys.jsonl\nscorer: choice:probability\ntemplate: '{question}'\nanswer: '{choice}'\n"
    )
    models = [word for name in ("up.safetensors", "down.safetensors", "stories") for word in ("-m", name)]
    given = [*models, "--adapt", "stories", "--seed", "1", "--budget", "8", "--quiet"]
    command("evolve", "toys.yaml", *given, "--run", "run", "--out", "best.safetensors", cwd=folder)
    assert open_expert(folder / "best.safetensors").facts["run"] == "run"
    assert (folder / "run" / "report.html").is_file()
    assert "8" in command("runs", "show", "run", cwd=folder).stdout
    command("runs", "export", "run", "--out", "whole", cwd=folder)
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= {
        path.name for path in (folder / "whole").iterdir()
    }
