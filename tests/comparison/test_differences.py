"""Differences of architecture and tokens, in words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from merganser.comparison import Difference, differences_between
from merganser.weights import Checkpoint, open_checkpoint

STORIES = Path(__file__).parents[1] / "data" / "stories260k"


@pytest.fixture
def copy(tmp_path):
    """A copy of the story teller whose tokenizer and settings may be edited."""
    return Path(shutil.copytree(STORIES, tmp_path / "copy"))


def edited(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_copy_differs_in_nothing(copy):
    found = differences_between(open_checkpoint(STORIES), open_checkpoint(copy))
    assert (found.architecture, found.misfit) == ((), None)
    assert found.tokens.is_same
    assert found.words == ("tokenizer: the same, 512 tokens",)


def test_tokens_that_moved_left_or_are_cut_otherwise_are_counted(copy):
    def change(content):
        vocabulary = content["model"]["vocab"]
        first, second, third = [token for token in vocabulary if vocabulary[token] in (300, 301, 302)]
        vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
        vocabulary["quack"] = vocabulary.pop(third)

    edited(copy / "tokenizer.json", change)
    tokens = differences_between(open_checkpoint(STORIES), open_checkpoint(copy)).tokens
    assert (tokens.first, tokens.second, tokens.shared, tokens.same_ids) == (512, 512, 511, 509)
    assert not tokens.is_same
    assert "511 are shared, 509 with the same id; text is cut by different rules" in str(tokens)


def test_settings_that_shapes_do_not_show_are_told(copy):
    edited(copy / "config.json", lambda config: config.update(rope_theta=5e5, dtype="bfloat16"))
    found = differences_between(open_checkpoint(STORIES), open_checkpoint(copy))
    assert found.settings == (Difference("`rope_theta`", 10000.0, 500000.0),)
    assert found.misfit is None


def test_another_depth_is_a_misfit_and_other_rows_for_tokens_are_none():
    def model(depth, rows):
        names = {f"layers.{i}.mlp.weight": torch.ones(4, 4) for i in range(depth)}
        return Checkpoint.from_tensors({"embed_tokens.weight": torch.ones(rows, 4), **names})

    found = differences_between(model(2, 9), model(3, 9))
    assert "layers.2.mlp.weight" in found.misfit
    assert str(found.architecture[0]) == "blocks: 2 against 3"
    assert found.to_json()["architecture"][0] == {"what": "blocks", "first": 2, "second": 3}
    longer = differences_between(model(2, 9), model(2, 12))
    assert longer.misfit is None
    assert "rows for tokens: 9 against 12" in longer.words
    assert longer.settings == ()


def test_what_only_one_says_is_told_as_such():
    first, second = (
        Checkpoint.from_tensors({"w": torch.ones(4)}, config=config)
        for config in ({"model_type": "llama", "text_config": {"hidden_act": "silu"}}, {})
    )
    assert differences_between(first, second).words == (
        "family: llama against unsaid",
        "`hidden_act`: silu against unsaid",
    )
