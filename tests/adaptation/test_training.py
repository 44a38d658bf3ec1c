"""Training on a real small model: what is kept, stopped and resumed, refused."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from merganser import CheckpointError, ConfigError, OutputError, RunError, TaskError
from merganser.adaptation import attach, decompose, open_expert
from merganser.adaptation.training import PRESETS, Full, Lora, Svf, Training, read_training, train
from merganser.adaptation.training._lessons import Lessons, right_answer
from merganser.evaluation import GenerativeTask, Prompt, Question, Splits, split_questions
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
    return GenerativeTask(
        "the", tuple(questions), scorer_named(scorer) if isinstance(scorer, str) else scorer, **options
    )


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
        rewards = [
            2 * each.score - 1 for each in asked.grade(np.array(positions), [f.response for f in found])
        ]
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
        # all weights: this model's token that ends a text was never trained, and lies near 0
        done = train(STORIES, asked, tmp_path / "run", Full(), replace(settings, learning_rate=3e-3))
        assert done.rows[1].surprise > 4 * done.rows[-1].surprise
        assert done.rows[1].length == len(right_answer(load(STORIES), asked.search, 0))
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
            prompt, answer = (
                model.tokens.prompt(asked.questions[position].text),
                right_answer(model, asked, position),
            )
            chosen = model.module(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
            total = total + torch.nn.functional.cross_entropy(chosen, torch.tensor(answer), reduction="sum")
        (total / 3).backward()
        length = torch.stack([p.grad.square().sum() for p in model.module.parameters()]).sum().sqrt()
        assert done.rows[1].gradient == pytest.approx(length.item(), rel=1e-4)
        assert done.rows[1].surprise == pytest.approx(total.item() / (3 * len(answer)), rel=1e-4)

    def test_a_question_without_an_answer_is_refused(self, tmp_path):
        scorer = Scorer("own", lambda question, text: Verdict(1.0))
        bare = GenerativeTask("bare", (Question("Who?"), Question("What?")), scorer)
        with pytest.raises(TaskError, match=r"holds no answer to 'W.*Add a column"):
            train(STORIES, Splits(bare), tmp_path / "run", settings=replace(SMALL, warm_up=1))


SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
from test_training import SMALL, STORIES, splits, stopping
from merganser.adaptation.training import *
train(STORIES, splits(), sys.argv[1], {adapter}, {settings}, watch=stopping(int(sys.argv[2])))
"""


def stopping(step):
    """What kills this process once a step is over, without giving it a chance to tidy up."""

    def watch(row):
        if row.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return watch


