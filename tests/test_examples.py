"""The files of the examples are what the product reads, and what they print is right."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from merganser.evaluation import SplitRule, open_task
from merganser.run import read_settings

EXAMPLES = Path(__file__).parent.parent / "examples"
EVOLVE_FILES = [path for path in sorted(EXAMPLES.glob("*/*.yaml")) if "models:" in path.read_text()]
FOUR = EXAMPLES / "four-skills"


@pytest.fixture
def scripts(monkeypatch):
    """Imports a script of examples/four-skills, as running it does."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(FOUR))
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(FOUR) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("path", EVOLVE_FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_evolve_files_are_read_and_their_tasks_are_there(path):
    settings = read_settings(path)
    assert settings.weighted_tasks
    assert all(Path(task.task).is_file() for task in settings.weighted_tasks)


def test_searches_over_four_skills_have_the_same_data_and_budget(scripts):
    tasks = scripts("tasks")
    found = [tasks.settings_of(search) for search in tasks.SEARCHES]
    assert len({(s.models, s.weighted_tasks, s.splits, s.dtype) for s in found}) == 1
    parts = [[s.budget] if s.then is None else [s.budget, s.then.budget] for s in found]
    assert {sum(part.evaluations for part in each) for each in parts} == {40}


def test_oracle_episodes_to_tune_on_are_those_of_the_search_goals(scripts):
    search = open_task(str(FOUR / "shop.yaml"), SplitRule(validation=0.4, test=0.6)).search
    pairs = scripts("finetune").pairs_of(search)
    bought = [pair for pair in pairs if pair.text == " click[Buy Now]\n"]
    assert len(bought) == len(search.samples)
    assert all(any(goal.text in pair.context for goal in search.questions) for pair in pairs)


def test_demonstrations_are_of_no_goal_that_is_searched_or_tested(scripts):
    splits = open_task(str(FOUR / "shop.yaml"), SplitRule(validation=0.4, test=0.6))
    goals = {goal.text for part in (splits.search, splits.validation, splits.test) for goal in part.questions}
    shown = scripts("skills")._shop()
    assert len(shown) > 5000
    assert not any(goal in pair.context for pair in shown for goal in goals)


def test_table_tells_means_ranges_and_what_is_lost(scripts):
    table = scripts("table")
    names = [*table.SKILLS, table.ACCURACY]
    base = dict.fromkeys(names, 0.2)
    rows = {"base": {0: base, 1: base}}
    rows |= {skill: {0: base | {skill: 0.4}, 1: base | {skill: 0.6}} for skill in table.SKILLS}
    rows["m2n2"] = {0: dict.fromkeys(names, 0.3)}
    lines = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
        for line in table.table(rows)
    }
    assert lines["plays"][:2] == ["50.0 (40.0 to 60.0)", "20.0"]
    assert lines["plays"][5:7] == ["0.0", "30.0 (20.0 to 40.0)"]
    assert lines["m2n2 (1 of 2 seeds)"] == ["30.0"] * 5 + ["10.0"] * 4 + ["30.0"]


def test_held_out_questions_are_not_trained_on(scripts, tmp_path):
    skills = scripts("skills")
    data = tmp_path / "data"
    for folder in ("tinyshakespeare", "gsm8k", "jcommonsenseqa"):
        (data / folder).mkdir(parents=True)
    speeches = "\n\n".join(
        f"KING:\n{n} " + "thou art a wise and gentle man of many words and few deeds" for n in range(600)
    )
    (data / "tinyshakespeare" / "input.txt").write_text(speeches)
    problems = [
        {"question": f"What is {n} + 1?", "answer": f"{n}+1=<<{n}+1={n + 1}>>{n + 1}\n#### {n + 1}"}
        for n in range(300)
    ]
    asked = [
        {"question": f"{n:03}?", **{f"choice{k}": f"{n}{k}" for k in range(5)}, "label": n % 5}
        for n in range(300)
    ]
    for name, rows in (("gsm8k/train.jsonl", problems), ("jcommonsenseqa/train-v1.3.json", asked)):
        (data / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = skills.read_skills(data, tmp_path)
    assert texts["maths"][0].text.count("<<") == 0
    for skill in ("plays", "maths", "japanese"):
        lines = [*(tmp_path / f"{skill}.jsonl").open(), *(tmp_path / f"{skill}-test.jsonl").open()]
        held_out = {json.loads(line)["question"] for line in lines}
        assert len(held_out) == 200
        assert len(texts[skill]) >= 100
        assert not any(question in pair.context for pair in texts[skill] for question in held_out)
