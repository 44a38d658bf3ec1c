"""Training on a real small model: what is kept, stopped and resumed, refused."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from merganser import CheckpointError, OutputError, RunError, TaskError
from merganser.adaptation import attach, decompose, expert_from_peft, open_expert
from merganser.adaptation.training import PRESETS, Full, Lora, Svf, Training, read_training, train
from merganser.adaptation.training._lessons import Lessons, right_answer
from merganser.evaluation import GenerativeTask, Prompt, Question, Splits, TextTask, split_questions
from merganser.evaluation.scorers import Scorer, Verdict, scorer_named
from merganser.models import load
from merganser.weights import open_checkpoint

from .conftest import STORIES

pytest.importorskip("trl")

SUBJECTS = ("One day", "Lily was", "Tom had", "The dog", "A cat", "The sun")
SMALL = Training(steps=4, prompts=2, rollouts=4, every=2, patience=None)


def task(scorer="contains", answer="the", **options):
    questions = [
        Question(f"{a} {b}", answers=(answer,)) for a in SUBJECTS for b in ("the", "a", "big", "red", "so")
    ]
    options = {"prompt": Prompt("{question}", " {answer}"), "max_tokens": 4} | options
    return GenerativeTask("the", tuple(questions), scorer_named(scorer) if isinstance(scorer, str) else scorer, **options)


def splits(**options):
    return split_questions(task(**options))


def only(rows):
    """Rows without their clock."""
    return [{key: value for key, value in asdict(row).items() if key != "seconds"} for row in rows]


def logits(module):
    with torch.no_grad():
        return module(torch.tensor([[1, 403, 407, 261]])).logits


class TestByReward:
    def test_rewards_rise_and_the_expert_is_what_was_validated(self, tmp_path, stories):
        settings = replace(SMALL, steps=24, prompts=4, rollouts=8, every=8, learning_rate=0.05)
        seen = []
        done = train(STORIES, splits(), tmp_path / "run", Svf(), settings, watch=seen.append)
        rewards = [row.reward for row in done.rows[1:]]
        assert np.mean(rewards[-6:]) > np.mean(rewards[:6]) + 0.2
        assert tuple(seen) == done.rows
        assert [row.step for row in done.rows] == list(range(25))
        assert done.best.validation == max(row.validation for row in done.rows if row.validation is not None)
        assert done.best.validation > 0.3
        assert done.parameters == 15 * 64
        expert = done.expert()
        assert expert.facts["steps"] == done.best.step
        assert expert.facts["validation"] == done.best.validation
        assert expert.facts["objective"] == "rloo"
        model, factors = load(STORIES), decompose(stories)
        adapted = attach(model.module, factors)
        adapted.add("the", expert)
        adapted.set("the")
        validation = splits().validation
        assert validation.score(model, np.arange(len(validation.samples))).mean() == done.best.validation
        assert done.test.trained.value == expert.facts["test"]
        test = splits().test
        assert test.score(model, np.arange(len(test.samples))).mean() == done.test.trained.value

    @pytest.mark.parametrize("adapter", [Svf(parametrisation="plain", rank=20), Lora(rank=2), Full()])
    def test_each_adapter_trains_under_each_objective(self, adapter, tmp_path):
        for preset in ("grpo", "official"):
            settings = replace(
                PRESETS[preset], steps=2, prompts=3, rollouts=min(PRESETS[preset].rollouts, 4), every=1
            )
            done = train(STORIES, splits(), tmp_path / preset, adapter, replace(settings, learning_rate=1e-3))
            assert [row.step for row in done.rows] == [0, 1, 2]
            assert all(math.isfinite(row.loss) and row.gradient > 0 for row in done.rows[1:] if row.spread)
            assert done.path.exists()

    def test_the_gradient_of_the_published_recipe_is_that_of_rewards_times_log_probabilities(self, tmp_path):
        settings = replace(
            PRESETS["official"], steps=1, prompts=3, clip=1e9, learning_rate=1e-9, seed=3, every=1
        )
        asked = task()
        done = train(STORIES, Splits(asked), tmp_path / "run", Full(), settings)
        model = load(STORIES)
        positions = Lessons(model, asked, settings).order()
        found = model.roll_out(asked.requests(np.array(positions), model.render), temperature=0)
        rewards = [2 * each.score - 1 for each in asked.grade(np.array(positions), [f.response for f in found])]
        assert done.rows[1].reward == np.mean(rewards)
        model.module.requires_grad_(True)
        total = torch.zeros(())
        for each, reward in zip(found, rewards, strict=True):
            ids = torch.tensor([[*each.prompt, *each.answer]])
            chosen = model.module(ids).logits[0, len(each.prompt) - 1 : -1].log_softmax(-1)
            total = total - reward * chosen.gather(1, torch.tensor(each.answer)[:, None]).sum()
        (total / len(found)).backward()
        length = torch.stack([p.grad.square().sum() for p in model.module.parameters()]).sum().sqrt()
        assert done.rows[1].gradient == pytest.approx(length.item(), rel=1e-4)

    def test_the_divergence_is_from_the_base_also_after_a_warm_up(self, tmp_path):
        settings = replace(SMALL, steps=5, warm_up=4, learning_rate=0.2, kl=0.1)
        done = train(STORIES, splits(), tmp_path / "run", settings=settings)
        assert [row.reward is None for row in done.rows[1:]] == [True] * 4 + [False]
        assert [row.kl is None for row in done.rows[1:]] == [True] * 4 + [False]
        assert done.rows[-1].kl > 0.01

    def test_without_validation_the_last_is_kept_and_without_a_test_none_is_scored(self, tmp_path):
        done = train(STORIES, Splits(task()), tmp_path / "run", settings=replace(SMALL, steps=2))
        assert done.best is None
        assert done.test is None
        assert done.expert().facts["steps"] == 2

    def test_it_stops_when_looks_do_not_get_better_and_keeps_the_base(self, tmp_path):
        settings = replace(SMALL, steps=50, every=1, patience=2)
        done = train(STORIES, splits(answer="xylophone"), tmp_path / "run", settings=settings)
        assert [row.step for row in done.rows] == [0, 1, 2]
        assert done.best.step == 0
        assert all(not done.expert().gains(name).any() for name in done.expert())


class TestSupervised:
    def test_right_answers_are_learned_and_so_is_where_they_end(self, tmp_path):
        settings = Training.preset("supervised", steps=30, prompts=8, every=10, patience=None)
        asked = splits(scorer="exact", answer="red")
        done = train(STORIES, asked, tmp_path / "run", Lora(rank=4), replace(settings, learning_rate=5e-3))
        assert done.rows[1].surprise > 4 * done.rows[-1].surprise
        assert done.rows[1].length == 2  # the word, and the token that ends a text
        assert done.test.trained.value > 0.9  # `exact`: nothing follows
        assert done.test.base.value == 0

    def test_targets_follow_the_prompt_as_evaluation_asks_it(self):
        model = load(STORIES)
        for template in ("{question}", "{question}:\n", "Q: {question} "):
            asked = task(answer="red ball", prompt=Prompt(template, " {answer}"))
            [request] = asked.requests(np.array([0]))
            whole = [*model.tokens.prompt(request.prompt), *right_answer(model, asked, 0)]
            assert whole[-1] == model.tokens.tokenizer.eos_token_id
            assert model.tokens.text(whole).split() == f"{request.prompt} red ball".split()

    def test_the_gradient_is_that_of_the_cross_entropy(self, tmp_path):
        settings = Training.preset("supervised", steps=1, prompts=3, every=1)
        settings = replace(settings, clip=1e9, learning_rate=1e-9)
        asked = task(answer="big red ball")
        done = train(STORIES, Splits(asked), tmp_path / "run", Full(), settings)
        model = load(STORIES)
        model.module.requires_grad_(True)
        total = torch.zeros(())
        for position in Lessons(model, asked, settings).order():
            prompt, answer = model.tokens.prompt(asked.questions[position].text), right_answer(model, asked, position)
            chosen = model.module(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
            total = total + torch.nn.functional.cross_entropy(chosen, torch.tensor(answer), reduction="sum")
        (total / 3).backward()
        length = torch.stack([p.grad.square().sum() for p in model.module.parameters()]).sum().sqrt()
        assert done.rows[1].gradient == pytest.approx(length.item(), rel=1e-4)
        assert done.rows[1].surprise == pytest.approx(total.item() / (3 * len(answer)), rel=1e-4)

    def test_a_question_without_an_answer_is_refused(self, tmp_path):
        scorer = Scorer("own", "own 1", lambda question, text: Verdict(1.0, ""))
        bare = GenerativeTask("bare", (Question("Who?"), Question("What?")), scorer)
        with pytest.raises(TaskError, match=r"holds no answer to 'W.*Add a column"):
            train(STORIES, Splits(bare), tmp_path / "run", settings=replace(SMALL, warm_up=1))
