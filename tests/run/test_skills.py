"""What became of each task is told for every model, beside the parent that is best at it."""

import json

import numpy as np
import pytest

from merganser.evaluation import Classification, Mixture, ScoreMatrix
from merganser.report import run_info
from merganser.run import RunDirectory, Skill, evolve, summarise
from merganser.run._skills import skills_of


def task(name, samples):
    inputs = np.random.default_rng(len(name)).random((samples, 3)).astype(np.float32)
    return Classification.of(name, inputs, np.zeros(samples, dtype=int), "test")


def row(*right):
    """Scores of 0 and 1 on two tasks of 40 and 10 samples, of which so many are right."""
    return np.concatenate([np.arange(size) < n for size, n in zip((40, 10), right, strict=True)]).astype(
        float
    )


@pytest.fixture
def skills():
    mixture = Mixture((task("maths", 40), task("code", 10)))
    return skills_of(mixture, row(30, 5), {"a": row(35, 2), "b": row(10, 5)}, {"linear": row(20, 4)})


def test_each_task_has_every_model_on_its_own_samples(skills):
    assert [skill.task for skill in skills] == ["maths", "code"]
    assert [skill.winner.value for skill in skills] == [0.75, 0.5]
    assert [skill.parents["a"].value for skill in skills] == [0.875, 0.2]
    assert [skill.parents["b"].value for skill in skills] == [0.25, 0.5]
    assert [skill.baselines["linear"].value for skill in skills] == [0.5, 0.4]


def test_the_winner_is_compared_with_the_parent_that_is_best_at_the_task_paired_by_sample(skills):
    maths, code = skills
    assert (maths.best, code.best) == ("a", "b")
    matrix = ScoreMatrix.of({"a": row(35, 2)[:40], "winner": row(30, 5)[:40]}, tuple(map(str, range(40))))
    assert maths.change == matrix.difference("winner", "a")
    assert maths.change.value == pytest.approx(-0.125)
    assert maths.change.high < 0
    assert code.change == (0, 0, 0)


def test_plain_form_and_back(skills):
    for skill in skills:
        assert Skill.from_json(json.loads(json.dumps(skill.to_json()))) == skill


def test_one_task_has_no_skills_of_its_own(tmp_path, small_npz):
    outcome = evolve("specialists", str(small_npz), budget=10, run=tmp_path / "run")
    assert outcome.skills == summarise(tmp_path / "run").skills == ()
    assert outcome.to_json()["skills"] == []


def test_a_run_over_several_tasks_keeps_them(weighted):
    low, few = weighted.skills
    assert (low.task, few.task) == ("low", "few")
    assert set(low.parents) == {"low", "high"}
    assert set(low.baselines) == {"linear"}
    assert low.best == "low"
    assert few.best == "high"
    for model, score in (
        (lambda skill: skill.winner, weighted.winner),
        (lambda skill: skill.parents["high"], weighted.parents[1]),
        (lambda skill: skill.baselines["linear"], weighted.baselines[0]),
    ):
        assert 0.75 * model(low).value + 0.25 * model(few).value == pytest.approx(score.test.value)


def test_they_are_read_again_with_what_was_watched(weighted):
    (watched,) = weighted.watched
    assert watched.skill.watched
    assert watched.skill.best == "high"
    assert watched.skill.change == watched.change
    summary = summarise(weighted.run)
    assert summary.skills == (*weighted.skills, watched.skill)
    assert [skill["watched"] for skill in summary.to_json()["skills"]] == [False, False, True]
    assert run_info(weighted.run).skills == weighted.skills
    with RunDirectory(weighted.run).journal() as journal:
        assert journal.outcome()["skills"] == json.loads(json.dumps(weighted.to_json()["skills"]))
