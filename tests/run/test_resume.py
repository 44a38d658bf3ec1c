"""Killed at any instant and resumed, a run ends as an undisturbed one."""

import os
import random
import signal
import sqlite3
import time

import pytest

from merganser import RunError
from merganser.run import RunDirectory, evolve, export, resume, summarise

BY_RULE = {"method": "linear", "genes": {"weight": [-0.5, 1.5]}, "groups": "layer"}

RUN = """
import sys
from merganser.run import evolve
evolve({models!r}, {task!r}, search={search!r}, genome={genome!r}, budget={budget}, seed=3, run=sys.argv[1])
"""


def kill_at_random_instants(command, script, run, kills, rng):
    """Start the script again and again, kill it at random instants, and let the last one finish."""
    killed = 0
    while True:
        process = command.start(run, program=script)
        if killed < kills:
            begun(run)
            time.sleep(rng.uniform(0.0, 0.3 if killed else 0.1))  # the first one surely hits
            os.kill(process, signal.SIGKILL)  # one that has ended is not gone before it was waited for
        done = command.wait(process)
        if done.code == -signal.SIGKILL:
            killed += 1
            continue
        assert done.code == 0 or (killed and "finished" in done.stderr), done
        return killed


def begun(run):
    """Wait for a run's journal."""
    for _ in range(3000):
        if (run / "run.db").exists():
            return
        time.sleep(0.01)
    raise TimeoutError(run)


@pytest.mark.parametrize(
    ("models", "search", "genome", "budget", "kills"),
    [
        ("scratch", {"method": "natural-niches"}, {}, 3_000, 5),
        ("specialists", {"method": "natural-niches", "warmup": 20}, {}, 1_500, 3),
        ("specialists", {"method": "cma-es"}, {}, 800, 2),
        ("specialists", {"method": "cma-es"}, BY_RULE, 150, 2),
        ("specialists", {"method": "nsga2"}, {}, 400, 2),
    ],
)
def test_a_killed_and_resumed_run_ends_as_an_undisturbed_one(
    tmp_path, small_npz, contents, heavy_command, models, search, genome, budget, kills
):
    script = RUN.format(models=models, task=str(small_npz), search=search, genome=genome, budget=budget)
    undisturbed = tmp_path / "undisturbed"
    heavy_command(undisturbed, program=script)
    rng = random.Random(os.urandom(8))
    killed = kill_at_random_instants(heavy_command, script, tmp_path / "killed", kills, rng)
    assert killed >= 1
    for ours, theirs in zip(contents(tmp_path / "killed"), contents(undisturbed), strict=True):
        assert ours == theirs


SEARCHES = [(method, {}) for method in ("ga", "map-elites", "nsga2", "random", "brute-force", "cma-es")]
SEARCHES += [(method, BY_RULE) for method in ("nsga2", "random", "cma-es")]
SEARCHES += [("brute-force", {**BY_RULE, "shared": ["weight"]})]


@pytest.mark.parametrize(("method", "genome"), SEARCHES)
def test_every_search_resumed_from_its_journal_ends_as_an_undisturbed_one(
    tmp_path, small_npz, contents, method, genome
):
    class Stop(Exception):
        pass

    def interrupt(evolution):
        evolution.save()
        raise Stop

    search = {"method": method, "steps": 90, "population": 5}
    whole = evolve(
        "specialists", str(small_npz), search=search, genome=genome, budget=80, run=tmp_path / "whole"
    )
    import merganser.run._loop as loop

    original = loop.Evolution.step
    try:
        loop.Evolution.step = lambda self: interrupt(self) if self.evaluations == 37 else original(self)
        with pytest.raises(Stop):
            evolve(
                "specialists",
                str(small_npz),
                search=search,
                genome=genome,
                budget=80,
                run=tmp_path / "broken",
            )
    finally:
        loop.Evolution.step = original
    again = resume(tmp_path / "broken")
    assert again.winner == whole.winner
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_a_larger_budget_extends_a_finished_run_as_if_it_had_been_given_at_once(
    tmp_path, small_npz, contents
):
    evolve("specialists", str(small_npz), budget=120, run=tmp_path / "short")
    extended = resume(tmp_path / "short", budget=200)
    at_once = evolve("specialists", str(small_npz), budget=200, run=tmp_path / "long")
    assert extended.winner == at_once.winner
    assert contents(tmp_path / "short")[0] == contents(tmp_path / "long")[0]


def test_a_finished_run_is_not_resumed_without_a_larger_budget(tmp_path, small_npz):
    evolve("scratch", str(small_npz), budget=30, run=tmp_path / "run")
    with pytest.raises(RunError, match="finished after 30 evaluations"):
        resume(tmp_path / "run")
    with pytest.raises(RunError, match="this very run, finished"):
        evolve("scratch", str(small_npz), budget=30, run=tmp_path / "run")


def test_a_run_with_other_settings_is_not_continued(tmp_path, small_npz):
    evolve("scratch", str(small_npz), budget=30, run=tmp_path / "run")
    with pytest.raises(RunError, match="other settings"):
        evolve("scratch", str(small_npz), budget=60, seed=1, run=tmp_path / "run")


