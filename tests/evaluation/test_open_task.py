"""From a reference to search, validation and test: nothing scored twice, nothing shown that is asked."""

import json
import textwrap
from collections import Counter

import numpy as np
import pytest

from merganser import ConfigError, TaskError
from merganser.evaluation import (
    ChoiceTask,
    Classification,
    GenerativeTask,
    SetMetric,
    SplitRule,
    check_disjoint,
    is_task_file,
    join_splits,
    open_task,
)

RULE = SplitRule()


def lines(rows):
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


def sums(start, stop):
    return [{"question": f"What are {a} and {a}?", "answer": str(2 * a)} for a in range(start, stop)]


@pytest.fixture
def folder(tmp_path):
    """A folder with 100 sums, 20 others for the test, 6 for examples, and five of them in both."""
    (tmp_path / "sums.jsonl").write_text(lines(sums(0, 100)))
    (tmp_path / "held_out.jsonl").write_text(lines(sums(95, 115)))
    (tmp_path / "shots.jsonl").write_text(lines(sums(98, 100) + sums(200, 204)))
    return tmp_path


def task_file(folder, text, name="task.yaml"):
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def parts(splits):
    return [t for t in (splits.search, splits.validation, splits.test) if t is not None]


def test_a_file_alone_is_divided_by_content(folder):
    splits = open_task(folder / "sums.jsonl")
    assert [len(t.samples) for t in parts(splits)] == [64, 16, 20]
    assert [t.samples.split for t in parts(splits)] == ["search", "validation", "test"]
    assert {q.text for t in parts(splits) for q in t.questions} == {row["question"] for row in sums(0, 100)}
    check_disjoint(splits)
    reversed_file = folder / "reversed.jsonl"
    reversed_file.write_text(lines(sums(0, 100)[::-1]))
    again = open_task(reversed_file)
    assert set(again.test.samples.hashes) == set(splits.test.samples.hashes)
    other = open_task(folder / "sums.jsonl", SplitRule(seed=1))
    assert set(other.test.samples.hashes) != set(splits.test.samples.hashes)


def test_no_rule_leaves_it_in_one_piece(folder):
    splits = open_task(folder / "sums.jsonl", None)
    assert (len(splits.search.samples), splits.search.samples.split, splits.test) == (100, "all", None)
    arrays = open_task("digits", None)
    assert [len(t.samples) for t in parts(arrays)] == [1437, 360]


def test_the_papers_protocol_takes_the_end_of_the_file(folder):
    splits = open_task(folder / "sums.jsonl", SplitRule("paper"))
    assert [len(t.samples) for t in parts(splits)] == [80, 20]
    assert splits.test.questions[0].text == "What are 80 and 80?"


def test_a_test_set_given_apart_is_respected_and_what_it_holds_is_not_searched_on(folder):
    splits = open_task(task_file(folder, "data: sums.jsonl\ntest: held_out.jsonl\n"))
    assert (splits.dropped, len(splits.test.samples)) == (5, 20)
    assert len(splits.search.samples) + len(splits.validation.samples) == 95
    check_disjoint(splits)
    paper = open_task(folder / "task.yaml", SplitRule("paper"))
    assert (paper.dropped, len(paper.search.samples)) == (0, 100)
    assert any("5 questions of the search are in the test set too" in note for note in paper.notes)


def test_doubles_are_dropped_and_told(folder):
    rows = sums(0, 20) + sums(0, 3) + [{"question": "What are 4 and 4?", "answer": "9"}]
    (folder / "doubled.jsonl").write_text(lines(rows))
    splits = open_task(folder / "doubled.jsonl")
    assert sum(len(t.samples) for t in parts(splits)) == 20
    expected = (
        "4 questions stand there more than once, 1 of them with another answer; the first of each is kept."
    )
    assert f"doubled: {expected}" in splits.notes


def test_near_doubles_across_splits_are_told_with_an_example(folder):
    long = (
        "A farmer sells {} eggs at the market every single morning and keeps the remaining ones for breakfast"
    )
    rows = [{"question": f"{k} {hash_like(k)} is this unlike all others?", "answer": "1"} for k in range(20)]
    (folder / "near.jsonl").write_text(lines([*rows, {"question": long.format("nine"), "answer": "2"}]))
    (folder / "near_test.jsonl").write_text(
        lines(
            [
                {"question": long.format("NINE,") + "!", "answer": "2"},
                {"question": "quite another", "answer": "3"},
            ]
        )
    )
    file = task_file(folder, "data: near.jsonl\ntest: near_test.jsonl\n")
    notes = [n for preset in ("default", "paper") for n in open_task(file, SplitRule(preset)).notes]
    told = [n for n in notes if "test questions are nearly the same as a search question" in n]
    assert told
    assert "task: 1 of 2 test questions" in told[-1]
    assert "(line 1) and" in told[-1]
    assert "(line 21): their scores flatter." in told[-1]
    assert not open_task(folder / "shots.jsonl", SplitRule(validation=0.5, test=0.3)).dropped


