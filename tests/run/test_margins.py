"""Margins pass from a task through runner and journal to the search, and a run resumes with them exactly."""

import dataclasses
import json
import sqlite3

import numpy as np
import pytest

from merganser.run import (
    Evolution,
    RunDirectory,
    evolve_settings,
    make_plan,
    parse_settings,
    resume,
    summarise,
)
from merganser.run._runners import Here

pytestmark = pytest.mark.usefixtures("troubled")
CMA = {"method": "cma-es", "population": 6}


def settings(**changes):
    """A run on a task on which nobody is right, and some are nearer than others."""
    data = {
        "models": "specialists",
        "task": "troubled:strict",
        "genome": {"method": "linear", "genes": {"weight": [-0.5, 1.5]}, "groups": "layer"},
        "search": CMA,
        "budget": {"evaluations": 60},
    }
    return parse_settings({**data, **changes}, "test")


def rows_of(run):
    """Rows of the children as the journal holds them."""
    with RunDirectory(run).journal() as journal:
        task = journal.tasks()[0]
        return [journal.row(child.recipe, task.digest, task.samples) for child in journal.children()]


class Wide(Here):
    """Two children pending, scored one after the other in this process."""

    width = 2


def stopped(run, asked, at):
    """Begin a run and stop it before a child is told."""
    plan, directory = make_plan(asked), RunDirectory(run)
    directory.create(plan)
    with directory.journal(write=True) as journal:
        evolution = Evolution(plan, journal)
        for _ in range(at):
            evolution.step()
        evolution.save()


def test_a_search_that_scores_nothing_learns_from_margins_alone(tmp_path):
    outcome = evolve_settings(settings(), run=tmp_path / "run")
    rows = rows_of(tmp_path / "run")
    assert all(row.scores.sum() == 0 for row in rows)
    margins = [row.margins.mean() for row in rows]
    assert np.mean(margins[-12:]) > np.mean(margins[:12]) + 0.03
    assert outcome.warnings == ()
    plain = evolve_settings(settings(search={**CMA, "tie_breaker": False}), run=tmp_path / "plain")
    assert [row.margins for row in rows_of(tmp_path / "plain")] == [None] * 60
    assert "In 9 of 9 generations all candidates scored the same" in plain.warnings[0]


@pytest.mark.parametrize("subset", [None, {"samples": 60, "every": 12}])
@pytest.mark.parametrize("at", [16, 37])
def test_stopped_and_resumed_it_ends_as_an_undisturbed_one(tmp_path, contents, subset, at):
    evolve_settings(settings(subset=subset), run=tmp_path / "whole")
    stopped(tmp_path / "broken", settings(subset=subset), at)
    resume(tmp_path / "broken")
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_extended_it_is_the_longer_run(tmp_path, contents):
    evolve_settings(settings(budget={"evaluations": 33}), run=tmp_path / "short")
    resume(tmp_path / "short", budget=60)
    evolve_settings(settings(), run=tmp_path / "long")
    assert contents(tmp_path / "short")[0] == contents(tmp_path / "long")[0]


def test_workers_send_margins_too(tmp_path, contents):
    asked = settings(budget={"evaluations": 11})
    evolve_settings(dataclasses.replace(asked, workers=2), run=tmp_path / "workers")
    plan, directory = make_plan(asked), RunDirectory(tmp_path / "one")
    directory.create(plan)
    with directory.journal(write=True) as journal:
        evolution = Evolution(plan, journal, Wide(plan))
        while not evolution.done:
            evolution.step()
        evolution.save()
    assert contents(tmp_path / "workers")[0] == contents(tmp_path / "one")[0]
    for row, other in zip(rows_of(tmp_path / "workers"), rows_of(tmp_path / "one"), strict=True):
        np.testing.assert_allclose(row.margins, other.margins, atol=1e-6)


@pytest.mark.parametrize("subset", [None, {"samples": 60, "every": 12}])
def test_a_journal_without_margins_is_read_replayed_and_goes_on_with_them(tmp_path, subset):
    asked = settings(search={**CMA, "tie_breaker": False}, subset=subset, budget={"evaluations": 30})
    evolve_settings(asked, run=tmp_path / "run")
    before = [row.scores.tolist() for row in rows_of(tmp_path / "run")]
    db = sqlite3.connect(tmp_path / "run" / "run.db")
    [[written]] = db.execute("SELECT value FROM meta WHERE key = 'settings'")
    older = json.loads(written)
    del older["search"]["tie_breaker"]
    db.execute("UPDATE meta SET value = ? WHERE key = 'settings'", [json.dumps(older)])
    db.execute("ALTER TABLE scores DROP COLUMN margins")
    db.commit()
    db.execute("PRAGMA user_version=2")
    db.close()
    assert summarise(tmp_path / "run").evaluations == 30
    assert [row.scores.tolist() for row in rows_of(tmp_path / "run")] == before
    resume(tmp_path / "run", budget=60)
    resume(tmp_path / "run", budget=66)
    rows = rows_of(tmp_path / "run")
    assert [row.margins for row in rows[:30]] == [None] * 30
    assert all(row.margins is not None for row in rows[30:])


def test_a_search_that_does_not_heed_margins_does_not_keep_them(tmp_path):
    evolve_settings(settings(search={"method": "random"}, budget={"evaluations": 5}), run=tmp_path / "run")
    assert [row.margins for row in rows_of(tmp_path / "run")] == [None] * 5


def test_margins_outside_their_range_cost_the_candidate(tmp_path):
    asked = settings(task="troubled:proud", budget={"evaluations": 8})
    stopped(tmp_path / "run", asked, 8)
    with RunDirectory(tmp_path / "run").journal() as journal:
        failed = [child.failed for child in journal.children()]
    assert all(reason is None or "the task answered with margins from" in reason for reason in failed)
    assert None in failed
    assert any(failed)