def test_a_journal_of_a_newer_schema_is_refused(tmp_path, small_npz):
    evolve("scratch", str(small_npz), budget=10, run=tmp_path / "run")
    db = sqlite3.connect(tmp_path / "run" / "run.db")
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(RunError, match=r"schema version 99, this release reads 3\. Use the newer release"):
        resume(tmp_path / "run", budget=20)


def test_a_journal_of_the_first_schema_is_read_as_it_is_and_brought_up_to_date_by_its_writer(
    tmp_path, small_npz, contents
):
    search = {"method": "nsga2", "population": 5}
    for name in ("old", "new"):
        evolve("specialists", str(small_npz), search=search, budget=40, run=tmp_path / name)
    db = sqlite3.connect(tmp_path / "old" / "run.db")
    db.execute("ALTER TABLE progress DROP COLUMN hypervolume")
    db.execute("ALTER TABLE scores DROP COLUMN margins")
    db.execute("DELETE FROM meta WHERE key = 'objectives'")
    db.commit()
    db.execute("PRAGMA user_version=1")
    db.close()
    summary = summarise(tmp_path / "old")
    assert (summary.evaluations, summary.hypervolume) == (40, None)
    for name in ("old", "new"):
        resume(tmp_path / name, budget=80)
    old, new = contents(tmp_path / "old"), contents(tmp_path / "new")
    assert old[0] == new[0]
    assert old[3:] == new[3:]
    assert [point[-1] for point in old[2]][-1] == [point[-1] for point in new[2]][-1] is not None
    assert summarise(tmp_path / "old").hypervolume == summarise(tmp_path / "new").hypervolume
    db = sqlite3.connect(tmp_path / "old" / "run.db")
    assert db.execute("PRAGMA user_version").fetchone() == (3,)
    db.close()


def test_changed_data_are_noticed(tmp_path, small_npz):
    data = tmp_path / "data.npz"
    data.write_bytes(small_npz.read_bytes())
    evolve("scratch", str(data), budget=10, run=tmp_path / "run")
    import numpy as np

    with np.load(data) as arrays:
        changed = dict(arrays)
    changed["x_train"][0, 0] += 1
    np.savez(data, **changed)
    with pytest.raises(RunError, match="are not those"):
        resume(tmp_path / "run", budget=20)


def test_a_journal_that_does_not_replay_is_noticed_at_the_first_child(tmp_path, small_npz):
    evolve("scratch", str(small_npz), budget=40, run=tmp_path / "run")
    db = sqlite3.connect(tmp_path / "run" / "run.db")
    db.execute("UPDATE children SET recipe = zeroblob(16) WHERE idx = 7")
    db.commit()
    db.close()
    with pytest.raises(RunError, match="Child 7 of"):
        resume(tmp_path / "run", budget=60)


def test_two_processes_cannot_write_one_run(tmp_path, small_npz):
    evolve("scratch", str(small_npz), budget=10, run=tmp_path / "run")
    with (
        RunDirectory(tmp_path / "run").journal(write=True),
        pytest.raises(RunError, match="Another process"),
    ):
        RunDirectory(tmp_path / "run").journal(write=True)


def test_no_run_and_no_database_are_told_apart_from_a_run(tmp_path):
    with pytest.raises(RunError, match="is no run directory"):
        resume(tmp_path)
    (tmp_path / "run.db").write_bytes(b"this is not a database, but long enough to look like one" * 20)
    with pytest.raises(RunError, match="is no journal"):
        resume(tmp_path)


def test_the_winner_is_exported_with_its_recipe_and_scores_the_same(tmp_path, small_npz):
    outcome = evolve("specialists", str(small_npz), budget=150, run=tmp_path / "run")
    exported = export(tmp_path / "run", tmp_path / "out")
    assert outcome.checkpoint is not None
    assert exported.digest == outcome.checkpoint.digest
    assert (tmp_path / "out" / "recipe.json").is_file()
    with pytest.raises(RunError, match="fits 0 of"):
        export(tmp_path / "run", tmp_path / "other", recipe="zz")


def test_a_run_that_is_extended_and_stopped_again_is_unfinished_and_resumes_without_a_new_budget(
    tmp_path, small_npz, monkeypatch
):
    import merganser.run._loop as loop

    evolve("specialists", str(small_npz), budget=100, run=tmp_path / "run")
    original = loop.Evolution.step

    def step(evolution):
        if evolution.evaluations == 150:
            evolution.save()
            raise InterruptedError
        original(evolution)

    monkeypatch.setattr(loop.Evolution, "step", step)
    with pytest.raises(InterruptedError):
        resume(tmp_path / "run", budget=220)
    monkeypatch.undo()
    assert summarise(tmp_path / "run").state == "unfinished"
    at_once = evolve("specialists", str(small_npz), budget=220, run=tmp_path / "long")
    assert resume(tmp_path / "run").winner == at_once.winner
