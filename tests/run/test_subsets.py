"""Children scored on subsets that take turns: estimates on the way, the truth at the end, and exactly resumable."""

import signal
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from merganser import ConfigError
from merganser.evaluation import Classification, Splits
from merganser.run import (
    Evolution,
    RunDirectory,
    evolve,
    evolve_settings,
    make_plan,
    parse_settings,
    resume,
    summarise,
)
from merganser.run._runners import Here

pytestmark = pytest.mark.usefixtures("troubled")
SAMPLES = 200
SUBSET = {"samples": 30, "every": 25}
NICHES = {"method": "natural-niches", "population": 5}
SEARCHES = [
    NICHES,
    {"method": "ga", "population": 5},
    {"method": "cma-es", "population": 6},
    {"method": "random", "population": 5},
    {"method": "brute-force", "population": 5, "steps": 300},
]


def settings(**changes):
    data = {
        "models": "specialists",
        "task": "troubled:splits",
        "search": NICHES,
        "subset": SUBSET,
        "budget": {"evaluations": 150},
    }
    return parse_settings({**data, **changes}, "test")


@pytest.fixture
def begun(tmp_path):
    """Starts a run in this process and hands it over before its first child."""
    journals = []

    def begin(name="run", plan=None, runner=Here):
        plan = plan or make_plan(settings())
        directory = RunDirectory(tmp_path / name)
        directory.create(plan)
        journals.append(directory.journal(write=True))
        return Evolution(plan, journals[-1], runner(plan))

    yield begin
    for journal in journals:
        journal.close()


def truth(evolution, genome):
    """Scores of a candidate on all search samples, measured beside the run."""
    evolution.plan.bring_to_life(genome)
    return evolution.task.score(evolution.plan.model, np.arange(SAMPLES))


@pytest.mark.parametrize("search", SEARCHES, ids=lambda s: s["method"])
def test_the_winner_and_every_figure_of_the_end_are_known_in_full(tmp_path, search):
    outcome = evolve_settings(settings(search=search), run=tmp_path / "run")
    plan = RunDirectory(tmp_path / "run").reopen(settings(search=search))
    assert outcome.winner is not None
    assert outcome.estimate is None
    with RunDirectory(tmp_path / "run").journal() as journal:
        members = journal.meta()["members"]
        recipes = {c.index: c.recipe for c in journal.children()}
        for index in members:
            assert journal.row(recipes[index], plan.splits.search.digest, SAMPLES).complete
        winner = journal.row(outcome.winner.digest, plan.splits.search.digest, SAMPLES)
        assert outcome.winner.search == pytest.approx(winner.scores.mean())
        measured = [child.measured for child in journal.children()]
    assert max(measured) <= 30
    assert outcome.samples_measured == sum(measured) + outcome.savings.rescored
    assert outcome.samples_measured < 150 * SAMPLES / 2


@pytest.mark.parametrize("search", SEARCHES, ids=lambda s: s["method"])
def test_with_all_samples_in_the_subset_a_run_is_the_plain_one(tmp_path, contents, search):
    plain = evolve_settings(settings(search=search, subset=None), run=tmp_path / "plain")
    whole = evolve_settings(
        settings(search=search, subset={"samples": SAMPLES, "every": 17}), run=tmp_path / "whole"
    )
    assert contents(tmp_path / "whole") == contents(tmp_path / "plain")
    assert whole.winner == plain.winner


def test_after_a_turn_the_members_are_known_on_the_new_samples_and_nothing_is_measured_twice(begun):
    evolution, before, turns = begun(), 0, 0
    while evolution.evaluations < 130:
        turn = evolution._turn
        evolution.step()
        if evolution._turn != turn:
            turns += 1
            for member in evolution.search.members:
                assert (member.scores == truth(evolution, member.genome)[evolution._ids]).all()
            if turn >= 0:
                assert len(evolution._ids) in (28, 29)
        assert evolution.measured - before <= 30 + 5 * 30
        before = evolution.measured
    assert turns == 6
    evolution.save()
    rows = sqlite3.connect(evolution.journal.path).execute("SELECT row, mask FROM scores WHERE task = 1")
    known = sum(SAMPLES if m is None else np.unpackbits(np.frombuffer(m, np.uint8)).sum() for _, m in rows)
    assert evolution.measured == known


