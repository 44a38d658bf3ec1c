"""What can go wrong with a candidate costs a candidate; what can go wrong with a run is said before it begins."""

import errno
import re
import sqlite3
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn

from merganser import CheckpointError, ConfigError, OutputError, RunError, TaskError, save
from merganser.evaluation import Classification, Samples, Splits, content_hashes
from merganser.evolution import Row
from merganser.models import perceptron_size, perceptron_tensors
from merganser.run import Evolution, EvolveSettings, RunDirectory, evolve, export, make_plan, resume
from merganser.weights import Checkpoint

WIDTHS = (4, 3, 2)


def network(seed):
    flat = np.random.default_rng(seed).standard_normal(perceptron_size(WIDTHS)).astype(np.float32)
    return Checkpoint.from_tensors(perceptron_tensors(flat, WIDTHS))


def toy_task(samples=40):
    inputs = np.random.default_rng(0).standard_normal((samples, WIDTHS[0])).astype(np.float32)
    return Classification.of("toy", inputs, (inputs[:, 0] > 0).astype(np.int64), "search")


@dataclass
class Moody:
    """A task that does what it is told to at chosen calls."""

    trouble: dict = field(default_factory=dict)
    scores: float = 1.0
    name: str = "moody"
    digest: str = "0" * 32
    binary: bool = False
    samples: Samples = field(
        default_factory=lambda: Samples(content_hashes([b"a", b"b", b"c"]), split="search")
    )
    calls: int = 0

    def score(self, model, ids):
        self.calls += 1
        trouble = self.trouble.get(self.calls, self.trouble.get("always"))
        if isinstance(trouble, BaseException):
            raise trouble
        if trouble is not None:
            return trouble
        return np.linspace(0.2, 0.7, len(ids)) * self.scores


class Mlp(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.inner, self.outer = nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.outer(self.inner(x).relu())


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (RuntimeError("the judge is asleep"), "RuntimeError: the judge is asleep"),
        (MemoryError("no more"), "MemoryError: no more"),
        (np.zeros(2), "scores of shape"),
        (np.full(3, np.nan), "not in \\[0, 1\\]"),
        (np.full(3, 1.5), "not in \\[0, 1\\]"),
    ],
)
def test_a_candidate_that_cannot_be_scored_is_recorded_with_its_reason_and_the_run_goes_on(
    tmp_path, trouble, reason
):
    task = Moody({5: trouble})
    outcome = evolve([Mlp(0), Mlp(1)], task, budget=30, run=tmp_path / "run")
    assert outcome.evaluations == 30
    assert outcome.failures == 1
    with RunDirectory(tmp_path / "run").journal() as journal:
        (failed,) = [c for c in journal.children() if c.failed]
    assert re.search(reason, failed.failed)
    assert failed.score == 0


def test_networks_that_answer_nan_are_scored_worst_and_never_win(tmp_path):
    class Cracked(Mlp):
        def forward(self, x):
            out = super().forward(x)
            return out / 0.0 if float(self.inner.weight[0, 0]) > threshold else out

    ends = [float(Mlp(seed).inner.weight[0, 0].detach()) for seed in (0, 3)]
    threshold = sum(ends) / 2
    outcome = evolve([Cracked(0), Cracked(3)], toy_task(), budget=60, run=tmp_path / "run")
    assert 0 < outcome.failures < 60
    assert outcome.winner is not None
    assert outcome.winner.failed is None


def test_if_no_parent_can_be_scored_the_run_stops_and_says_why(tmp_path):
    with pytest.raises(TaskError, match="None of the 2 models can be scored on moody: ValueError: broken"):
        evolve([Mlp(0), Mlp(1)], Moody({"always": ValueError("broken")}), budget=30, run=tmp_path / "run")


def test_one_seed_equal_seeds_and_zero_seeds_are_no_trouble(tmp_path):
    zero = Checkpoint.from_tensors(perceptron_tensors(np.zeros(perceptron_size(WIDTHS), np.float32), WIDTHS))
    one = network(0)
    for name, seeds in {
        "one": [one],
        "equal": [one, one],
        "zero": [one, zero],
        "zeros": [zero, zero],
    }.items():
        outcome = evolve(seeds, toy_task(), budget=60, run=tmp_path / name)
        assert outcome.evaluations == 60
        assert outcome.winner is not None


def test_equal_recipes_are_evaluated_once(tmp_path):
    task = toy_task()
    outcome = evolve([network(0)], task, budget=50, run=tmp_path / "run")
    assert outcome.samples_measured == len(task.samples)