class TestStopped:
    @pytest.mark.parametrize(
        ("adapter", "settings", "kills"),
        [
            ("Svf()", "Training(steps=7, prompts=2, rollouts=4, every=2)", (1, 5)),
            (
                "Lora()",
                "Training(steps=6, prompts=2, rollouts=4, every=2, warm_up=3, baseline='group')",
                (4,),
            ),
            ("Full()", "Training.preset('official', steps=5, prompts=5, every=2)", (3,)),
        ],
    )
    def test_killed_and_resumed_it_ends_as_if_it_had_never_stopped(self, adapter, settings, kills, tmp_path):
        script = tmp_path / "script.py"
        script.write_text(
            SCRIPT.format(tests=str(Path(__file__).parents[1]), adapter=adapter, settings=settings).replace(
                "from test_training", "from adaptation.test_training"
            )
        )
        for step in kills:
            command = [sys.executable, str(script), str(tmp_path / "killed"), str(step)]
            died = subprocess.run(command, capture_output=True, text=True, check=False)
            assert died.returncode == -signal.SIGKILL, died.stderr
        arguments = (eval(adapter), eval(settings))
        begun = []
        resumed = train(
            STORIES, splits(), tmp_path / "killed", *arguments, watch=lambda row: begun.append(row.step)
        )
        whole = train(STORIES, splits(), tmp_path / "whole", *arguments)
        assert begun[0] == kills[-1] - (kills[-1] - 1) % 2  # the step after the last checkpoint
        assert only(resumed.rows) == only(whole.rows)
        assert resumed.test == whole.test
        one, other = open_checkpoint(_weights(resumed.path)), open_checkpoint(_weights(whole.path))
        assert all(torch.equal(one.read(name), other.read(name)) for name in other)
        assert set(one) == set(other)

    def test_one_that_is_over_says_so_and_others_are_refused(self, tmp_path):
        asked = splits()
        first = train(STORIES, asked, tmp_path / "run", settings=SMALL)
        written = first.path.stat().st_mtime_ns
        again = train(STORIES, asked, tmp_path / "run", settings=SMALL, watch=pytest.fail)
        assert again == first
        assert first.path.stat().st_mtime_ns == written
        with pytest.raises(RunError, match=r"another training: `settings.steps` was 4 there, and is 5 now"):
            train(STORIES, asked, tmp_path / "run", settings=replace(SMALL, steps=5))
        with pytest.raises(RunError, match=r"`adapter.kind` was 'svf' there, and is 'lora' now"):
            train(STORIES, asked, tmp_path / "run", Lora(), SMALL)
        with pytest.raises(RunError, match=r"`task.search.digest` was"):
            train(STORIES, splits(max_tokens=5), tmp_path / "run", settings=SMALL)

    def test_a_half_written_checkpoint_does_not_count(self, tmp_path):
        settings = replace(SMALL, steps=6)
        whole = train(STORIES, splits(), tmp_path / "whole", settings=settings)
        with pytest.raises(KeyboardInterrupt):
            train(STORIES, splits(), tmp_path / "cut", settings=settings, watch=_interrupt_after(5))
        half = tmp_path / "cut" / "checkpoint" / "checkpoint-6"
        half.mkdir()
        (half / "trained.safetensors").write_bytes(b"half")
        with (tmp_path / "cut" / "history.jsonl").open("a") as file:
            file.write('{"step": 6, "lo')
        resumed = train(STORIES, splits(), tmp_path / "cut", settings=settings)
        assert only(resumed.rows) == only(whole.rows)

    def test_one_that_got_to_no_checkpoint_gives_way(self, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            train(STORIES, splits(), tmp_path / "run", settings=SMALL, watch=_interrupt_after(1))
        done = train(STORIES, splits(), tmp_path / "run", settings=replace(SMALL, steps=2))
        assert done.rows[-1].step == 2

    def test_folders_of_others_are_refused(self, tmp_path):
        (tmp_path / "mine.txt").write_text("x")
        with pytest.raises(OutputError, match="exists and holds no training"):
            train(STORIES, splits(), tmp_path, settings=SMALL)
        with pytest.raises(RunError, match="holds no training"):
            read_training(tmp_path)
        (tmp_path / "training.json").write_text("{")
        with pytest.raises(RunError, match="is damaged"):
            train(STORIES, splits(), tmp_path, settings=SMALL)


class TestFaults:
    @pytest.mark.parametrize(
        ("grade", "message"),
        [
            (lambda: 1 / 0, "cannot grade an answer: ZeroDivisionError"),
            (lambda: Verdict(math.nan, ""), r"scores in \[0, 1\], but one got nan"),
            (lambda: Verdict(1.5, ""), "but one got 1.5"),
        ],
    )
    def test_a_reward_that_fails_ends_training_with_question_and_answer(self, grade, message, tmp_path):
        calls = 0

        def judge(question, text):
            nonlocal calls
            calls += 1
            return grade() if calls > 20 else Verdict(float("a" in text))

        asked = Splits(task(Scorer("own", judge)))
        with pytest.raises(TaskError, match=message) as raised:
            train(STORIES, asked, tmp_path / "run", settings=replace(SMALL, steps=9))
        assert "The question was '" in str(raised.value)
        assert "the answer '" in str(raised.value)
        checkpoint = tmp_path / "run" / "checkpoint" / "checkpoint-2"
        assert (checkpoint / "whole.json").exists()
        calls = -10_000
        assert train(STORIES, asked, tmp_path / "run", settings=replace(SMALL, steps=9)).rows[-1].step == 9

    def test_tasks_that_are_not_written_are_refused(self, tmp_path):
        with pytest.raises(TaskError, match=r"digits \(search\) is a Classification"):
            train(STORIES, "digits", tmp_path / "run")

    def test_an_expert_of_another_base_is_refused(self, tmp_path):
        done = train(STORIES, splits(), tmp_path / "run", settings=replace(SMALL, steps=2))
        other = load(STORIES)
        weight = other.module.model.layers[0].mlp.gate_proj.weight
        weight.data[0, 0] += 1
        factors = decompose(open_checkpoint(STORIES))
        adapted = attach(load(STORIES).module, factors)
        adapted.add("mine", open_expert(done.path))
        changed = {name: factors[name] for name in factors}
        name = "model.layers.0.mlp.gate_proj.weight"
        changed[name] = replace(factors[name], digest="0" * 64)
        strange = attach(load(STORIES).module, type(factors)(changed), check=False)
        with pytest.raises(CheckpointError, match="was made for another base"):
            strange.add("mine", open_expert(done.path))

    def test_a_base_that_changed_is_another_training(self, tmp_path):
        train(STORIES, splits(), tmp_path / "run", settings=replace(SMALL, steps=2))
        moved = open_checkpoint(STORIES)
        name = "model.norm.weight"
        tensors = {n: moved.read(n).clone() for n in moved}
        tensors[name] += 1
        from merganser.weights import save

        save(tensors, tmp_path / "other", config=moved.config)
        with pytest.raises(RunError, match=r"`base.digest` was"):
            train(tmp_path / "other", splits(), tmp_path / "run", settings=replace(SMALL, steps=2))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"steps": 0}, "`steps` of at least 1, found 0"),
            ({"clip": 0.0}, "positive `clip`, found 0"),
            ({"kl": -1.0}, "`kl` that is not negative, found -1"),
            ({"rollouts": 1}, "expected `rollouts` of at least 2, found 1"),
            ({"temperature": 0.0}, "Greedy answers to one prompt are all the same"),
            ({"baseline": "none"}, "expected `kl` 0, found 0.01"),
            ({"rewards": "grades"}, "`rewards` among scores, signs, found 'grades'"),
        ],
    )
    def test_settings_that_make_no_sense_are_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            Training(**options)

    def test_a_preset_that_is_misspelt_is_named(self):
        with pytest.raises(ValueError, match="Did you mean 'official'"):
            Training.preset("oficial")
        assert Training.preset("supervised", steps=7).warm_up == 7

    @pytest.mark.parametrize("library", ["trl", "datasets"])
    def test_without_a_library_the_extra_is_named(self, library, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(
            ConfigError, match=rf"but {library} is not installed.*pip install 'merganser\[rl\]'"
        ):
            train(STORIES, splits(), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def _interrupt_after(step):
    def watch(row):
        if row.step == step:
            raise KeyboardInterrupt

    return watch


def _weights(path):
    """The tensors of what was trained."""
    return path / "adapter_model.safetensors" if path.name == "adapter" else path
