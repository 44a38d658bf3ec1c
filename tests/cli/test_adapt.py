"""`merganser adapt mix | dispatch | run`: from experts and tasks to models that other commands open."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

STORIES = Path(__file__).parents[1] / "data" / "stories260k"
NAMES = ("cats", "dogs")
PROMPTS = ("Once upon a time", "Tom saw a dog and", "Lily")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two experts, a task of each, an experts file."""
    import torch

    from merganser.adaptation import ExpertVector, decompose, save_expert
    from merganser.weights import open_checkpoint

    folder = tmp_path_factory.mktemp("adapt")
    factors = decompose(open_checkpoint(STORIES))
    lines = [f"base: {STORIES}", "experts:"]
    for seed, name in enumerate(NAMES):
        generator = torch.Generator().manual_seed(seed)
        logits = {n: torch.randn(len(factors[n].sigma), generator=generator) for n in factors}
        save_expert(ExpertVector.from_logits(logits, factors), folder / f"{name}.safetensors")
        lines.append(f"  {name}: {{file: {name}.safetensors, description: of {name}, task: {name}.jsonl}}")
    for name in (*NAMES, "other"):
        rows = [{"question": f"{n} {name} ran and", "answer": "away"} for n in range(30)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "experts.yaml").write_text("\n".join([*lines, "other: other.jsonl", ""]))
    return folder


def experts(place):
    return [f"-e{name}={place / name}.safetensors:of {name}" for name in NAMES]


def facts_of(done):
    return json.loads(done.stdout.splitlines()[-1])


def test_a_mixture_by_hand_is_one_expert_or_a_model_that_others_open(command, place, tmp_path):
    weights = ("--weights", "cats=0.5,dogs=0.25")
    command("adapt", "mix", STORIES, *experts(place), *weights, "--out", tmp_path / "both.safetensors")
    command("adapt", "mix", STORIES, *experts(place), *weights, "--out", tmp_path / "model")
    from merganser.adaptation import mix, open_expert

    both = [open_expert(place / f"{name}.safetensors") for name in NAMES]
    wanted, found = mix(both, [0.5, 0.25]), open_expert(tmp_path / "both.safetensors")
    assert all((wanted.gains(n) == found.gains(n)).all() for n in wanted)
    said = facts_of(command("generate", tmp_path / "model", PROMPTS[0], "--max-tokens", 8, "--json"))
    mine = command(
        *("adapt", "run", STORIES, PROMPTS[0], "-e", f"both={tmp_path / 'both.safetensors'}"),
        *("--strategy", "fixed:both", "--max-tokens", 8, "--json"),
    )
    assert said["models"][0]["answers"][0]["text"] == facts_of(mine)["requests"][0]["text"]
    scored = command(
        "evaluate", tmp_path / "model", STORIES, "--task", place / "cats.jsonl", "--split", "all", "--json"
    )
    assert len(facts_of(scored)["results"]) == 2


def test_a_mixture_is_searched_on_shots_and_shown(command, place, tmp_path):
    done = command(
        *(
            "adapt",
            "mix",
            place / "experts.yaml",
            "--task",
            place / "cats.jsonl",
            "--shots",
            3,
            "--held-out",
            4,
        ),
        *("--budget", 7, "--population", 4, "--per-matrix", "--out", tmp_path / "model"),
        *("--report", tmp_path / "page.html", "--json"),
    )
    found = facts_of(done)["search"]
    assert (found["shots"], found["held_out"]) == (3, 4)
    assert [each["name"] for each in found["standings"]] == ["mixture", *NAMES, "uniform", "base"]
    assert "mixtures in" in done.stderr
    page = (tmp_path / "page.html").read_text()
    for words in ("Beside experts, uniform mix and base", "matrix by matrix", "The search"):
        assert words in page


def test_experts_are_merged_by_a_method_of_the_house(command, place, tmp_path):
    out = tmp_path / "both.safetensors"
    command("adapt", "mix", STORIES, *experts(place), "--method", "ties", "--out", out)
    from merganser.adaptation import open_expert

    found = open_expert(out)
    assert found.facts == {"mixed": "cats, dogs", "method": "ties"}
    assert any(found.gains(name).any() for name in found)


def test_requests_are_answered_traced_and_the_model_kept(command, place, tmp_path):
    words = ("adapt", "run", STORIES, *PROMPTS, *experts(place), "--max-tokens", 6)
    done = command(*words, "--save", tmp_path / "model", "--report", tmp_path / "page.html", "--json")
    found = facts_of(done)
    assert found["strategy"]["kind"] == "prompt"
    assert [each["request"] for each in found["requests"]] == list(PROMPTS)
    assert all(each["first"]["read"] > each["second"]["read"] for each in found["requests"])
    assert "sure" in done.stderr
    assert "What the two passes cost" in (tmp_path / "page.html").read_text()
    again = facts_of(command("adapt", "run", tmp_path / "model", *PROMPTS, "--max-tokens", 6, "--json"))
    assert [r["text"] for r in again["requests"]] == [r["text"] for r in found["requests"]]
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    said = command(
        "generate", tmp_path / "model", "--file", tmp_path / "prompts.txt", "--max-tokens", 6, "--json"
    )
    texts = [each["text"] for each in facts_of(said)["models"][0]["answers"]]
    assert texts == [r["text"] for r in found["requests"]]


