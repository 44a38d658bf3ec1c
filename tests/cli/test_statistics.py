"""`merganser statistics`, and merging by what it measured, as a user meets them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from merganser.merging import open_statistics
from merganser.models import perceptron_size, perceptron_tensors
from merganser.weights import open_checkpoint, save

STORIES = Path(__file__).parents[1] / "data" / "stories260k"
TEXTS = ["Once upon a time there was a duck.", "The duck liked fish, and it could dive. " * 12, "One day"]


def last_json(done):
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two small language models with a real tokenizer, texts, and two perceptrons."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("statistics")
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    for i in (1, 2):
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=512))
        torch.manual_seed(i)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.02 * torch.randn_like(p))
        model.save_pretrained(folder / f"llama{i}")
        for file in STORIES.glob("*token*.json"):
            shutil.copy(file, folder / f"llama{i}")
        flat = np.random.default_rng(i).standard_normal(perceptron_size((64, 8, 10))).astype(np.float32)
        save(perceptron_tensors(flat / 8, (64, 8, 10)), folder / f"mlp{i}")
    (folder / "tales.txt").write_text(" ".join(TEXTS))
    (folder / "tales.jsonl").write_text("\n".join(json.dumps({"text": each}) for each in TEXTS))
    return folder


@pytest.fixture
def run(place, command):
    """Runs a command where the models are."""

    def run(*words, code=0):
        return command(*words, code=code, cwd=place)

    return run


def test_language_models_are_measured_merged_and_verified(run, place):
    for i in (1, 2):
        done = run(
            "statistics", f"llama{i}", "--data", "tales.txt", "--out", f"gram{i}.safetensors", "--json"
        )
        [facts] = last_json(done)["files"]
        assert facts["kind"] == "gram"
        assert facts["weights"] == 2 * 7 + 1
        assert facts["samples"] == 1
    options = ["--statistics", "gram1.safetensors", "--statistics", "gram2.safetensors"]
    run("merge", "llama1", "llama2", "--method", "regmean", *options, "--out", "merged")
    assert "tensors, byte by byte" in run("verify", "merged").stderr
    parts = [open_checkpoint(place / f"llama{i}") for i in (1, 2)]
    name = "model.layers.0.mlp.up_proj.weight"
    mean = sum(part.read(name) for part in parts) / 2
    merged = open_checkpoint(place / "merged")
    assert not torch.allclose(merged.read(name), mean, atol=1e-4)
    norm = "model.norm.weight"
    torch.testing.assert_close(merged.read(norm), sum(part.read(norm) for part in parts) / 2)


def test_a_model_is_measured_by_its_names_on_disk(run, place):
    from transformers import LlamaConfig, LlamaModel

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaModel(LlamaConfig(**sizes, vocab_size=512, tie_word_embeddings=True)).save_pretrained(place / "bare")
    for file in STORIES.glob("*token*.json"):
        shutil.copy(file, place / "bare")
    run("statistics", "bare", "--data", "tales.txt", "--out", "bare.safetensors")
    measured = set(open_statistics(place / "bare.safetensors").tensors)
    assert "layers.0.mlp.down_proj.weight" in measured
    assert measured < set(open_checkpoint(place / "bare"))


def test_jsonl_and_limits(run, place):
    words = [
        "statistics",
        "llama1",
        "--data",
        "tales.jsonl",
        "--max-tokens",
        "16",
        "--samples",
        "5",
        "--json",
    ]
    [facts] = last_json(run(*words, "--out", "limited.safetensors"))["files"]
    assert facts["samples"] == 5
    assert facts["tokens"] <= 5 * 16
    assert "exists" in run(*words, "--out", "limited.safetensors", code=1).stderr
    run(*words, "--out", "limited.safetensors", "--overwrite")


def test_fisher_information_of_a_language_model(run, place):
    for i in (1, 2):
        run("statistics", f"llama{i}", "--data", "tales.jsonl", "--kind", "fisher", "--out", f"fisher{i}")
    options = ["--statistics", "fisher1", "--statistics", "fisher2"]
    run("merge", "llama1", "llama2", "--method", "fisher", *options, "--out", "by-fisher")
    assert set(open_statistics(place / "fisher1").tensors) == set(open_checkpoint(place / "llama1"))


def test_models_are_measured_together_for_regmean_plus_plus(run, place):
    run("statistics", "llama1", "llama2", "--merged", "--data", "tales.jsonl", "--out", "together")
    files = sorted(map(str, (place / "together").iterdir()))
    assert [Path(file).name for file in files] == ["1-llama1.safetensors", "2-llama2.safetensors"]
    options = [word for file in files for word in ("--statistics", file)]
    run("merge", "llama1", "llama2", "-m", "regmean_plus_plus", *options, "--out", "walked")
    done = run("merge", "llama1", "llama2", "-m", "regmean", *options, "--out", "no", code=2)
    assert "`regmean` needs Gram matrices" in done.stderr


def test_perceptrons_are_measured_on_arrays(run, place):
    for i in (1, 2):
        run("statistics", f"mlp{i}", "--data", "digits", "--samples", "200", "--out", f"mlp{i}.safetensors")
    found = open_statistics(place / "mlp1.safetensors")
    assert found.inputs_first == {"layers.0.weight", "layers.1.weight"}
    assert found.tensors.read("layers.0.weight").shape == (64, 64)
    options = ["--statistics", "mlp1.safetensors", "--statistics", "mlp2.safetensors"]
    run("merge", "mlp1", "mlp2", "--method", "regmean", *options, "--out", "mlp")


def test_a_merge_without_statistics_says_how_to_get_them(run):
    done = run("merge", "llama1", "llama2", "--method", "regmean", "--out", "no", code=2)
    assert "--statistics FILE" in done.stderr
    assert "merganser statistics MODEL --data FILE --out FILE" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["llama1", "--data", "tales.txt", "--kind", "mean"], "--kind must be gram or fisher"),
        (["llama1", "llama2", "--data", "tales.txt"], "one at a time"),
        (["llama1", "--data", "tales.txt", "--merged", "--kind", "fisher"], "does not go with"),
        (["llama1", "--data", "tales.txt", "--data", "tales.txt"], "Expected --data once"),
        (["llama1", "--data", "tales.md"], "Expected `digits`"),
        (["llama1", "--data", "none.txt"], "cannot be read as text"),
        (["mlp1", "--data", "tales.txt"], "`model_type` that transformers"),
    ],
)
def test_what_does_not_go_is_said(words, message, command, place):
    done = command.wait(command.start("statistics", *words, "--out", "no.safetensors", cwd=place))
    assert done.code in (1, 2)
    assert message in done.stderr


def test_methods_say_what_they_need(run):
    assert "statistics: fisher, of every model" in run("methods", "fisher").stderr
    needs = {m["name"]: m["statistics"] for m in last_json(run("methods", "--json"))["methods"]}
    assert (needs["regmean"], needs["regmean_plus_plus"], needs["linear"]) == ("gram", "merged_gram", None)
