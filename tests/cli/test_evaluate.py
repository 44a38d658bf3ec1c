"""`merganser evaluate` end to end: tables, JSON, samples, exit codes."""

import json
from pathlib import Path

import numpy as np
import pytest

from merganser.evaluation import open_task
from merganser.models import perceptron_size, perceptron_tensors
from merganser.weights import Checkpoint, save

WIDTHS = (64, 16, 10)
STORIES = Path(__file__).parent.parent / "data" / "stories260k"


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """Two small networks, and one that has become NaN."""
    folder = tmp_path_factory.mktemp("nets")
    generator = np.random.default_rng(0)
    for name in ("first", "second"):
        save(_checkpoint(generator.normal(size=perceptron_size(WIDTHS))), folder / name)
    save(_checkpoint(np.full(perceptron_size(WIDTHS), np.nan)), folder / "nan")
    return folder


def _checkpoint(values):
    return Checkpoint.from_tensors(perceptron_tensors(values.astype(np.float32), WIDTHS))


def last_json(done):
    return json.loads(done.stdout.splitlines()[-1])


def test_two_models_with_intervals_difference_and_every_sample(command, nets, small_npz, tmp_path):
    out = tmp_path / "deep" / "samples.jsonl"
    done = command("evaluate", nets / "first", nets / "second", "-t", small_npz, "--samples", out, "--json")
    first, second = last_json(done)["results"]
    assert (first["model"], first["split"], first["samples"]) == (str(nets / "first"), "test", 100)
    assert first["score"]["low"] <= first["score"]["value"] <= first["score"]["high"]
    assert first["difference"] is None
    gap = second["score"]["value"] - first["score"]["value"]
    assert second["difference"]["value"] == pytest.approx(gap)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 200
    mine = [row["score"] for row in rows if row["model"] == first["model"]]
    assert np.mean(mine) == pytest.approx(first["score"]["value"])
    assert [row["sample"] for row in rows[:100]] == list(open_task(str(small_npz)).test.samples.hashes)
    assert "Scored on the test split" in done.stderr


def test_several_tasks_a_limit_and_another_split_in_a_table(command, nets, small_npz):
    words = ("--task", small_npz, "--task", "digits", "--split", "all", "--limit", 50)
    done = command("evaluate", nets / "first", *words)
    assert "small [50 of 400]" in done.stdout
    assert "digits [50 of 1,797]" in done.stdout
    assert "beside the first" not in done.stdout
    assert done.stderr == ""


def test_a_model_that_became_nan_fails_and_the_other_is_scored(command, nets, small_npz):
    done = command("evaluate", nets / "nan", nets / "first", "-t", small_npz, "--json", "--quiet", code=1)
    broken, fine = last_json(done)["results"]
    assert "nan" in broken["failed"]
    assert fine["score"]["value"] > 0
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nothing_there", "-t", "digits"), 1, "nothing_there"),
        (("first", "-t", "nothing.jsonl"), 1, "No such file"),
        (("first", "-t", "digits", "--split", "dev"), 2, "Expected a split of"),
        (("first", "-t", "digits", "--scorer", "exact"), 2, "A scorer is for files of questions"),
        (("first", "-t", "digits", "--limit", "0"), 2, "limit"),
        (("first",), 2, "--task"),
    ],
)
def test_misuse_ends_with_a_clear_message(command, nets, words, code, message):
    done = command("evaluate", *words, cwd=nets, code=code)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def speaker(tmp_path_factory):
    """A real Llama of random weights with the real tokenizer of stories260K."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=512,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=256,
    )
    folder = tmp_path_factory.mktemp("speaker") / "llama"
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    for file in STORIES.glob("*token*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_a_language_model_answers_chooses_and_is_measured(command, speaker, tmp_path):
    rows = [{"question": f"{a} + 1?", "answer": str(a + 1)} for a in range(10)]
    (tmp_path / "sums.jsonl").write_text("\n".join(map(json.dumps, rows)))
    chosen = [{"question": f"{a} or?", "choices": ["Tim", "a cat"], "label": a % 2} for a in range(10)]
    (tmp_path / "choices.jsonl").write_text("\n".join(map(json.dumps, chosen)))
    texts = [{"text": f"Once upon a time there were {a} cats."} for a in range(10)]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, texts)))
    (tmp_path / "short.yaml").write_text("data: sums.jsonl\nmax_tokens: 8\n")
    tasks = [
        word for name in ("short.yaml", "choices.jsonl", "texts.jsonl") for word in ("-t", tmp_path / name)
    ]
    out = tmp_path / "samples.jsonl"
    done = command("evaluate", speaker, *tasks, "--split", "all", "--samples", out, "--json")
    found = last_json(done)["results"]
    assert [r["task"] for r in found] == ["short", "choices", "texts"]
    assert all(r["samples"] == 10 and r["failed"] is None for r in found)
    assert 0 < found[2]["score"]["value"] < 0.5  # random weights: about 512 equally likely tokens
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 30
    assert all(row["response"] for row in rows[10:])
    assert all(row["score"] == 1 or row["reason"] for row in rows[:20])


def test_episodes_are_written_with_their_turns(command, tmp_path):
    (tmp_path / "shop.yaml").write_text(
        "environment: shop\ngoals: 10\nproducts: 50\nsteps: 2\nmax_tokens: 6\nwindow: 0\n"
    )
    out = tmp_path / "episodes.jsonl"
    done = command("evaluate", STORIES, "-t", tmp_path / "shop.yaml", "--samples", out, "--json")
    assert last_json(done)["results"][0]["samples"] == 2
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["score"], row["ended"], len(row["turns"])) for row in rows] == [(0, "steps", 2)] * 2
    assert rows[0]["turns"][0]["observation"].startswith(f"Instruction: {rows[0]['question']}")
