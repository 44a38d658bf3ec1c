"""From the tasks of experts to a dispatcher's task, and from traces to who was confused with whom."""

import json

import numpy as np
import pytest

from merganser import ConfigError, OutputError, TaskError
from merganser.adaptation import save_expert
from merganser.adaptation.strategies import (
    ByExpert,
    ByPrompt,
    Cost,
    Decision,
    DispatchPrompt,
    Trace,
    confusion_of,
    read_adaptive_file,
    write_dispatch_task,
)
from merganser.evaluation import Classification, Splits, choose, open_task

SAID = {"cats": "stories of cats", "dogs": "stories of dogs"}


@pytest.fixture
def tasks(tmp_path):
    """Two tasks of different size, and one for nobody."""
    found = {}
    for name, size in (("cats", 40), ("dogs", 60), ("other", 50)):
        rows = [{"question": f"{n} {name} {{request}}", "answer": "yes"} for n in range(size)]
        file = tmp_path / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        found[name] = open_task(file)
    return found


def rows_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("read", ["likelihood", "boxed"])
def test_a_dispatch_task_has_the_prompts_of_the_strategy_balanced_and_opens(tasks, tmp_path, read):
    prompt = DispatchPrompt(read=read)
    counts = write_dispatch_task(tasks, SAID, tmp_path / "d.yaml", prompt=prompt)
    train, test = rows_of(tmp_path / "d.jsonl"), rows_of(tmp_path / "d.test.jsonl")
    for split, rows in (("search", train), ("test", test)):
        smallest = min(len(choose(each, split)) for each in tasks.values())
        assert counts[split] == smallest
        assert {label: sum(r["label"] == label for r in rows) for label in tasks} == dict.fromkeys(
            tasks, smallest
        )
    mine = {choose(tasks["cats"], "test").parts[0][0].prompt.text(q) for q in tasks["cats"].test.questions}
    assert {r["request"] for r in test if r["label"] == "cats"} <= mine
    assert not mine & {r["request"] for r in train}
    opened = open_task(tmp_path / "d.yaml")
    question = opened.search.questions[0]
    row = next(r for r in train if r["question"] == question.text)
    assert opened.search.prompt.text(question) == prompt.text(row["request"], SAID)
    assert opened.search.prompt.answered(question) == prompt.labelled(row["label"])
    assert opened.search.scorer.judge(question, prompt.labelled(row["label"])).score == 1
    assert len(opened.test.questions) == len(test)


def test_without_the_label_other_there_is_none(tasks, tmp_path):
    del tasks["other"]
    write_dispatch_task(tasks, SAID, tmp_path / "d.yaml", prompt=DispatchPrompt(other=None), limit=3)
    assert [row["label"] for row in rows_of(tmp_path / "d.jsonl")] == ["cats", "dogs"] * 3


def test_what_does_not_fit_is_refused(tasks, tmp_path):
    with pytest.raises(ValueError, match="'fish' is only on one side"):
        write_dispatch_task(tasks, SAID | {"fish": ""}, tmp_path / "d.yaml")
    with pytest.raises(ValueError, match="'dogs' is only on one side"):
        write_dispatch_task(tasks, {"cats": ""}, tmp_path / "d.yaml")
    (tmp_path / "d.jsonl").write_text("")
    with pytest.raises(OutputError, match="exists already"):
        write_dispatch_task(tasks, SAID, tmp_path / "d.yaml")
    images = Classification.of("images", np.zeros((9, 2), "float32"), np.zeros(9, "int64"))
    with pytest.raises(TaskError, match="Expected a task of questions for 'cats'"):
        write_dispatch_task(tasks | {"cats": Splits(images, None, images)}, SAID, tmp_path / "e.yaml")


def trace(name):
    return Trace("", Decision(None if name == "other" else name), Cost(), Cost())


def test_confusion_counts_whom_requests_were_for_and_who_answered():
    traces = {"cats": [trace("cats"), trace("cats"), trace("dogs")], "other": [trace("other"), trace("dogs")]}
    found = confusion_of(traces, ["cats", "dogs"])
    assert (found.truths, found.answered) == (("cats", "other"), ("cats", "dogs", "other"))
    assert found.counts.tolist() == [[2, 1, 0], [0, 1, 1]]
    assert found.accuracy.value == 3 / 5
    with pytest.raises(ValueError, match="found none"):
        confusion_of({"cats": []}, ["cats"])


def test_an_experts_file_is_read_from_where_it_lies(tmp_path, experts):
    (tmp_path / "cats.jsonl").touch()
    for name in ("cats", "who"):
        save_expert(experts["cats"], tmp_path / f"{name}.safetensors")
    text = (
        "base: org/model\nexperts:\n  cats: {file: cats.safetensors, task: cats.jsonl, description: meow}\n"
    )
    (tmp_path / "e.yaml").write_text(text)
    file = read_adaptive_file(tmp_path / "e.yaml")
    assert file.base == "org/model"
    assert file.experts["cats"].task == str(tmp_path / "cats.jsonl")
    assert file.strategy == ByPrompt()
    assert file.specialists()["cats"].description == "meow"
    (tmp_path / "e.yaml").write_text(f"{text}dispatcher: who.safetensors\nprompt: {{chat: true}}\n")
    file = read_adaptive_file(tmp_path / "e.yaml")
    assert file.strategy == ByExpert("dispatcher", DispatchPrompt(chat=True))
    assert list(file.specialists()) == ["cats", "dispatcher"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: x", "`experts` is missing"),
        ("base: x\nexperts: {}", "needs at least one"),
        ("base: x\nexperts: {dispatcher: {file: f}}", "none of them called 'dispatcher'"),
        ("base: x\nexperts: {a: {fil: f}}", "Did you mean `file`"),
        ("base: x\nexperts: {a: {file: f}}\nprompt: {tmplate: x}", "Did you mean `template`"),
        ("base: x\nexperts: {a: {file: f}}\nprompt: {template: x}", "needs `{request}`"),
        ("base: x\nexperts: {a: {file: f}}\nprompt: {read: dice}", "prompt.read"),
    ],
)
def test_a_wrong_experts_file_is_refused(tmp_path, text, message):
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_adaptive_file(tmp_path / "e.yaml")
