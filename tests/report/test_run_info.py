"""The facts that a report starts from are those of the journal."""

import json
import sqlite3

import pytest

import merganser
from merganser.report import run_info
from merganser.run import RunDirectory


def outcome(run):
    with RunDirectory(run).journal() as journal:
        return journal.outcome()


def test_a_finished_run_tells_what_its_outcome_says(combination):
    info, said = run_info(combination), outcome(combination)
    assert info.finished
    assert info.winner.digest == said["winner"]
    assert info.winner.test.value == said["test"]["value"]
    assert info.gain._asdict() == said["gain"]
    assert [p.to_json() for p in info.parents] == said["parents"]
    assert (info.evaluations, info.measured, info.saved) == (
        300,
        said["samples_measured"],
        said["samples_saved"],
    )


def test_the_leader_of_a_finished_run_is_the_member_with_the_winners_recipe(combination):
    info = run_info(combination)
    assert info.leader in info.members
    assert info.events[info.leader].recipe == info.winner.digest


def test_the_search_split_comes_first_and_all_splits_are_found_by_name(combination):
    info = run_info(combination)
    assert [s.split for s in info.splits] == ["search", "validation", "test"]
    assert (info.search.samples, info.split("test").samples, info.search.binary) == (1150, 360, True)
    assert info.split("watch") is None


def test_the_overfit_is_the_winners_search_minus_its_validation_score(combination):
    info = run_info(combination)
    assert info.overfit == pytest.approx(info.winner.search - info.winner.validation)


def test_a_layer_is_found_by_any_of_its_positions(combination):
    info = run_info(combination)
    assert [info.layer_of(p) for p in (0, 16_639, 16_640, 19_209)] == ["layers.0"] * 2 + ["layers.1"] * 2


def test_an_unfinished_run_has_a_leader_and_its_parents_scores_but_no_winner(unfinished, combination):
    info, whole = run_info(unfinished), run_info(combination)
    assert not info.finished
    assert (info.winner, info.gain) == (None, None)
    best = max(info.members, key=lambda i: info.events[i].score)
    assert info.events[info.leader].score == info.events[best].score
    assert [p.name for p in info.parents] == ["classes 0-4", "classes 5-9"]
    assert [p.search for p in info.parents] == pytest.approx([p.search for p in whole.parents])
    assert [p.validation for p in info.parents] == pytest.approx([p.validation for p in whole.parents])
    assert all(p.test is None for p in info.parents)


def test_an_extended_run_that_stopped_again_is_not_finished(edited):
    row = "INSERT INTO children SELECT 300, recipe, kind, first, second, weight, split, 0, 1, 0, NULL, 9 FROM children"
    info = run_info(edited(row + " WHERE idx = 299"))
    assert not info.finished
    assert info.evaluations == 301


def test_failures_are_counted_by_reason_the_most_frequent_first(edited):
    info = run_info(
        edited(
            "UPDATE children SET failed = 'ValueError: NaN' WHERE idx IN (50, 60, 70)",
            "UPDATE children SET failed = 'MemoryError: no' WHERE idx = 80",
        )
    )
    assert info.failures == (("ValueError: NaN", 3), ("MemoryError: no", 1))


def test_events_leave_out_who_was_turned_down(combination):
    info = run_info(combination)
    with RunDirectory(combination).journal() as journal:
        expected = {c.index for c in journal.children() if c.accepted or c.kind == "seed"}
    assert set(info.events) == expected
    assert len(expected) < 300


def test_a_run_without_members_or_progress_is_still_read(edited):
    info = run_info(
        edited(
            "DELETE FROM meta WHERE key IN ('members', 'seconds')",
            "DELETE FROM children",
            "DELETE FROM progress",
            "DELETE FROM results",
        )
    )
    assert (info.members, info.leader, info.parents, info.progress, info.overfit) == ((), None, (), (), None)
    assert info.seconds == 0.0


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(merganser.RunError, match="no run directory"):
        run_info(tmp_path)


def test_reading_changes_nothing(combination):
    def content():
        db = sqlite3.connect(combination / "run.db")
        tables = ("meta", "tasks", "children", "scores", "progress", "results")
        rows = [db.execute(f"SELECT * FROM {t}").fetchall() for t in tables]
        db.close()
        return repr(rows)

    before = content()
    run_info(combination)
    assert content() == before
    assert json.dumps(outcome(combination))