def test_early_rejection_changes_nothing_but_the_cost(tmp_path):
    runs = {}
    for early in (True, False):
        search = {"method": "natural-niches", "population": 6, "early_rejection": early}
        outcome = evolve("scratch", toy_splits(), search=search, budget=1500, run=tmp_path / str(early))
        with RunDirectory(tmp_path / str(early)).journal() as journal:
            accepted = [(c.index, c.recipe, c.parents) for c in journal.children() if c.accepted]
        runs[early] = (outcome.winner, accepted, outcome.coverage, outcome.entropy)
        saved = outcome.samples_saved
        assert (saved > 0) == early
    assert runs[True] == runs[False]


def toy_splits():
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((400, 6)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int64) + 2 * (inputs[:, 1] > 0)
    parts = {s: slice(a, b) for s, a, b in (("search", 0, 300), ("validation", 300, 350), ("test", 350, 400))}
    return Splits(*(Classification.of("toy", inputs[p], labels[p], s) for s, p in parts.items()))


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        (lambda: [network(0), Mlp(1)], "'layers.0.weight' is in model 0, but not in model 1"),
        (
            lambda: [Checkpoint.from_tensors({"w": np.ones((9, 9), np.float32)})],
            "Expected a matrix that takes 4 values",
        ),
        (lambda: [Checkpoint.from_tensors({"n": np.ones(3, np.int64)})], "holds no floating tensors"),
        (lambda: [bad_network(np.nan)], "holds nan at position"),
        (lambda: [one_class_network()], "answers with 1 values"),
    ],
)
def test_models_that_do_not_fit_are_refused_before_anything_is_written(tmp_path, models, expected):
    with pytest.raises(ValueError, match=expected):
        evolve(models(), toy_task(), budget=10, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def bad_network(value):
    flat = np.ones(perceptron_size(WIDTHS), np.float32)
    flat[5] = value
    return Checkpoint.from_tensors(perceptron_tensors(flat, WIDTHS))


def one_class_network():
    flat = np.ones(perceptron_size((4, 3, 1)), np.float32)
    return Checkpoint.from_tensors(perceptron_tensors(flat, (4, 3, 1)))


def test_a_truncated_and_a_corrupted_seed_are_named(tmp_path):
    save(network(0), tmp_path / "whole.safetensors")
    data = (tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[:-7])
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 8 + data[8:])
    for name in ("cut", "bad", "missing"):
        seeds = [tmp_path / "whole.safetensors", tmp_path / f"{name}.safetensors"]
        with pytest.raises(CheckpointError, match=name):
            evolve(seeds, toy_task(), budget=10, run=tmp_path / "run")


def test_a_seed_that_changed_since_the_run_began_is_refused(tmp_path, small_npz):
    flat = np.random.default_rng(0).standard_normal(perceptron_size((64, 10))).astype(np.float32)
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for i, path in enumerate(paths):
        save(Checkpoint.from_tensors(perceptron_tensors(flat + i, (64, 10))), path)
    evolve(paths, str(small_npz), budget=20, run=tmp_path / "run")
    save(Checkpoint.from_tensors(perceptron_tensors(flat + 5, (64, 10))), paths[1], overwrite=True)
    with pytest.raises(RunError, match=r"The parent 'b' at .*b.safetensors changed"):
        resume(tmp_path / "run", budget=40)


def test_a_full_disk_loses_nothing_but_the_last_half_second(tmp_path, small_npz, monkeypatch):
    """A database that may not grow is what a full disk looks like to SQLite."""
    from merganser.run import Journal

    original = Journal.__init__

    def cramped(self, path, *, write=False):
        original(self, path, write=write)
        if write:
            self._db.execute("PRAGMA max_page_count=20")

    monkeypatch.setattr(Journal, "__init__", cramped)
    with pytest.raises(OutputError, match=r"database or disk is full.*merganser runs resume"):
        evolve("specialists", str(small_npz), budget=2000, run=tmp_path / "run")
    monkeypatch.setattr(Journal, "__init__", original)
    again = resume(tmp_path / "run")
    undisturbed = evolve("specialists", str(small_npz), budget=2000, run=tmp_path / "other")
    assert again.winner == undisturbed.winner


