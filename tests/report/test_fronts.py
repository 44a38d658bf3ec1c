"""Fronts are read off the journal, and drawn for two objectives and for more."""

import json

import numpy as np
import pytest
import torch

from merganser.evaluation import Mixture, Samples, Splits
from merganser.evolution import front
from merganser.report import fronts_info, run_info, write_report
from merganser.run import RunDirectory, evolve, read_objectives


class Target:
    """How near a model's answer is to one value."""

    binary = False

    def __init__(self, name, value, split):
        self.name, self.value, self.digest = name, value, f"target-{name}-{split}"
        self.samples = Samples((f"{name}-{split}",), None, split)

    def score(self, model, ids):
        answer = model(np.ones((1, 1), dtype=np.float32))[0, 0]
        return np.full(len(ids), np.clip(1 - abs(answer - self.value), 0, 1))


def module(value):
    made = torch.nn.Linear(1, 1)
    with torch.no_grad():
        made.weight.fill_(value)
        made.bias.zero_()
    return made


@pytest.fixture(scope="module")
def two(runs):
    return runs(
        "nsga2-digits", search={"method": "nsga2", "population": 10}, budget=200, baselines=["linear"]
    )


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    path = tmp_path_factory.mktemp("three") / "run"
    names = {"low": 0.0, "middle <i>": 0.4, "high": 1.0}
    split = Mixture(tuple(Target(name, value, "search") for name, value in names.items()))
    evolve([module(0.1), module(0.9)], Splits(split), search="nsga2", budget=40, run=path)
    return path


def test_stages_are_the_fronts_of_who_was_a_member_by_then(two):
    info = run_info(two)
    fronts = fronts_info(info)
    assert fronts.objectives == ("odd classes", "even classes")
    assert [stage.evaluations for stage in fronts.stages] == [3, 12, 50, 200]
    with RunDirectory(two).journal() as journal:
        objectives = read_objectives(journal.meta())
        for stage in fronts.stages:
            rows = [
                journal.row(event.recipe, info.search.digest, info.search.samples).scores
                for event in info.events.values()
                if event.index < stage.evaluations
            ]
            points = objectives.points(np.stack(rows))
            assert {tuple(p) for p in points[front(points)]} == {tuple(p) for p in stage.points}


def test_the_last_front_holds_the_front_of_the_outcome(two):
    info = run_info(two)
    last = {tuple(p) for p in fronts_info(info).stages[-1].points}
    assert {tuple(member.search.values()) for member in info.front} <= last


def test_parents_baselines_and_the_winner_are_marked(two):
    info = run_info(two)
    marked = fronts_info(info).marked
    assert [(m.kind, m.name) for m in marked] == [
        ("parent", "classes 0-4"),
        ("parent", "classes 5-9"),
        ("baseline", "linear"),
        ("winner", "winner"),
    ]
    sizes = np.bincount(read_noted(two).owner)
    for model, scores in zip(marked, (*info.parents, *info.baselines, info.winner), strict=True):
        assert model.point @ sizes / sizes.sum() == pytest.approx(scores.search)


def read_noted(run):
    with RunDirectory(run).journal() as journal:
        return read_objectives(journal.meta())


def test_the_page_has_a_section_with_fronts_hypervolume_and_a_table(two, tmp_path):
    page = write_report(two, tmp_path / "r.html").read_text()
    assert 'id="front"' in page
    assert 'id="spec-front"' in page
    assert 'id="spec-hypervolume"' in page
    for member in run_info(two).front:
        assert member.recipe[:8] in page


def test_of_three_objectives_each_has_an_axis_and_names_from_outside_stay_text(three, tmp_path):
    page = write_report(three, tmp_path / "r.html").read_text()
    assert "<i>" not in page
    tag = page[page.index('id="spec-front"') - 100 :]
    spec = json.loads(tag[tag.index(">", 100) + 1 :].split("</script>")[0])
    rows = [row for layer in spec["layer"] for row in layer["data"]["values"]]
    assert {row["task"] for row in rows} == {"low", "middle <i>", "high"}


def test_a_run_for_one_thing_has_no_such_section(combination, tmp_path):
    assert fronts_info(run_info(combination)) is None
    assert 'id="front"' not in write_report(combination, tmp_path / "r.html").read_text()
