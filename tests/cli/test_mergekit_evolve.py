"""A file for mergekit-evolve runs unchanged: its models, its method, its tasks by lm-eval name."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from merganser import ConfigError
from merganser.interop import as_evolve_file, is_mergekit_evolve, parse_mergekit_evolve
from merganser.run import RunDirectory, parse_settings
from merganser.weights import open_checkpoint

STORIES = Path(__file__).parents[1] / "data" / "stories260k"


def text(**genome):
    whole = {"models": [str(STORIES), "b"], "merge_method": "linear", **genome}
    return yaml.safe_dump({"genome": whole, "tasks": [{"name": "arc_easy"}]})


def converted(**genome):
    return as_evolve_file(parse_mergekit_evolve(text(**genome)), open_checkpoint(STORIES).layers)


def test_groups_of_layers_take_the_embeddings_with_the_first_and_norm_and_head_with_the_last():
    groups = converted(layer_granularity=5)["genome"]["groups"]
    assert list(groups) == ["layers 0 to 4"]
    groups = converted(layer_granularity=1)["genome"]["groups"]
    assert len(groups) == 5
    assert groups["layers 0 to 0"] == ["model.layers.0.", "model.embed_tokens.weight"]
    assert groups["layers 4 to 4"] == ["model.layers.4.", "model.norm.weight"]


def test_weights_are_normalised_where_mergekit_does_and_may_be_negative_if_the_file_says_so():
    genome = converted(merge_method="dare_ties", base_model="x", allow_negative_weights=True)["genome"]
    assert genome["genes"] == {"weight": (-1.0, 1.0), "density": (0.0, 1.0)}
    assert genome["parameters"] == {"normalize": True}
    assert converted(merge_method="task_arithmetic", base_model="x")["genome"]["parameters"] == {
        "normalize": False
    }


def test_what_is_made_is_an_evolve_file_with_the_options_of_lm_eval():
    settings = parse_settings(converted(filters=["mlp", "attn"]), "test")
    assert settings.genome.groups == {"mlp": ("mlp",), "attn": ("attn",)}
    assert settings.tasks[0].lm_eval.metric == "acc,none"
    assert settings.budget.evaluations == 100


@pytest.mark.parametrize(
    ("genome", "said"),
    [
        ({"smooth": True}, "smooth"),
        ({"layer_granularity": 2}, "must divide the number of layers, but the models have 5"),
        ({"layer_granularity": 1, "filters": ["mlp"]}, "either layers or filters"),
        ({"merge_method": "slerp", "models": ["a", "b", "c"]}, "names 3"),
    ],
)
def test_what_evolve_files_cannot_say_is_refused(genome, said):
    with pytest.raises(ConfigError, match=said):
        converted(**genome)


def test_a_file_runs_unchanged(tmp_path, command):
    pytest.importorskip("lm_eval")
    tuned = tmp_path / "tuned"
    shutil.copytree(STORIES, tuned)
    generator = torch.Generator().manual_seed(0)
    tensors = load_file(STORIES / "model.safetensors")
    noisy = {
        n: (t + 0.02 * torch.randn(t.shape, generator=generator)).contiguous() for n, t in tensors.items()
    }
    save_file(noisy, tuned / "model.safetensors", metadata={"format": "pt"})
    words = ("dog", "cat", "sun", "ball", "tree")
    rows = [
        {"question": f"{i}. The {words[i % 5]} was", "choices": ["happy.", "of the."], "gold": 0}
        for i in range(30)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = {
        "task": "endings",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}},
        "output_type": "multiple_choice",
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{gold}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    (tmp_path / "endings.yaml").write_text(yaml.safe_dump(task))
    file = tmp_path / "theirs.yml"
    whole = {"models": [str(STORIES), str(tuned)], "merge_method": "slerp"}
    asked = [{"name": str(tmp_path / "endings.yaml"), "metric": "acc,none"}]
    file.write_text(yaml.safe_dump({"genome": whole, "tasks": asked, "apply_chat_template": False}))
    assert is_mergekit_evolve(file)
    done = command("evolve", file, "--budget", 8, "--search", "random", "--run", tmp_path / "run", "--quiet")
    assert "here they are divided" in done.stderr
    with RunDirectory(tmp_path / "run").journal() as journal:
        assert journal.outcome()["evaluations"] == 8