def hash_like(k):
    return "".join(chr(97 + (k * 7919 + i * i * 31) % 26) for i in range(40))


@pytest.mark.parametrize(
    ("rows", "kind", "scorer"),
    [
        (sums(0, 9), GenerativeTask, "numeric 1"),
        ([{"question": f"{a}?", "answer": f"word {a}"} for a in range(9)], GenerativeTask, "exact 1"),
        ([{"question": f"{a}?", "choices": ["x", "y"], "answer": 0} for a in range(9)], ChoiceTask, None),
        ([{"text": f"once upon {a}"} for a in range(9)], SetMetric, None),
    ],
)
def test_the_scorer_fits_the_answers_where_none_is_named(tmp_path, rows, kind, scorer):
    path = tmp_path / "q.jsonl"
    path.write_text(lines(rows))
    task = open_task(path).search
    assert isinstance(task, kind)
    assert scorer is None or task.scorer.identity == scorer


def test_everything_a_task_file_says_arrives(folder):
    file = task_file(
        folder,
        r"""
        name: my sums
        data: sums.jsonl
        columns: {question: question, answer: answer}
        template: "Q: {question}\nA:"
        answer: " It is {answer}."
        system: Add.
        shots: {data: shots.jsonl, count: 3}
        separator: "\n--\n"
        scorer: numeric:evomerge
        language: ja
        stop: ["Q:"]
        max_tokens: 50
        weight: 3
        """,
    )
    splits = open_task(file)
    task = splits.search
    assert (task.name, splits.weight) == ("my sums", 3)
    assert task.scorer.identity == "numeric:evomerge+ja (script) 1"
    (request,) = task.requests(np.array([0]))
    blocks = request.prompt.split("\n--\n")
    assert blocks[:2] == ["Add.", "Q: What are 200 and 200?\nA: It is 400."]
    assert blocks[-1] == f"Q: {task.questions[0].text}\nA:"
    assert (len(blocks), request.stop, request.max_tokens) == (5, ("Q:",), 50)


def test_examples_are_never_what_is_scored(folder):
    file = task_file(folder, "data: sums.jsonl\nshots: {data: shots.jsonl, count: 4}\n")
    splits = open_task(file)
    shown = {e.text for e in splits.search.prompt.examples}
    assert shown == {row["question"] for row in sums(200, 204)}
    assert "task: 2 examples were passed over: they are scored, or have no answer." in splits.notes
    task_file(folder, "data: sums.jsonl\nshots: {data: shots.jsonl, count: 5}\n")
    with pytest.raises(
        TaskError, match="has 4 examples with answers that are not scored themselves, but `shots` asks for 5"
    ):
        open_task(file)


def test_a_limit_is_seeded_nested_and_stated(folder):
    def taken(limit, extra=""):
        file = task_file(folder, f"data: sums.jsonl\nlimit: {limit}\n{extra}")
        task = open_task(file, None).search
        assert task.name == f"task [{limit} of 100]"
        return [q.text for q in task.questions]

    twenty = taken(20)
    assert set(twenty) < set(taken(40))
    assert twenty != taken(20, "seed: 1\n")
    assert taken(20, "take: first\n") == [row["question"] for row in sums(0, 20)]
    assert open_task(task_file(folder, "data: sums.jsonl\nlimit: 100\n"), None).search.name == "task"


def test_a_limit_takes_its_share_of_every_stratum(tmp_path):
    rows = [
        {
            "question": f"{a}?",
            "choices": ["x", "y", "z"],
            "answer": 0 if a < 60 else 1 + a % 2,
            "level": str(a % 4),
        }
        for a in range(100)
    ]
    (tmp_path / "q.jsonl").write_text(lines(rows))
    by_answer = open_task(task_file(tmp_path, "data: q.jsonl\nlimit: 10\n"), None).search
    assert Counter(q.right for q in by_answer.questions) == {0: 6, 1: 2, 2: 2}
    by_level = open_task(task_file(tmp_path, "data: q.jsonl\nlimit: 10\nstratify: level\n"), None).search
    assert sorted(Counter(q.fields["level"] for q in by_level.questions).values()) == [2, 2, 3, 3]