def test_tasks_are_scored_and_who_answers_is_counted(command, place, tmp_path):
    tasks = [f"--task={name}={place / name}.jsonl" for name in (*NAMES, "other")]
    done = command(
        *("adapt", "run", place / "experts.yaml", *tasks, f"--task={place / 'cats.jsonl'}", "--limit", 3),
        *("--report", tmp_path / "page.html", "--json"),
    )
    found = facts_of(done)
    assert len(found["evaluation"]["results"]) == 4
    assert found["confusion"]["for"] == [*NAMES, "other"]
    assert found["confusion"]["answered"] == [*NAMES, "other"]
    assert [sum(row) for row in found["confusion"]["counts"]] == [3, 3, 3]
    assert "came to whom they were for" in done.stderr
    assert "Who answers what" in (tmp_path / "page.html").read_text()


def test_a_dispatcher_is_trained_on_a_task_of_its_own_and_asked(command, place, tmp_path):
    done = command(
        "adapt", "dispatch", place / "experts.yaml", "--out", tmp_path / "d.yaml", "--limit", 4, "--json"
    )
    assert facts_of(done)["labels"] == [*NAMES, "other"]
    assert facts_of(done)["rows"]["search"] == 4
    scored = facts_of(command("evaluate", STORIES, "--task", tmp_path / "d.yaml", "--json"))
    assert scored["results"][0]["samples"] > 0
    (tmp_path / "template.txt").write_text("{request} is about")
    words = ("--strategy", "expert", "--dispatcher", "dogs", "--template", tmp_path / "template.txt")
    found = facts_of(command("adapt", "run", STORIES, "Tom", *experts(place), *words, "--json"))
    assert found["strategy"]["dispatcher"] == "dogs"
    assert found["strategy"]["prompt"]["template"] == "{request} is about"
    assert found["requests"][0]["expert"] in ("cats", None)


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["run", STORIES, "Tom"], "Expected experts for the base, found none", 2),
        (["run", STORIES, "-e", "cats"], "found none of them", 2),
        (["run", STORIES, "Tom", "-e", "cats"], "Expected --expert NAME=FILE.safetensors[:DESCRIPTION]", 2),
        (["run", "EXPERTS", "Tom", "--strategy", "luck"], "found 'luck'", 2),
        (
            ["run", "EXPERTS", "Tom", "--strategy", "fixed:cat"],
            "needs an expert 'cat'; there are: cats, dogs",
            2,
        ),
        (["run", "EXPERTS", "Tom", "--strategy", "expert"], "--dispatcher NAME", 2),
        (["run", "EXPERTS", "--task", "fish=x.jsonl"], "There is no expert 'fish'", 2),
        (
            ["run", "EXPERTS", "--report", "x.html", "--save", "x"],
            "--report shows what became of requests",
            2,
        ),
        (
            ["mix", "EXPERTS", "--out", "x.safetensors"],
            "one of --weights, --task and --method, found none",
            2,
        ),
        (["mix", "EXPERTS", "--out", "x", "--method", "ties"], "--out FILE.safetensors, not x", 2),
        (["mix", "EXPERTS", "--out", "x", "--weights", "cats"], "Expected --weights NAME=0.7", 2),
        (["mix", "EXPERTS", "--out", "x", "--weights", "cat=1"], "needs an expert 'cat'", 2),
        (["dispatch", "EXPERTS", "--out", "x.jsonl"], "A task file ends in .yaml", 2),
        (["run", "EXPERTS", "Tom", "--file", "none.txt"], "found both", 2),
    ],
)
def test_misuse_is_said(command, place, tmp_path, words, message, code):
    words = [place / "experts.yaml" if word == "EXPERTS" else word for word in words]
    done = command("adapt", *words, code=code, cwd=tmp_path)
    assert message in done.stderr.replace("\n", " ")
    assert not any(tmp_path.iterdir())


def test_an_expert_of_another_base_is_refused_with_both_digests(command, place, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(STORIES, tmp_path / "other")
    changed = {n: t * (2 if ".mlp." in n else 1) for n, t in load_file(STORIES / "model.safetensors").items()}
    save_file(changed, tmp_path / "other" / "model.safetensors", metadata={"format": "pt"})
    done = command("adapt", "run", tmp_path / "other", "Tom", *experts(place), code=1)
    assert "made for another base: expected" in done.stderr.replace("\n", " ")
