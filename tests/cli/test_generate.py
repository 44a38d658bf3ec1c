"""`merganser generate`: models answer side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from merganser.models import GenerationRequest, load

STORIES = Path(__file__).parents[1] / "data" / "stories260k"


@pytest.fixture(scope="module")
def child(command, tmp_path_factory):
    out = tmp_path_factory.mktemp("child") / "model"
    command("merge", STORIES, "-m", "passthrough", "--dtype", "float16", "--out", out, "--quiet")
    return out


def test_a_child_speaks_beside_its_parent(command, child):
    done = command("generate", STORIES, child, "Once upon a time", "--max-tokens", 8)
    expected = load(STORIES).generate([GenerationRequest("Once upon a time", max_tokens=8)])[0].text
    assert done.stdout.count(expected) >= 1
    assert str(STORIES) in done.stdout
    assert str(child) in done.stdout
    assert "8 tokens, tokens;" in done.stdout


def test_prompts_of_a_file_and_stop_strings_as_json(command, tmp_path):
    (tmp_path / "prompts.txt").write_text("Once upon a time\n\nThe dog\n")
    words = ["--file", tmp_path / "prompts.txt", "--stop", ".", "--max-tokens", 40, "--json"]
    done = command("generate", STORIES, *words)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["prompts"] == ["Once upon a time", "The dog"]
    (model,) = found["models"]
    assert [answer["ended"] for answer in model["answers"]] == ["stop", "stop"]
    assert not any("." in answer["text"] for answer in model["answers"])
    assert model["tokens_per_second"] > 0


def test_a_recipe_is_carried_out_in_memory(command, child):
    words = ["-p", "Once upon a time", "--max-tokens", 8, "--json"]
    of_files, of_recipe = (
        json.loads(command("generate", model, *words).stdout.splitlines()[-1])["models"][0]["answers"]
        for model in (child, child / "recipe.json")
    )
    assert of_recipe == of_files


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        ([STORIES], "Expected models and a prompt", 2),
        ([STORIES, "-p", "a", "--file", "b"], "both", 2),
        ([STORIES, "--file", "nothing.txt"], "Cannot read nothing.txt", 2),
        (["no/such/model.gguf", "Hi"], "no such", 1),
        ([STORIES, "Hi", "--chat"], "no chat template", 2),
    ],
)
def test_misuse_is_told(command, words, message, code):
    assert message in command("generate", *words, code=code).stderr
