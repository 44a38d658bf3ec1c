"""Worker processes change how long a run takes, never what it finds."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from merganser import RunError
from merganser.evaluation import Classification
from merganser.run import Evolution, EvolveSettings, RunDirectory, evolve, make_plan, parse_settings
from merganser.run._runners import Here

pytestmark = pytest.mark.usefixtures("troubled")
NICHES = {"method": "natural-niches", "population": 5}


class Wide(Here):
    """Three children pending, scored one after the other in this process."""

    width = 3


def settings(**changes) -> EvolveSettings:
    data = {"models": "scratch", "task": "troubled:splits", "search": NICHES, "budget": {"evaluations": 150}}
    return parse_settings({**data, **changes}, "test")


@pytest.mark.parametrize(
    "search",
    [
        NICHES,
        {"method": "cma-es", "population": 6},
        {"method": "nsga2", "population": 6},
        {"method": "random"},
    ],
)
def test_what_several_workers_find_does_not_depend_on_who_is_first(tmp_path, contents, search):
    plan = make_plan(settings(models="specialists", search=search, budget={"evaluations": 120}))
    parents = [parent.checkpoint for parent in plan.parents]
    evolve(parents, "troubled:uneven", search=search, budget=120, workers=3, run=tmp_path / "workers")
    directory = RunDirectory(tmp_path / "one")
    directory.create(plan)
    with directory.journal(write=True) as journal:
        evolution = Evolution(plan, journal, Wide(plan))
        while not evolution.done:
            evolution.step()
        evolution.save()
    assert contents(tmp_path / "workers")[0] == contents(tmp_path / "one")[0]


def test_with_workers_early_rejection_changes_nothing_but_the_cost(tmp_path):
    accepted, saved = {}, {}
    for early in (True, False):
        search = {**NICHES, "early_rejection": early}
        outcome = evolve(
            "scratch", "troubled:splits", search=search, budget=600, workers=2, run=tmp_path / f"{early}"
        )
        with RunDirectory(tmp_path / f"{early}").journal() as journal:
            accepted[early] = [(c.index, c.recipe, c.parents) for c in journal.children() if c.accepted]
        saved[early] = outcome.samples_saved
    assert accepted[True] == accepted[False]
    assert saved[True] > saved[False] == 0


def test_a_child_sees_what_was_told_of_those_as_many_places_before_it_as_there_are_workers(tmp_path):
    evolve("scratch", "troubled:splits", search=NICHES, budget=150, workers=3, run=tmp_path / "run")
    with RunDirectory(tmp_path / "run").journal() as journal:
        children = journal.children()
        ages = [child.index - max(child.parents) for child in children if max(child.parents, default=0) > 1]
    assert min(ages) == 3


def test_one_worker_finds_what_this_process_finds(tmp_path, contents):
    for name, limit in (("here", None), ("worker", 60.0)):
        evolve("scratch", "troubled:splits", budget=80, time_limit=limit, run=tmp_path / name)
    here, worker = contents(tmp_path / "here"), contents(tmp_path / "worker")
    assert here == worker


@pytest.mark.parametrize(
    ("task", "limit", "reason"),
    [
        ("troubled:hangs", 1.0, "TimeoutError: no answer within 1 s"),
        ("troubled:dies", None, "ChildProcessError: the worker was ended by SIGKILL"),
    ],
)
def test_a_model_that_hangs_or_kills_its_worker_costs_one_candidate(tmp_path, task, limit, reason):
    outcome = evolve(
        "scratch", task, search=NICHES, budget=12, seed=5, workers=2, time_limit=limit, run=tmp_path / "run"
    )
    assert outcome.finished
    with RunDirectory(tmp_path / "run").journal() as journal:
        failed = [child.failed for child in journal.children() if child.failed]
    assert 0 < len(failed) < 12
    assert all(said.startswith(reason) for said in failed)


def test_workers_have_the_environment_of_the_moment(tmp_path, monkeypatch):
    for trouble in ("dies", ""):
        monkeypatch.setenv("TROUBLE", trouble)
        run = tmp_path / f"run{trouble}"
        evolve("scratch", "troubled:told", search=NICHES, budget=12, seed=5, workers=2, run=run)
        with RunDirectory(run).journal() as journal:
            assert any(child.failed for child in journal.children()) == bool(trouble)


def test_a_task_that_cannot_be_sent_to_workers_is_refused_with_what_to_do(tmp_path):
    class Local(Classification):
        pass

    inputs = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    whole = Classification.of("local", inputs, (inputs[:, 0] > 0).astype(int), "search")
    local = Local(whole.name, whole.inputs, whole.samples)
    with pytest.raises(RunError, match=r"cannot be pickled.*module:function"):
        evolve("scratch", local, budget=20, workers=2, run=tmp_path / "run")


RUN = """
import sys
from merganser.run import evolve
sys.path.insert(0, {folder!r})
evolve("scratch", "troubled:uneven", search={search!r}, budget=250, workers=2, run=sys.argv[1])
"""


@pytest.mark.parametrize("search", [NICHES, {"method": "nsga2", "population": 6}])
def test_killed_with_its_workers_at_work_a_run_ends_as_an_undisturbed_one(
    tmp_path, contents, heavy_command, search
):
    script = RUN.format(search=search, folder=str(Path(__file__).parent))
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    heavy_command(undisturbed, program=script)
    process = heavy_command.start(killed, program=script)
    for _ in range(3000):
        if _count(killed) >= 100:
            break
        time.sleep(0.02)
    os.kill(process, signal.SIGKILL)
    assert heavy_command.wait(process).code == -signal.SIGKILL
    heavy_command(killed, program=script)
    assert contents(killed) == contents(undisturbed)


def _count(run):
    if not (run / "run.db").exists():
        return 0
    with RunDirectory(run).journal() as journal:
        return journal.count()