def test_choices_by_letter_list_them_in_the_prompt(tmp_path):
    rows = [{"question": f"{a}?", "choices": ["x", "y"], "answer": "B"} for a in range(9)]
    (tmp_path / "q.jsonl").write_text(lines(rows))
    task = open_task(tmp_path / "q.jsonl", None, scorer="letter").search
    assert task.requests(np.array([0]))[0].prompt == "Question: 0?\nA. x\nB. y\nAnswer:"
    chosen = open_task(tmp_path / "q.jsonl", None, scorer="choice:probability").search
    assert (chosen.measure, chosen.prompt.answer) == ("probability", " {choice}")


def test_a_chat_has_the_bare_question_and_no_stop(folder):
    task = open_task(task_file(folder, "data: sums.jsonl\nchat: true\n"), None).search
    (request,) = task.requests(np.array([0]), lambda messages: json.dumps(messages))
    assert json.loads(request.prompt) == [{"role": "user", "content": "What are 0 and 0?"}]
    assert request.stop == ()


def test_a_function_of_ones_own_returns_a_task_or_splits(tmp_path, monkeypatch):
    (tmp_path / "my_tasks.py").write_text(
        textwrap.dedent(
            """
            from merganser.evaluation import open_task

            def whole():
                return open_task("digits").search

            def divided():
                return open_task("digits")

            def nonsense():
                return 3
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert isinstance(open_task("my_tasks:whole").search, Classification)
    assert open_task("my_tasks:divided").test is not None
    with pytest.raises(TaskError, match="returns int, not a task"):
        open_task("my_tasks:nonsense")
    with pytest.raises(ConfigError, match="cannot be found"):
        open_task("my_tasks:nothing")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: sums.jsonl\nscorrer: numeric\n", "unknown key `scorrer`. Did you mean `scorer`"),
        ("data: sums.jsonl\nshots: {file: x}\n", "unknown key `shots.file`"),
        ("scorer: numeric\n", "`data` is missing"),
        ("data: sums.jsonl\nlimit: 0\n", "`limit`: input should be greater than 0, but found 0"),
        (
            "data: sums.jsonl\nscorer: choice:maybe\n",
            "no scorer `choice:maybe`; after the colon stands probability",
        ),
        ("data: sums.jsonl\nscorer: numerc\n", "Did you mean `numeric`"),
        ("data: sums.jsonl\ntemplate: '{questoin}'\n", "Did you mean `{question}`"),
        ("data: sums.jsonl\nstratify: level\nlimit: 3\n", "names no column"),
        ("data: sums.jsonl\nscorer: likelihood\nlanguage: ja\n", "`language:` is for written answers"),
        ("- data\n", "expected a mapping"),
        ("data: [\n", "is no YAML"),
    ],
)
def test_a_wrong_task_file_is_refused_with_a_hint(folder, text, message):
    with pytest.raises(ConfigError, match=message):
        open_task(task_file(folder, text))


def test_questions_without_choices_cannot_be_chosen(folder):
    with pytest.raises(
        TaskError, match=r"100 questions cannot be graded\. The first, line 1, has no choices"
    ):
        open_task(folder / "sums.jsonl", scorer="choice")


def test_a_scorer_beside_a_task_file_is_refused(folder):
    with pytest.raises(ValueError, match="A scorer is for files of questions"):
        open_task(task_file(folder, "data: sums.jsonl\n"), scorer="exact")


def test_several_tasks_keep_their_notes(folder):
    (folder / "doubled.jsonl").write_text(lines(sums(0, 20) * 2))
    both = join_splits([open_task(folder / "sums.jsonl"), open_task(folder / "doubled.jsonl")])
    assert len(both.search.samples) == 64 + 13
    assert [n for n in both.notes if "20 questions stand there more than once" in n]


def test_texts_with_one_beginning_are_different_samples(tmp_path):
    rows = [{"question": "I need", "answer": f" {n} shelves"} for n in range(20)]
    (tmp_path / "goals.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "goals.yaml").write_text("data: goals.jsonl\nscorer: likelihood\n")
    splits = open_task(tmp_path / "goals.yaml", None)
    assert len(splits.search.samples) == 20
    (tmp_path / "asked.yaml").write_text("data: goals.jsonl\nscorer: exact\n")
    assert len(open_task(tmp_path / "asked.yaml", None).search.samples) == 1


@pytest.mark.parametrize("key", ["data: a.jsonl", "environment: shop"])
def test_a_task_file_is_told_from_an_evolve_file(tmp_path, key):
    (tmp_path / "task.yaml").write_text(f"{key}\n")
    assert is_task_file(tmp_path / "task.yaml")
    (tmp_path / "evolve.yaml").write_text("task: digits\n")
    assert not is_task_file(tmp_path / "evolve.yaml")
    (tmp_path / "both.yaml").write_text(f"{key}\ntask: digits\n")
    with pytest.raises(ConfigError, match=f"has `{key.split(':')[0]}:`, as a task file has"):
        is_task_file(tmp_path / "both.yaml")
