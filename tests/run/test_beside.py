"""What is scored beside the aim: watched tasks and baselines, never selected on."""

import numpy as np
import pytest

from merganser import ConfigError, save
from merganser.merging import merge
from merganser.models import Perceptron
from merganser.report import run_info, write_report
from merganser.run import evolve, make_plan, parse_settings, resume
from merganser.weights import flat_read

pytestmark = pytest.mark.usefixtures("troubled")


@pytest.fixture
def parents():
    settings = parse_settings({"models": "specialists", "task": "troubled:splits"}, "test")
    return [parent.checkpoint for parent in make_plan(settings).parents]


def beside(parents, run, **changes):
    return evolve(parents, "troubled:splits", budget=40, run=run, **changes)


def test_watched_tasks_are_scored_for_all_and_change_nothing_else(tmp_path, parents):
    plain = beside(parents, tmp_path / "plain")
    outcome = beside(parents, tmp_path / "watched", watch=["troubled:uneven"], workers=1)
    assert outcome.winner == plain.winner
    assert plain.watched == ()
    (watched,) = outcome.watched
    assert watched.winner == outcome.winner.test
    assert list(watched.parents.values()) == [parent.test for parent in outcome.parents]
    best = max(interval.value for interval in watched.parents.values())
    assert watched.change.value == pytest.approx(watched.winner.value - best)
    info = run_info(tmp_path / "watched")
    assert info.watched == outcome.watched
    assert "Watched tasks" in write_report(tmp_path / "watched").read_text()


def test_a_baseline_scores_what_the_merge_by_rule_scores(tmp_path, parents):
    outcome = beside(parents, tmp_path / "run", baselines=["linear", "slerp"])
    assert [scores.name for scores in outcome.baselines] == ["linear", "slerp"]
    task = make_plan(parse_settings({"models": "specialists", "task": "troubled:splits"}, "test")).splits.test
    model = Perceptron.of(parents[0], 6)
    model.write(flat_read(merge(parents, "linear"), dtype=np.float32))
    expected = task.score(model, np.arange(len(task.samples))).mean()
    assert outcome.baselines[0].test.value == pytest.approx(expected)
    assert run_info(tmp_path / "run").baselines == outcome.baselines


def test_a_run_with_both_is_extended_and_scored_anew(tmp_path, parents):
    beside(parents, tmp_path / "run", baselines=["linear"], watch=["troubled:uneven"])
    outcome = resume(tmp_path / "run", budget=60)
    assert outcome.finished
    assert len(outcome.watched) == len(outcome.baselines) == 1


def test_a_baseline_without_its_base_is_refused_before_anything_is_scored(tmp_path, parents):
    with pytest.raises(ConfigError, match="`ties` works from a base"):
        beside(parents, tmp_path / "run", baselines=["ties"])
    assert not (tmp_path / "run").exists()


def test_a_baseline_with_a_base(tmp_path, parents):
    base = tmp_path / "base.safetensors"
    save(merge(parents, "linear"), base)
    genome = {"base": str(base)}
    outcome = beside(parents, tmp_path / "run", baselines=["task_arithmetic"], genome=genome)
    assert outcome.baselines[0].failed is None
    assert outcome.baselines[0].search > 0