@pytest.mark.parametrize("search", SEARCHES, ids=lambda s: s["method"])
def test_stopped_at_any_point_and_resumed_a_run_ends_as_an_undisturbed_one(
    tmp_path, contents, monkeypatch, search
):
    import merganser.run._loop as loop

    whole = evolve_settings(settings(search=search), run=tmp_path / "whole")
    original = loop.Evolution.step
    run = tmp_path / "broken"
    for stop in (1, 26, 27, 28, 77, 126, 149):

        def step(evolution, stop=stop):
            if evolution.evaluations == stop:
                evolution.save()
                raise InterruptedError
            original(evolution)

        monkeypatch.setattr(loop.Evolution, "step", step)
        with pytest.raises(InterruptedError):
            evolve_settings(settings(search=search), run=run)
    monkeypatch.undo()
    assert evolve_settings(settings(search=search), run=run).savings == whole.savings
    assert contents(run) == contents(tmp_path / "whole")


RUN = """
import os, signal, sys
import merganser.run._loop as loop
from merganser.run import evolve
original = loop.Evolution.step
def step(evolution):
    if evolution.evaluations == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    original(evolution)
    if evolution.evaluations % 9 == 0:
        evolution.save()
loop.Evolution.step = step
sys.path.insert(0, {folder!r})
evolve("specialists", "troubled:uneven", search={search!r}, subset={subset!r}, budget=150, workers={workers},
       run=sys.argv[1])
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_and_resumed_a_run_ends_as_an_undisturbed_one(tmp_path, contents, heavy_command, workers):
    folder = str(Path(__file__).parent)
    script = RUN.format(search=NICHES, subset=SUBSET, workers=workers, folder=folder)
    heavy_command(tmp_path / "undisturbed", -1, program=script)
    heavy_command(tmp_path / "killed", 53, program=script, code=-signal.SIGKILL)
    heavy_command(tmp_path / "killed", -1, program=script)
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


class Wide(Here):
    """Three children pending, scored one after the other in this process."""

    width = 3


@pytest.mark.parametrize("search", SEARCHES[:3], ids=lambda s: s["method"])
def test_several_workers_score_a_turn_on_one_subset_whoever_is_first(tmp_path, contents, begun, search):
    data = {"search": search, "task": "troubled:uneven", "workers": 3}
    evolve_settings(settings(**data), run=tmp_path / "workers")
    evolution = begun("one", make_plan(settings(search=search)), Wide)
    while not evolution.done:
        assert len({evolution.plan.subsets.turn_of(c.proposal.index) for c in evolution._pending}) <= 1
        evolution.step()
    evolution.save()
    assert contents(tmp_path / "workers")[0] == contents(tmp_path / "one")[0]


def test_early_rejection_within_subsets_changes_nothing_but_the_cost(tmp_path):
    found, rejected = {}, {}
    for early in (True, False):
        search = {**NICHES, "early_rejection": early}
        changes = {"search": search, "subset": {"samples": 100, "every": 40}, "models": "scratch"}
        outcome = evolve_settings(settings(**changes, budget={"evaluations": 900}), run=tmp_path / f"{early}")
        with RunDirectory(tmp_path / f"{early}").journal() as journal:
            accepted = [(c.index, c.recipe, c.parents) for c in journal.children() if c.accepted]
        found[early], rejected[early] = (outcome.winner, accepted), outcome.savings.rejection
    assert found[True] == found[False]
    assert rejected[True] > rejected[False] == 0


def test_a_generation_of_cma_es_is_scored_on_one_subset():
    search = {"method": "cma-es", "population": 6}
    subsets = make_plan(settings(search=search, subset={"samples": 30, "every": 8})).subsets
    assert subsets.every == 12
    turns = [subsets.turn_of(subsets.seeds + child) for child in range(60)]
    assert all(len(set(turns[g : g + 6])) == 1 for g in range(0, 60, 6))
    assert len(set(turns)) == 5


def test_a_longer_budget_goes_on_where_the_estimates_were(tmp_path):
    def log(run):
        with RunDirectory(run).journal() as journal:
            return [(c.index, c.recipe, c.parents, c.accepted) for c in journal.children()]

    evolve_settings(settings(budget={"evaluations": 90}), run=tmp_path / "short")
    extended = resume(tmp_path / "short", budget=150)
    at_once = evolve_settings(settings(), run=tmp_path / "long")
    assert extended.winner == at_once.winner
    assert log(tmp_path / "short") == log(tmp_path / "long")


def test_what_was_not_measured_is_told_apart_by_cause(tmp_path):
    outcome = evolve_settings(settings(), run=tmp_path / "run")
    savings = outcome.savings
    assert outcome.samples_saved == savings.total == 150 * SAMPLES - outcome.samples_measured
    summary = summarise(tmp_path / "run")
    assert (summary.measured, summary.naive) == (outcome.samples_measured, 150 * SAMPLES)
    assert summary.savings == savings
    assert savings.subsets > savings.rescored > 0
    assert savings.failures == 0
    plain = evolve_settings(settings(subset=None, budget={"evaluations": 600}), run=tmp_path / "plain")
    assert plain.savings.subsets == plain.savings.rescored == 0
    assert plain.savings.rejection > 0
    assert plain.samples_saved == plain.savings.total


def test_scores_of_a_run_in_progress_are_called_estimates(tmp_path, begun):
    evolution = begun()
    for _ in range(60):
        evolution.step()
    evolution.note_progress()
    evolution.save()
    summary = summarise(tmp_path / "run")
    assert 28 <= evolution.estimate.samples < SAMPLES
    assert summary.estimate == evolution.estimate
    assert str(summary.estimate) == f"estimate on {evolution.estimate.samples} of 200 samples"
    assert summary.to_json()["estimate"] == {"samples": evolution.estimate.samples, "of": SAMPLES}


class Moody(Classification):
    """Fails while it is told to."""

    is_broken = False

    def score(self, model, ids):
        if self.is_broken:
            raise MemoryError("no more")
        return super().score(model, ids)


def test_members_that_fail_at_a_turn_score_nothing_there_and_the_run_goes_on_and_replays(begun, monkeypatch):
    def moody(split, seed):
        rng = np.random.default_rng(seed)
        made = Classification.of(
            "moody", rng.standard_normal((SAMPLES, 6)), rng.integers(0, 4, SAMPLES), split
        )
        return Moody(made.name, made.inputs, made.samples)

    splits = Splits(moody("search", 1), None, moody("test", 2))
    evolution = begun(plan=make_plan(settings(models="scratch", splits={"preset": "paper"}), splits=splits))
    while evolution.evaluations < evolution.plan.subsets.seeds + 25:
        evolution.step()
    before = {m.index for m in evolution.search.members}
    monkeypatch.setattr(Moody, "is_broken", True)
    evolution.step()
    monkeypatch.setattr(Moody, "is_broken", False)
    assert before & {m.index for m in evolution.search.members}
    assert all(not m.scores.any() for m in evolution.search.members)
    while evolution.evaluations < 130:
        evolution.step()
    assert any(m.scores.any() for m in evolution.search.members)
    evolution.save()
    again = Evolution(evolution.plan, evolution.journal)
    assert [m.index for m in again.search.members] == [m.index for m in evolution.search.members]
    for ours, theirs in zip(again.search.members, evolution.search.members, strict=True):
        assert (ours.scores == theirs.scores).all()
    assert (again.measured, again.savings) == (evolution.measured, evolution.savings)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"subset": {"samples": 201}},
            r"`subset.samples` is 201, but the search split of toy has 200 samples",
        ),
        ({"search": {"method": "map-elites"}}, "`map-elites` cannot go on with other samples"),
        ({"subset": {"samples": 0}}, r"`subset.samples`: input should be greater than 0"),
        ({"subset": {"sample": 3}}, r"unknown key `subset.sample`. Did you mean `samples`\?"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_do(changes, expected):
    with pytest.raises(ConfigError, match=expected):
        make_plan(settings(**changes))


def test_a_task_of_a_mixture_that_is_too_small_for_every_subset_is_named(small_npz, tmp_path):
    with np.load(small_npz) as arrays:
        np.savez(tmp_path / "tiny.npz", x=arrays["x_train"][:30], y=arrays["y_train"][:30])
    tasks = [{"task": str(small_npz)}, {"task": str(tmp_path / "tiny.npz")}]
    with pytest.raises(
        ConfigError, match=r"cannot all hold some of tiny, .*Give `subset.samples: \d+` or more"
    ):
        make_plan(settings(task=None, tasks=tasks, subset={"samples": 2}, models="scratch"))


def test_a_number_is_enough_in_python(tmp_path):
    outcome = evolve(
        "specialists", "troubled:splits", search=NICHES, subset=50, budget=120, run=tmp_path / "run"
    )
    assert RunDirectory(outcome.run).settings().subset.samples == 50
