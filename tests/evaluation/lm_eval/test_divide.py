"""lm-eval's splits become search, validation and test, and nothing is in two of them."""

import numpy as np
import pytest

from merganser import MerganserError
from merganser._errors import TaskError
from merganser.evaluation import LmEvalSettings, SplitRule, Task, check_disjoint, open_lm_eval


def contents(task):
    return set(task.samples.hashes)


def texts(task):
    return [task.documents.documents[i]["text"] for i in task.positions]


def shown(task):
    """Hashes of the examples that are shown before any document of the split."""
    from merganser.evaluation.lm_eval._documents import hashes_of

    return {h for i in task.positions for h in hashes_of(task.documents.examples[i])}


def test_each_kind_of_documents_has_a_split_of_its_own(tasks):
    splits = open_lm_eval(tasks.best_word(**tasks.data(train=20, validation=8, test=12)))
    assert [len(t.samples) for t in (splits.search, splits.validation, splits.test)] == [20, 8, 12]
    assert all("train" in text for text in texts(splits.search))
    assert all("validation" in text for text in texts(splits.validation))
    assert isinstance(splits.search, Task)
    assert (splits.search.samples.split, splits.test.samples.labels) == ("search", None)
    assert (splits.search.notices, splits.dropped) == ((), 0)


def test_training_documents_alone_are_divided_by_content(tasks):
    file = tasks.best_word(**tasks.data(train=20, test=12))
    splits = open_lm_eval(file)
    assert [len(t.samples) for t in (splits.search, splits.validation, splits.test)] == [16, 4, 12]
    other = open_lm_eval(file, rule=SplitRule(seed=1))
    assert contents(other.validation) != contents(splits.validation)


def test_without_test_documents_what_lm_eval_scores_is_the_test(tasks):
    splits = open_lm_eval(tasks.best_word(**tasks.data(train=20, validation=12)))
    assert [len(t.samples) for t in (splits.search, splits.validation, splits.test)] == [16, 4, 12]
    assert all("validation" in text for text in texts(splits.test))


def test_test_documents_alone_are_divided_with_a_notice(tasks):
    splits = open_lm_eval(tasks.best_word(**tasks.data(test=50)))
    assert [len(t.samples) for t in (splits.search, splits.validation, splits.test)] == [32, 8, 10]
    assert "divided by their content" in splits.search.notices[0]


def test_the_papers_preset_searches_on_all_and_validates_on_nothing(tasks):
    splits = open_lm_eval(tasks.best_word(**tasks.data(train=20, test=12)), rule=SplitRule("paper"))
    assert (len(splits.search.samples), splits.validation, len(splits.test.samples)) == (20, None, 12)
    alone = open_lm_eval(tasks.best_word(**tasks.data(test=20)), rule=SplitRule("paper"))
    assert texts(alone.test) == [d["text"] for d in alone.test.documents.documents][16:]


def test_what_is_tested_on_is_not_searched_on(tasks):
    from_test = [{"text": "Once upon a", "word": "time", "choices": ["toys", "time", "girl"], "right": 1}]
    data = tasks.data(train=20, test=from_test)
    rows = (tasks.folder / "train.jsonl").read_text() + (tasks.folder / "test.jsonl").read_text()
    (tasks.folder / "train.jsonl").write_text(rows)
    splits = open_lm_eval(tasks.best_word(**data))
    assert splits.dropped == 1
    assert not contents(splits.search) & contents(splits.test)


@pytest.mark.parametrize("kinds", [{"train": 40, "test": 12}, {"train": 40, "validation": 20, "test": 12}])
def test_examples_are_scored_nowhere_in_their_split_and_never_tested_on(tasks, kinds):
    splits = open_lm_eval(tasks.best_word(**tasks.data(**kinds)), LmEvalSettings(num_fewshot=3))
    searched = contents(splits.search) | contents(splits.validation)
    for task in (splits.search, splits.validation):
        assert shown(task)
        assert not shown(task) & (searched | contents(splits.test))
    assert shown(splits.test)
    assert not shown(splits.test) & contents(splits.test)


def test_examples_from_the_test_documents_are_set_apart_with_a_notice(tasks):
    splits = open_lm_eval(tasks.best_word(**tasks.data(test=60)), LmEvalSettings(num_fewshot=2))
    everything = contents(splits.search) | contents(splits.validation) | contents(splits.test)
    assert len(everything) == 45
    assert not shown(splits.search) & everything
    assert "15 of them are set apart" in splits.test.notices[0]


def test_fixed_examples_stay_the_first_in_their_order(tasks):
    fewshot = {"fewshot_split": "train", "fewshot_config": {"sampler": "first_n"}}
    splits = open_lm_eval(
        tasks.best_word(**tasks.data(train=30, test=12), **fewshot), LmEvalSettings(num_fewshot=2)
    )
    first = [f"train {i}. " for i in (0, 1)]
    for task in (splits.search, splits.test):
        examples = task.documents.examples[int(task.positions[0])]
        assert [e["text"].startswith(f) for e, f in zip(examples, first, strict=True)] == [True, True]
    assert not any(text.startswith(tuple(first)) for text in texts(splits.search))


def test_examples_are_the_same_every_time_and_others_with_another_seed(tasks):
    file = tasks.best_word(**tasks.data(train=40, test=12))
    drawn = [open_lm_eval(file, LmEvalSettings(num_fewshot=2, seed=s)).search.documents for s in (1, 1, 2)]
    assert drawn[0].examples == drawn[1].examples != drawn[2].examples


def test_a_limit_cuts_every_split(tasks):
    splits = open_lm_eval(
        tasks.best_word(**tasks.data(train=40, validation=20, test=12)), LmEvalSettings(limit=6)
    )
    assert [len(t.samples) for t in (splits.search, splits.validation, splits.test)] == [6, 6, 6]
    assert texts(splits.test)[0] == "Once upon a"


def test_too_few_documents_are_said(tasks):
    with pytest.raises(TaskError, match="shows 30 examples before each question, but only 12 documents"):
        open_lm_eval(tasks.best_word(**tasks.data(train=12, test=12)), LmEvalSettings(num_fewshot=30))
    with pytest.raises(MerganserError, match=r"Cannot take 0\.2 of 2 distinct samples"):
        open_lm_eval(tasks.best_word(**tasks.data(train=2, test=12)))


def test_a_group_is_a_mixture_whose_parts_search_on_nothing_that_another_tests_on(tasks):
    shared = tasks.data(train=30, test=12)
    tasks.best_word("one", **shared)
    other = {**shared, "test_split": "train", "training_split": "test"}
    tasks.next_word("two", **other)
    group = tasks.folder / "both.yaml"
    group.write_text("group: both\ntask:\n- one\n- two\n")
    with pytest.raises(TaskError, match="The search split of one is empty"):
        open_lm_eval(str(group))
    tasks.next_word("two", **shared)
    splits = open_lm_eval(str(group))
    assert splits.search.name == "one + two"
    assert len(splits.test.samples) == 24
    check_disjoint(splits)


def test_a_tag_and_a_folder_of_tasks(tasks, storyteller):
    data = tasks.data(train=20, test=12)
    tasks.best_word("one", tag="words", **data)
    tasks.next_word("two", tag="words", **data)
    settings = LmEvalSettings(include_path=str(tasks.folder))
    mixture = open_lm_eval("lm-eval:words", settings).test
    alone = open_lm_eval("lm-eval:two", settings).test
    ids = np.array([2, 13, 12])
    assert mixture.score(storyteller, ids)[1:].tolist() == alone.score(storyteller, np.array([1, 0])).tolist()
