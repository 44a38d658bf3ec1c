"""`lm-eval:…` as a reference among others: in Python and in the command."""

import json
from pathlib import Path

import numpy as np
import pytest

from merganser.evaluation import LmEvalTask, SplitRule, choose, open_lm_eval, open_task


def sizes(splits):
    return [0 if t is None else len(t.samples) for t in (splits.search, splits.validation, splits.test)]


def test_a_reference_opens_as_open_lm_eval_does(tasks):
    file = tasks.best_word(**tasks.data(train=20, test=12))
    opened, expected = open_task(f"lm-eval:{file}"), open_lm_eval(file)
    assert isinstance(opened.search, LmEvalTask)
    assert [t.digest for t in (opened.search, opened.validation, opened.test)] == [
        t.digest for t in (expected.search, expected.validation, expected.test)
    ]
    other = open_task(f"lm-eval:{file}", SplitRule(seed=1))
    assert other.validation.samples.hashes != opened.validation.samples.hashes


def test_a_relative_path_is_taken_from_where_one_is(tasks, monkeypatch):
    file = Path(tasks.best_word(**tasks.data(train=20, test=12)))
    monkeypatch.chdir(file.parent)
    assert sizes(open_task(f"lm-eval:{file.name}")) == [16, 4, 12]


@pytest.mark.parametrize("kinds", [{"train": 20, "test": 12}, {"test": 32}])
def test_without_a_rule_search_and_test_are_everything(tasks, kinds):
    splits = open_task(f"lm-eval:{tasks.best_word(**tasks.data(**kinds))}", None)
    assert splits.validation is None
    assert len(choose(splits, "all")) == 32


def test_the_notices_are_notes(tasks):
    splits = open_task(f"lm-eval:{tasks.best_word(**tasks.data(test=50))}")
    assert splits.notes == splits.test.notices
    assert "divided by their content" in splits.notes[0]


def test_what_is_right_is_said_by_the_task(tasks):
    file = tasks.best_word(**tasks.data(train=20, test=12))
    with pytest.raises(ValueError, match="A scorer is for files of questions"):
        open_task(f"lm-eval:{file}", scorer="exact")


def test_the_command_scores_what_the_task_scores(command, tasks, storyteller, scores):
    data = tasks.data(train=20, test=12)
    data["dataset_kwargs"]["cache_dir"] = str(tasks.folder / "cache")
    file = Path(tasks.best_word(**data))
    words = ("--task", f"lm-eval:{file.name}", "--json")
    done = command("evaluate", storyteller.folder, *words, cwd=file.parent)
    [found] = json.loads(done.stdout.splitlines()[-1])["results"]
    expected = scores(open_lm_eval(str(file)).test, storyteller)
    assert (found["task"], found["samples"], found["failed"]) == ("best_word", 12, None)
    assert found["score"]["value"] == pytest.approx(np.mean(expected))
    assert 0 < found["score"]["value"] < 1
