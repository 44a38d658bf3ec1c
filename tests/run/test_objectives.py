"""Runs for several things at once: what they keep, and what cannot be done."""

from dataclasses import replace

import numpy as np
import pytest

import merganser.run._loop as loop
from merganser import ConfigError, RunError
from merganser.evaluation import Mixture
from merganser.evolution import Nsga2, front, hypervolume
from merganser.run import (
    FrontMember,
    RunDirectory,
    evolve,
    evolve_settings,
    export,
    make_plan,
    parse_settings,
    read_objectives,
    summarise,
)
from merganser.run._objectives import axes_of, objectives_of, required_objectives
from merganser.weights import open_checkpoint


def settings(folder, budget=80, **search):
    data = {
        "models": [str(folder / "low.safetensors"), str(folder / "high.safetensors")],
        "tasks": [{"task": str(folder / f"{name}.npz")} for name in ("low", "high")],
        "search": search,
        "budget": {"evaluations": budget},
    }
    return parse_settings(data)


@pytest.fixture(scope="session")
def finished(two_tasks, tmp_path_factory):
    run = tmp_path_factory.mktemp("run") / "nsga2"
    return evolve_settings(settings(two_tasks, 150, method="NSGA-II", population=8), run=run)


def test_the_front_is_kept_with_its_scores_on_each_task(finished):
    points = np.array([list(m.search.values()) for m in finished.front])
    assert len(points) > 1
    assert front(points).all()
    assert len(np.unique(points, axis=0)) == len(points)
    assert all(set(m.search) == set(m.validation) == {"low", "high"} for m in finished.front)
    summary = summarise(finished.run)
    assert summary.front == finished.front
    assert summary.to_json()["front"] == finished.to_json()["front"]
    assert FrontMember.from_json(summary.to_json()["front"][0]) == finished.front[0]
    assert summary.hypervolume == pytest.approx(hypervolume(points))


def test_the_scores_of_the_front_are_those_of_the_journal(finished):
    with RunDirectory(finished.run).journal() as journal:
        tasks = {task.split: task for task in journal.tasks()}
        objectives = read_objectives(journal.meta())
        member = finished.front[0]
        row = journal.row(member.recipe, tasks["search"].digest, tasks["search"].samples)
    assert objectives.names == ("low", "high")
    assert dict(zip(objectives.names, objectives.points(row.scores), strict=True)) == member.search


def test_the_hypervolume_is_noted_at_each_point_and_rises(finished):
    with RunDirectory(finished.run).journal() as journal:
        volumes = [point.hypervolume for point in journal.progress()]
    assert None not in volumes
    assert volumes[-1] > volumes[0]


def test_the_winner_is_the_member_with_the_best_validation_score(finished):
    with RunDirectory(finished.run).journal() as journal:
        validation = next(task for task in journal.tasks() if task.split == "validation")
        events = {child.index: child.recipe for child in journal.children()}
        members = [events[i] for i in journal.meta()["members"]]
        means = [journal.row(recipe, validation.digest, validation.samples).mean for recipe in members]
    assert finished.winner.validation == max(means)


def test_every_member_of_the_front_can_be_exported_and_no_other_digest(finished, tmp_path):
    member = finished.front[-1]
    export(finished.run, tmp_path / "out", recipe=member.recipe[:10])
    assert open_checkpoint(tmp_path / "out").layout.size == 64 * 32 + 32 + 32 * 10 + 10
    with pytest.raises(RunError, match="fits 0 of"):
        export(finished.run, tmp_path / "other", recipe="xyz")


def test_any_search_over_several_tasks_keeps_its_front(two_tasks, tmp_path):
    outcome = evolve_settings(settings(two_tasks, 30, method="natural-niches"), run=tmp_path / "run")
    assert outcome.front
    assert summarise(outcome.run).hypervolume > 0


def test_a_run_for_one_thing_has_no_front(tmp_path, small_npz):
    outcome = evolve("specialists", str(small_npz), budget=20, run=tmp_path / "run")
    assert outcome.front == ()
    assert summarise(outcome.run).hypervolume is None
    with RunDirectory(outcome.run).journal() as journal:
        assert read_objectives(journal.meta()) is None


