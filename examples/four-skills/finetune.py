"""What searches are compared with: training on their own search samples, stopped by their validation samples.

The training never sees more than a search does: what follows the contexts of the search samples, which of the shop are
the oracle's episodes for the search goals. Learning rate and number of steps are those with the smallest loss on the
validation samples, all skills counting the same; the models are tested by `merganser evaluate` as all others.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from skills import HERE, Pair, oracle_pairs
from tasks import merged, split_tasks
from training import IGNORED, is_model, rows_of, save
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from merganser.evaluation import EnvironmentTask, Task, TextTask
from merganser.evaluation.environments.shop import Goal, catalogue

RATES = (3e-5, 1e-4, 3e-4)
STEPS, EVERY, PATIENCE = 120, 5, 4
"""Most steps, steps between two looks at the validation samples, and looks without a gain before it stops."""
ROWS = 2
"""Rows of each skill in a step."""

Row = tuple[list[int], list[int]]


class _Tuned(NamedTuple):
    loss: float
    model: LlamaForCausalLM
    told: str


def finetune(models: Path, tokenizer: PreTrainedTokenizerFast, *, seed: int) -> None:
    """Write `tuned-base-SEED` and `tuned-average-SEED`, if they are not there."""
    tasks = split_tasks()
    learnt = {skill: _rows(splits.search, tokenizer) for skill, splits in tasks.items()}
    held_out = {skill: _rows(splits.validation, tokenizer) for skill, splits in tasks.items()}
    starts = {"tuned-base": models / "base", "tuned-average": merged(models, "linear", seed)}
    for name, start in starts.items():
        if not is_model(models / f"{name}-{seed}"):
            tried = [_tuned(start, learnt, held_out, rate=rate, seed=seed) for rate in RATES]
            best = min(tried, key=lambda each: each.loss)
            print(f"{name}-{seed}: {best.told}", flush=True)
            save(best.model, tokenizer, models / f"{name}-{seed}")


def pairs_of(task: Task | None) -> list[Pair]:
    """Contexts and what ought to follow them, of all samples of a task.

    Raises:
        TypeError: If it asks no texts.
    """
    if isinstance(task, EnvironmentTask):
        file = yaml.safe_load((HERE / f"{task.name}.yaml").read_text())
        wanted = [Goal.of(question.facts()) for question in task.questions]
        return oracle_pairs(catalogue(0, file["products"]), wanted, task.prompt)
    if not isinstance(task, TextTask):
        raise TypeError(f"Expected a task that asks texts, but found {type(task).__name__}.")
    end = "" if task.questions[0].right is None else "\n"
    return [Pair(task.prompt.text(each), task.prompt.answered(each) + end) for each in task.questions]


def _rows(task: Task | None, tokenizer: PreTrainedTokenizerFast) -> list[Row]:
    return rows_of(pairs_of(task), tokenizer, whole=False)


def _tuned(
    start: Path, learnt: dict[str, list[Row]], held_out: dict[str, list[Row]], *, rate: float, seed: int
) -> _Tuned:
    """The best model on the way, by its validation loss."""
    model = LlamaForCausalLM.from_pretrained(start)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    draw, first = random.Random(seed), _loss(model, held_out)
    best, kept, at = first, copy.deepcopy(model), 0
    for step in range(1, STEPS + 1):
        for rows in learnt.values():
            (_batch_loss(model, draw.sample(rows, ROWS)) / len(learnt)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % EVERY == 0 and (now := _loss(model, held_out)) < best:
            best, kept, at = now, copy.deepcopy(model), step
        if step - at >= PATIENCE * EVERY:
            break
    return _Tuned(best, kept, f"rate {rate:g}, step {at}, validation loss {first:.3f} -> {best:.3f}")


@torch.inference_mode()
def _loss(model: LlamaForCausalLM, rows: dict[str, list[Row]]) -> float:
    return sum(float(_batch_loss(model, each)) for each in rows.values()) / len(rows)


def _batch_loss(model: LlamaForCausalLM, rows: Sequence[Row]) -> Any:
    longest = max(len(tokens) for tokens, _ in rows)
    tokens = torch.tensor([row + [0] * (longest - len(row)) for row, _ in rows])
    labels = torch.tensor([row + [IGNORED] * (longest - len(row)) for _, row in rows])
    return model(tokens, labels=labels).loss
