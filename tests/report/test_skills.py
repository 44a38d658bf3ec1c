"""The section of skills says, shows and lists what became of each task."""

import json
import re
from dataclasses import replace

import pytest

from merganser.evaluation import Interval
from merganser.report import run_info, write_report
from merganser.report._skill_chart import skill_chart
from merganser.report._skills import skills_section
from merganser.run import Skill, Watched

TASK = "middle <i>"


def interval(value, half=0.05):
    return Interval(value, value - half, value + half)


def skill(task, change, **others):
    parents = {"a": interval(0.4), "b": interval(0.6)}
    return replace(
        Skill(task, interval(0.6 + change), parents, {"linear": interval(0.5)}, "b", interval(change)),
        **others,
    )


def told(combination, *skills):
    """The section of a run whose skills are these."""
    info = replace(run_info(combination), skills=tuple(skills))
    return skills_section(info)


def charted(skills, names):
    spec = skill_chart(skills, names, description="skills")
    return {(row["task"], row["model"]): row for row in spec["data"]["values"]}, spec


def test_the_report_of_a_run_over_several_tasks_has_the_section_with_its_picture(several, tmp_path):
    page = write_report(several, tmp_path / "r.html").read_text()
    assert 'id="skills"' in page
    assert 'id="spec-skills"' in page
    assert "<i>" not in page
    for name in (TASK.replace("<", "&lt;").replace(">", "&gt;"), "high"):
        assert f'<th scope="row">{name}</th>' in page
    assert page.index('id="test"') < page.index('id="skills"') < page.index('id="facts"')


def test_every_model_has_its_score_on_every_task_in_the_picture(several):
    info = run_info(several)
    rows, _ = charted(info.skills, [each.task for each in info.skills])
    assert len(rows) == 2 * 4
    for each in info.skills:
        assert rows[each.task, "winner"]["value"] == pytest.approx(each.winner.value, abs=1e-5)
        assert rows[each.task, "merge: linear"]["low"] == pytest.approx(
            each.baselines["linear"].low, abs=1e-5
        )
        for name, score in each.parents.items():
            assert rows[each.task, name]["high"] == pytest.approx(score.high, abs=1e-5)


def test_the_change_stands_beside_the_winner_and_is_bold_where_it_is_clear():
    rows, _ = charted([skill("x", 0.2), skill("y", -0.01)], ["x", "y"])
    assert (rows["x", "winner"]["change"], rows["x", "winner"]["clear"]) == ("+20.0", True)
    assert (rows["y", "winner"]["change"], rows["y", "winner"]["clear"]) == ("−1.0", False)
    assert rows["x", "a"]["change"] == ""


def test_a_parent_and_a_merge_of_the_same_name_are_told_apart():
    mine = skill("x", 0.0, parents={"linear": interval(0.3), "b": interval(0.6)})
    rows, _ = charted([mine], ["x"])
    assert rows["x", "linear"]["value"] == 0.3
    assert rows["x", "merge: linear"]["value"] == 0.5


def test_all_intervals_lie_within_the_axis_even_where_all_scores_are_one():
    one = Interval(1.0, 1.0, 1.0)
    same = skill("x", 0.0, winner=one, parents={"b": one}, baselines={})
    _, spec = charted([same], ["x"])
    low, high = spec["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert low < 1 < high


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ((0.2, 0.1), "the winner gains on x and y."),
        ((0.2, -0.1, 0.01), "the winner gains on x, loses on y and is within chance on 1 task."),
        ((-0.2, 0.0, 0.01), "the winner loses on x and is within chance on 2 tasks."),
        ((0.0, 0.01), "the winner is within chance on both tasks."),
        ((0.0, 0.01, 0.02), "the winner is within chance on all 3 tasks."),
    ],
)
def test_gains_and_losses_are_told_in_words(combination, changes, words):
    skills = [skill(name, change) for name, change in zip("xyz", changes, strict=False)]
    assert words in told(combination, *skills).html


def test_equal_names_of_tasks_are_numbered(combination):
    section = told(combination, skill("x", 0.2), skill("x", -0.2))
    assert "gains on x (1) and loses on x (2)" in section.html


def test_watched_tasks_are_in_the_same_picture_and_marked(edited, tmp_path):
    own, beside = skill("x", 0.2), skill("y", -0.3)
    watched = Watched("y", beside.winner, dict(beside.parents), beside.change)
    values = {"skills": [own.to_json()], "watched": [watched.to_json()]}
    run = edited(
        *(
            f"UPDATE results SET value = json_set(value, '$.{key}', json('{json.dumps(value)}')) WHERE key = 'outcome'"
            for key, value in values.items()
        )
    )
    page = write_report(run, tmp_path / "r.html").read_text()
    assert "gains on x and loses on y (watched)" in page
    assert "Watched tasks were never selected on" in page
    assert 'id="watch"' not in page
    spec = json.loads(re.search(r'id="spec-skills">(.*?)</script>', page)[1])
    assert {row["task"] for row in spec["data"]["values"]} == {"x", "y (watched)"}


def test_a_run_of_one_task_and_one_from_before_skills_were_kept_have_no_such_section(combination, edited):
    assert skills_section(run_info(combination)) is None
    older = edited("UPDATE results SET value = json_remove(value, '$.skills') WHERE key = 'outcome'")
    assert run_info(older).skills == ()