def test_nsga2_takes_odd_and_even_classes_of_one_task(tmp_path, small_npz):
    outcome = evolve("scratch", str(small_npz), search="nsga2", budget=40, run=tmp_path / "run")
    assert set(outcome.front[0].search) == {"odd classes", "even classes"}


def test_nsga2_searches_genes_of_recipes_on_several_tasks(two_tasks, tmp_path):
    by_rule = {"method": "linear", "genes": {"weight": [-0.5, 1.5]}, "groups": "layer"}
    data = settings(two_tasks, 60, method="nsga2", population=6).to_json()
    outcome = evolve_settings(parse_settings({**data, "genome": by_rule}), run=tmp_path / "run")
    assert outcome.finished
    assert outcome.winner.digest in {p.stem for p in (outcome.run / "recipes").iterdir()}
    assert len(outcome.front) > 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stopped_run_of_two_tasks_ends_as_an_undisturbed_one(
    two_tasks, tmp_path, contents, monkeypatch, workers
):
    wanted = replace(settings(two_tasks, 45, method="nsga2", population=5), workers=workers)
    evolve_settings(wanted, run=tmp_path / "whole")
    original = loop.Evolution.step

    def step(evolution):
        if evolution.evaluations == 25:
            evolution.save()
            raise InterruptedError
        original(evolution)

    monkeypatch.setattr(loop.Evolution, "step", step)
    with pytest.raises(InterruptedError):
        evolve_settings(wanted, run=tmp_path / "broken")
    monkeypatch.undo()
    evolve_settings(wanted, run=tmp_path / "broken")
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_the_axes_of_map_elites_are_two_tasks(two_tasks):
    plan = make_plan(settings(two_tasks, method="map-elites"))
    objectives = objectives_of(plan.splits.search)
    assert (plan.search.groups == objectives.groups).all()
    turned = make_plan(settings(two_tasks, method="map-elites", axes=["high", "low"]))
    assert (turned.search.groups == objectives.groups[::-1]).all()
    with pytest.raises(ConfigError, match=r"names 'hihg', but the tasks are low, high\. Did you mean 'high'"):
        make_plan(settings(two_tasks, method="map-elites", axes=["low", "hihg"]))
    with pytest.raises(ConfigError, match="'low' twice"):
        make_plan(settings(two_tasks, method="map-elites", axes=["low", "low"]))


def test_more_than_two_tasks_need_named_axes(two_tasks):
    one, other = make_plan(settings(two_tasks)).splits.search.parts
    three = Mixture((one, other, one))
    assert objectives_of(three).names == ("low 1", "high", "low 3")
    with pytest.raises(ConfigError, match=r"there are 3 tasks\. Name two of them"):
        axes_of(three, None)


def test_one_task_keeps_its_odd_and_even_classes(small_npz):
    plan = make_plan(parse_settings({"task": str(small_npz), "search": {"method": "map-elites"}}))
    labels = plan.splits.search.samples.labels
    np.testing.assert_array_equal(plan.search.groups, [labels % 2 == 1, labels % 2 == 0])


def test_what_makes_no_objectives_is_refused_with_what_to_do(two_tasks):
    part = make_plan(settings(two_tasks)).splits.search.parts[0]
    unlabelled = replace(part, samples=replace(part.samples, labels=None))
    with pytest.raises(ConfigError, match="one task without classes"):
        required_objectives(unlabelled)
    odd = replace(part, samples=replace(part.samples, labels=np.ones_like(part.samples.labels)))
    with pytest.raises(ConfigError, match="`even classes` has no sample"):
        required_objectives(odd)


@pytest.mark.parametrize("name", ["nsga2", "nsga-ii", "NSGA-II"])
def test_nsga2_has_the_names_that_others_write(small_npz, name):
    plan = make_plan(parse_settings({"task": str(small_npz), "search": {"method": name}}))
    assert isinstance(plan.search, Nsga2)
    assert plan.settings.search.method == "nsga2"


def test_cma_es_begins_again_in_runs_unless_told_otherwise(small_npz):
    data = {"models": "specialists", "task": str(small_npz)}
    for genome in ({}, {"method": "linear", "genes": {"weight": None}}):
        for search, restarts in (({}, 9), ({"restarts": 2}, 2)):
            plan = make_plan(
                parse_settings({**data, "genome": genome, "search": {"method": "cma-es", **search}})
            )
            assert plan.search.restarts == restarts
