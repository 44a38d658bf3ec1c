"""Metrics, digests, and what goes wrong while a model is scored."""

import dataclasses
import logging
import random
from pathlib import Path

import numpy as np
import pytest

from merganser._errors import TaskError
from merganser.evaluation import LmEvalSettings, NonFiniteOutputError, open_lm_eval
from merganser.evaluation.lm_eval._metric import Metric
from merganser.models import LogLikelihood


class Torn(list):
    """A model whose every log-probability is the same given number."""

    def generate(self, requests):
        return []

    def log_likelihoods(self, requests):
        return [LogLikelihood(self[0], 1, False) for _ in requests]

    def render(self, messages):
        return ""


def test_the_first_metric_and_filter_are_the_default(tasks):
    data = tasks.data(train=20, test=12)
    task = open_lm_eval(tasks.next_word(**data)).search
    assert (task.metric.label, task.binary, task.name) == ("exact_match,first", True, "next_word")
    assert (
        open_lm_eval(tasks.best_word(**data), LmEvalSettings(metric="acc_norm")).test.metric.label
        == "acc_norm,none"
    )


def test_figures_of_a_whole_set_are_refused_with_what_there_is(tasks):
    metrics = [{"metric": "f1"}, {"metric": "acc"}, {"metric": "brier_score"}]
    file = tasks.best_word(**{**tasks.data(train=20, test=12), "metric_list": metrics})
    assert open_lm_eval(file).test.metric.name == "acc"
    for metric in ("f1", "brier_score,none"):
        with pytest.raises(
            TaskError, match=r"is a figure of the whole set; .* Metrics with one are: acc,none"
        ):
            open_lm_eval(file, LmEvalSettings(metric=metric))
    alone = tasks.best_word(**{**tasks.data(train=20, test=12), "metric_list": [{"metric": "mcc"}]})
    with pytest.raises(
        TaskError, match="no metric with a value for each document, only figures of the whole set: mcc"
    ):
        open_lm_eval(alone)


@pytest.mark.parametrize("asked", ["exact_mach", "exact_match,lst"])
def test_a_misspelt_metric_or_filter_has_a_suggestion(tasks, asked):
    file = tasks.next_word(**tasks.data(train=20, test=12))
    with pytest.raises(
        TaskError, match=r"Did you mean 'exact_match.*It has: exact_match,first, exact_match,last"
    ):
        open_lm_eval(file, LmEvalSettings(metric=asked))


@pytest.mark.parametrize(
    ("metric", "value", "score"),
    [
        (Metric("acc", "none", "value", True, True), 1, 1.0),
        (Metric("wer", "none", "value", False, False), 0.25, 0.75),
        (Metric("perplexity", "none", "log", False, False), np.log(0.5), 0.5),
        (Metric("bits_per_byte", "none", "log per unit", False, False), (4 * np.log(0.5), 4), 0.5),
    ],
)
def test_values_have_a_place_between_0_and_1(metric, value, score):
    assert metric.score(value) == pytest.approx(score)


@pytest.mark.parametrize("value", [37.2, -1, float("nan"), None, (1, 2), "high"])
def test_values_that_have_none_are_refused(value):
    with pytest.raises(TaskError, match=r"rouge,none must be a number in \[0, 1\] for each document"):
        Metric("rouge", "none", "value", True, False).score(value)


def test_half_a_point_is_refused_where_only_right_and_wrong_were_promised():
    with pytest.raises(TaskError, match="must be 0 or 1"):
        Metric("acc", "none", "value", True, True).score(0.5)


def test_the_digest_tells_apart_all_that_changes_a_score(tasks):
    def digest(settings=LmEvalSettings(), **changes):
        return open_lm_eval(
            tasks.next_word(**{**tasks.data(train=40, test=12), **changes}), settings
        ).test.digest

    same = digest()
    others = [
        digest(LmEvalSettings(metric="exact_match,last")),
        digest(LmEvalSettings(num_fewshot=1)),
        digest(LmEvalSettings(num_fewshot=1, seed=2)),
        digest(LmEvalSettings(chat_template=True)),
        digest(LmEvalSettings(chat_template=True, fewshot_as_multiturn=False)),
        digest(LmEvalSettings(system_prompt="Be brief.")),
        digest(LmEvalSettings(limit=6)),
        digest(doc_to_text="Story: {{text}}"),
        digest(generation_kwargs={"until": ["."], "max_gen_toks": 3}),
        digest(filter_list=[{"name": "first", "filter": [{"function": "take_first"}]}]),
        digest(metadata={"version": 2}),
    ]
    assert len({same, *others}) == 1 + len(others)
    assert digest() == same


def test_the_digest_does_not_depend_on_where_the_files_lie(tasks, tmp_path):
    first = open_lm_eval(tasks.next_word(**tasks.data(train=40, test=12))).search.digest
    tasks.folder = tmp_path / "elsewhere"
    tasks.folder.mkdir()
    assert open_lm_eval(tasks.next_word(**tasks.data(train=40, test=12))).search.digest == first


def test_the_digest_covers_code_beside_the_task_file(tasks):
    file = tasks.best_word(**tasks.data(train=20, test=12))
    with Path(file).open("a") as f:
        f.write("process_docs: !function utils.same\n")
    digests = []
    for body in ("return docs", "return docs  # as they are"):
        (tasks.folder / "utils.py").write_text(f"def same(docs):\n    {body}\n")
        digests.append(open_lm_eval(file, LmEvalSettings(trust=True)).test.digest)
    assert digests[0] != digests[1]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_likelihood_that_is_no_number_is_an_error_of_the_model(tasks, number):
    task = open_lm_eval(tasks.best_word(**tasks.data(train=20, test=12))).test
    with pytest.raises(NonFiniteOutputError, match="log-likelihood"):
        task.score(Torn([number]), np.array([0]))
    assert task.score(Torn([-1.0]), np.array([0, 3])).shape == (2,)


def test_a_model_that_answers_no_texts_is_refused(tasks):
    task = open_lm_eval(tasks.best_word(**tasks.data(train=20, test=12))).test
    with pytest.raises(TypeError, match="object does not answer texts"):
        task.score(object(), np.array([0]))
    assert len(task.score(Torn([-1.0]), np.array([], dtype=int))) == 0


def test_nothing_of_the_process_stays_changed(tasks, storyteller):
    import datasets
    import lm_eval.utils

    log = logging.getLogger("lm_eval")
    before = (lm_eval.utils.env, log.level, datasets.are_progress_bars_disabled())
    random.seed(5)
    np.random.seed(5)
    expected = random.Random(5).random(), np.random.RandomState(5).random()
    task = open_lm_eval(tasks.best_word(**tasks.data(train=20, test=12))).test
    task.score(storyteller, np.array([0]))
    assert (random.random(), np.random.random()) == expected
    assert (lm_eval.utils.env, log.level, datasets.are_progress_bars_disabled()) == before


def test_a_tasks_own_zero_of_examples_stands(tasks):
    file = tasks.best_word(**tasks.data(train=20, test=12), num_fewshot=0)
    assert open_lm_eval(file, LmEvalSettings(num_fewshot=3)).test.documents.examples[0] == ()


@pytest.mark.parametrize("wrong", [{"num_fewshot": -1}, {"limit": 0}, {"fewshot_as_multiturn": True}])
def test_settings_out_of_range(wrong):
    with pytest.raises(ValueError, match=r"must be|needs"):
        dataclasses.replace(LmEvalSettings(), **wrong)
