"""From `shop` or a file with `environment:` to search, validation and test."""

import dataclasses
import json
import textwrap

import numpy as np
import pytest

from merganser import ConfigError, TaskError
from merganser.evaluation import (
    EnvironmentFile,
    EnvironmentTask,
    SplitRule,
    check_disjoint,
    choose,
    evaluate,
    join_splits,
    make_environment_task,
    open_task,
)


def parts(splits):
    return [t for t in (splits.search, splits.validation, splits.test) if t is not None]


@pytest.fixture
def file(tmp_path, doors):
    """Writes a task file beside 40 goals."""
    rows = [{"question": f"door {n}", "pushes": 1 + n % 3} for n in range(40)]
    (tmp_path / "goals.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def write(text):
        path = tmp_path / "doors.yaml"
        path.write_text(textwrap.dedent(text))
        return path

    return write


OWN = "environment: my_doors:Door\ndata: goals.jsonl\n"


def test_the_shop_by_its_name_is_divided_by_content():
    splits = open_task("shop")
    assert [len(t.samples) for t in parts(splits)] == [128, 32, 40]
    assert [t.samples.split for t in parts(splits)] == ["search", "validation", "test"]
    assert all(isinstance(t, EnvironmentTask) for t in parts(splits))
    check_disjoint(splits)
    assert open_task("shop").search.digest == splits.search.digest
    assert set(open_task("shop", SplitRule(seed=1)).test.samples.hashes) != set(splits.test.samples.hashes)
    assert len(open_task("shop", None).search.samples) == 200


def test_a_file_says_how_many_goals_and_how_they_are_played(file):
    path = file(
        """
        environment: shop
        goals: 60
        products: 200
        seed: 3
        steps: 5
        max_tokens: 20
        stop: ["]"]
        window: 0
        width: 8
        system: Buy.
        template: "{observation}\\nDo:"
        weight: 2
        """
    )
    splits = open_task(path)
    task = splits.search
    assert (task.name, splits.weight, task.steps, task.max_tokens) == ("doors", 2, 5, 20)
    assert (task.stop, task.width, task.prompt.window) == (("]",), 8, 0)
    assert sum(len(t.samples) for t in parts(splits)) == 60
    question = task.questions[0]
    first = task.prompt.text([], task.source.make().reset(question.facts()))
    assert first == f"Buy.\n\nInstruction: {question.text}\nSearch page: search[words]\nDo:"
    other = make_environment_task(EnvironmentFile("shop", goals=60, products=200, seed=4))
    assert not set(other.search.samples.hashes) & set(task.samples.hashes)


def test_an_environment_of_ones_own_plays_goals_from_a_file(file, pusher):
    splits = open_task(file(OWN + "steps: 2\n"))
    assert [len(t.samples) for t in parts(splits)] == [26, 6, 8]
    task = splits.test
    scores = task.score(pusher(), np.arange(8))
    needed = np.array([int(q.fields["pushes"]) for q in task.questions])
    assert scores == pytest.approx(np.minimum(2 / needed, 1))
    elsewhere = open_task(file(OWN + "steps: 2\nseconds: 20\nwidth: 2\n")).test
    assert elsewhere.score(pusher(), np.arange(8)).tolist() == scores.tolist()


def test_some_of_the_goals_are_taken_by_their_content(file):
    few, more = (open_task(file(OWN + f"goals: {n}\n"), None).search for n in (10, 20))
    assert (few.name, len(more.samples)) == ("doors [10 of 40]", 20)
    assert set(few.samples.hashes) < set(more.samples.hashes)


def test_the_same_goal_twice_counts_once_and_is_told(file, tmp_path):
    goals = tmp_path / "goals.jsonl"
    goals.write_text(goals.read_text() + "\n" + json.dumps({"question": "door 0", "pushes": 1}))
    splits = open_task(file(OWN), None)
    assert len(splits.search.samples) == 40
    assert splits.notes == ("doors: 1 questions stand there more than once; the first of each is kept.",)


def test_an_empty_goal_is_refused_with_its_line(file, tmp_path):
    (tmp_path / "goals.jsonl").write_text('{"question": "a", "pushes": 1}\n{"question": " ", "pushes": 1}\n')
    with pytest.raises(TaskError, match="2"):
        open_task(file(OWN))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("environment: shop\ngoal: 3", "Did you mean `goals`"),
        ("environment: shop\ngoals: 0", "`goals`: .* but found 0"),
        ("environment: shop\ngoals: 501", "come 1 to 500 goals, but `goals` is 501"),
        ("environment: shop\nproducts: 7", "at least 50 products, but `products` is 7"),
        ("environment: shop\ndata: goals.jsonl", "Leave out `data`"),
        ("environment: shop\nseconds: 3", "Leave out `seconds`"),
        ("environment: my_doors:Door", "needs `data:`, a file of goals"),
        (OWN + "products: 100", "Leave out `products`"),
        ("environment: mall", "`shop` or `module:function`, but 'mall' cannot be found"),
        ("environment: shop\ntemplate: Look!", r"must hold `\{observation\}`"),
        ("environment: shop\nsteps: none", "`steps`"),
    ],
)
def test_wrong_files_say_what_is_wrong(file, text, message):
    with pytest.raises((ConfigError, TaskError), match=message):
        open_task(file(text))


def test_it_is_evaluated_with_transcripts_and_mixes_with_other_tasks(file, pusher):
    splits = open_task(file(OWN))
    found = evaluate(["pusher"], [choose(splits, "test")], lambda model, task: pusher())
    rows = list(found.results[0].samples())
    assert len(rows) == 8
    assert rows[0]["turns"][0] == {"observation": rows[0]["question"], "action": "push"}
    assert {(row["score"], row["ended"]) for row in rows} == {(1.0, "done")}
    json.dumps(rows)
    mixed = join_splits([splits, open_task("shop")]).search
    scores = mixed.score(pusher(), np.array([0, len(splits.search.samples)]))
    assert scores.tolist() == [1, 0]


def test_in_a_chat_the_page_is_all_that_is_said(file):
    task = open_task(file("environment: shop\nchat: true\n")).search
    assert (task.prompt.template, task.prompt.chat) == ("{observation}", True)
    assert dataclasses.replace(task.prompt, chat=False) != task.prompt