def test_a_disk_that_is_full_at_the_end_leaves_the_run_resumable(tmp_path, small_npz, monkeypatch):
    import merganser.run._outcome as outcome_module

    def full(*_args, **_kwargs):
        raise OutputError("disk full") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(outcome_module, "write_recipe", full)
    with pytest.raises(OutputError, match="disk full"):
        evolve("specialists", str(small_npz), budget=100, run=tmp_path / "run")
    monkeypatch.undo()
    assert resume(tmp_path / "run").finished


def test_a_task_given_as_an_object_is_resumed_from_python_only(tmp_path):
    import merganser.run._loop as loop

    original = loop.Evolution.step
    try:
        loop.Evolution.step = lambda self: stop(self) if self.evaluations == 12 else original(self)
        with pytest.raises(InterruptedError):
            evolve([Mlp(0), Mlp(1)], Moody(), budget=20, run=tmp_path / "run")
    finally:
        loop.Evolution.step = original
    with pytest.raises((RunError, ConfigError, TaskError)):
        resume(tmp_path / "run")
    assert evolve([Mlp(0), Mlp(1)], Moody(), budget=20, run=tmp_path / "run").evaluations == 20


def stop(evolution):
    evolution.save()
    raise InterruptedError


def test_a_winner_is_not_written_over_something(tmp_path, small_npz):
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        evolve("scratch", str(small_npz), budget=10, run=tmp_path / "run", out=tmp_path / "out")


def test_several_tasks_count_by_weight(tmp_path, small_npz):
    from merganser.run import evolve_settings, parse_settings

    data = {
        "tasks": [{"task": str(small_npz), "weight": 3}, {"task": str(small_npz)}],
        "budget": {"evaluations": 40},
    }
    outcome = evolve_settings(parse_settings(data), run=tmp_path / "run")
    assert outcome.evaluations == 40


def test_the_journal_is_committed_as_one_transaction(tmp_path, small_npz):
    evolve("scratch", str(small_npz), budget=25, run=tmp_path / "run")
    db = sqlite3.connect(tmp_path / "run" / "run.db")
    children, scores = (db.execute(f"SELECT COUNT(*) FROM {t}").fetchone()[0] for t in ("children", "scores"))
    assert children == 25
    assert scores >= 25


def test_other_models_of_the_same_kind_do_not_continue_a_run(tmp_path):
    evolve([Mlp(0), Mlp(1)], toy_task(), budget=20, run=tmp_path / "run")
    with pytest.raises(RunError, match="other settings"):
        evolve([Mlp(0), Mlp(2)], toy_task(), budget=40, run=tmp_path / "run")
    assert evolve([Mlp(0), Mlp(1)], toy_task(), budget=40, run=tmp_path / "run").evaluations == 40


def test_no_models_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="`models` is empty"):
        evolve([], toy_task(), budget=20, run=tmp_path / "run")


def test_a_double_precision_winner_is_exported_as_it_was_found(tmp_path, small_npz):
    seeds = []
    for k in range(2):
        flat = np.random.default_rng(k).standard_normal(perceptron_size((64, 8, 10)))
        named = perceptron_tensors(flat, (64, 8, 10))
        seeds.append(Checkpoint.from_tensors({name: t.astype(np.float64) for name, t in named.items()}))
    outcome = evolve(seeds, str(small_npz), budget=60, run=tmp_path / "run")
    assert outcome.checkpoint is not None
    assert outcome.checkpoint.spec("layers.0.weight").dtype == "F64"
    assert export(tmp_path / "run", tmp_path / "out").digest == outcome.checkpoint.digest


def test_of_a_recipe_met_before_only_what_is_unknown_is_measured(tmp_path, small_npz):
    plan = make_plan(EvolveSettings(models="specialists", task=str(small_npz)))
    directory, task = RunDirectory(tmp_path / "run"), plan.splits.search
    directory.create(plan)
    with directory.journal(write=True) as journal:
        evolution = Evolution(plan, journal)
        for _ in range(40):
            evolution.step()
        _, (child,) = evolution.search.ask(1)
        plan.model.write(plan.space.flat(child.genome))
        truth = task.score(plan.model, np.arange(len(task.samples)))
        known = np.arange(len(truth)) % 3 > 0
        journal.add_scores(bytes.fromhex(child.digest), task, Row(truth * known, known))
        before = evolution.measured
        evolution.step()
        row = journal.row(child.digest, task.digest, len(truth))
        everywhere = np.ones(len(truth), bool)
        measured = everywhere if row.measured is None else row.measured
        assert (measured | known == measured).all()
        assert (row.scores[measured] == truth[measured]).all()
        assert evolution.measured - before == measured.sum() - known.sum()
