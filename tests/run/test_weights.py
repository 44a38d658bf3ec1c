"""Several tasks count by their weights wherever a run says how good a model is, and one task as it always did."""

import json
import sqlite3

import numpy as np
import pytest

from merganser.evaluation import difference_interval, mean_interval
from merganser.evolution import Row
from merganser.report import run_info, write_report
from merganser.run import (
    RunDirectory,
    SplitWeights,
    compare_runs,
    evolve_settings,
    make_plan,
    parse_settings,
    read_weights,
    resume,
)


@pytest.fixture(scope="module")
def rows(weighted):
    """Scores of a recipe on a split, and the positions of the first task in it, from the journal and the data."""
    plan = make_plan(RunDirectory(weighted.run).settings())
    parts = {task.samples.split: task.parts for task in plan.tasks[:3]}
    with RunDirectory(weighted.run).journal() as journal:
        records = {task.split: task for task in journal.tasks()}

        def row(recipe, split):
            found = journal.row(recipe, records[split].digest, records[split].samples).scores
            first = len(parts[split][0].samples)
            return found[:first], found[first:]

        yield row


def test_every_figure_of_the_end_weighs_tasks_as_the_search_does(weighted, rows):
    for scores in (weighted.winner, *weighted.parents, *weighted.baselines):
        for split in ("search", "validation", "test"):
            low, few = rows(scores.digest, split)
            assert len(low) > 1.5 * len(few)
            found = scores.test.value if split == "test" else getattr(scores, split)
            assert found == pytest.approx(0.75 * low.mean() + 0.25 * few.mean())
    parent = weighted.parents[0].test.value
    assert parent != pytest.approx(np.concatenate(rows(weighted.parents[0].digest, "test")).mean())


def test_intervals_and_the_gain_are_those_of_weighted_tasks(weighted, rows):
    best = max(weighted.parents, key=lambda p: p.validation)
    ours, theirs = (rows(scores.digest, "test") for scores in (weighted.winner, best))
    sizes = [len(part) for part in ours]
    weights = np.repeat([3 / sizes[0], 1 / sizes[1]], sizes)
    a, b = np.concatenate(ours), np.concatenate(theirs)
    assert weighted.winner.test == pytest.approx(mean_interval(a, weights))
    assert weighted.gain == pytest.approx(difference_interval(a, b, weights))


def test_the_log_and_the_curve_weigh_tasks_too(weighted, rows):
    with RunDirectory(weighted.run).journal() as journal:
        children, points = list(journal.children()), list(journal.progress())
    for child in [c for c in children if c.kind == "seed"]:
        low, few = rows(child.recipe, "search")
        assert child.score == pytest.approx(0.75 * low.mean() + 0.25 * few.mean())
    known = [c.score for c in children if c.accepted]
    assert points[-1].best == pytest.approx(max(known))


def test_an_unfinished_run_is_reported_with_the_same_weights(weighted, tmp_path):
    with sqlite3.connect(weighted.run / "run.db") as source, sqlite3.connect(tmp_path / "run.db") as copy:
        source.backup(copy)
        copy.execute("DELETE FROM results")
    for db in (source, copy):
        db.close()
    info = run_info(tmp_path)
    assert not info.finished
    assert [p.validation for p in info.parents] == pytest.approx([p.validation for p in weighted.parents])
    assert [p.search for p in info.parents] == pytest.approx([p.search for p in weighted.parents])


def test_a_run_that_began_before_weights_were_noted_is_read_and_goes_on(weighted, tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "files").mkdir()
    with sqlite3.connect(weighted.run / "run.db") as source, sqlite3.connect(tmp_path / "run.db") as copy:
        source.backup(copy)
        copy.execute("DELETE FROM meta WHERE key = 'weights'")
    for db in (source, copy):
        db.close()
    assert run_info(tmp_path).winner.test == weighted.winner.test
    assert "The tasks count by their weights" in write_report(weighted.run, tmp_path / "r.html").read_text()
    assert "The tasks count by their weights" not in write_report(tmp_path).read_text()
    again = resume(tmp_path, budget=61)
    assert again.parents == weighted.parents


def test_runs_that_weigh_tasks_otherwise_are_not_compared(weighted, uneven, tmp_path):
    other = evolve_settings(uneven((1, 3)), run=tmp_path / "other")
    same = evolve_settings(uneven(seed=1), run=tmp_path / "same")
    found = {c.run: c.difference for c in compare_runs([weighted.run, other.run, same.run])[1]}
    assert found[str(other.run)] is None
    expected = same.winner.test.value - weighted.winner.test.value
    assert found[str(same.run)].value == pytest.approx(expected)


def test_one_task_and_equal_weights_have_no_weights(two_tasks):
    models = [str(two_tasks / "low.safetensors"), str(two_tasks / "high.safetensors")]
    one = parse_settings({"models": models, "task": str(two_tasks / "low.npz")})
    weights = make_plan(one).split_weights
    assert [weights.on(split) for split in ("search", "validation", "test")] == [None] * 3
    equal = SplitWeights((1.0, 3.0), {"test": (5, 15), "search": (5, 5)})
    assert equal.on("test") is None
    row = Row(np.random.default_rng(0).random(20))
    assert equal.mean(row, "test") == row.mean
    assert equal.mean(Row(np.array([1.0, 0])), "search", np.array([0, 9])) == pytest.approx(0.25)


def test_weights_are_read_as_they_were_noted(weighted):
    with RunDirectory(weighted.run).journal() as journal:
        meta = journal.meta()
    assert (
        read_weights(json.loads(json.dumps(meta)))
        == make_plan(RunDirectory(weighted.run).settings()).split_weights
    )
    assert read_weights({}) == SplitWeights()
