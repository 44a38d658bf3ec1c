"""A reference such as `lm-eval:gsm8k` as search, validation and test tasks."""

from __future__ import annotations

from typing import Literal

import numpy as np

from merganser.evaluation._mixture import join_splits
from merganser.evaluation._splits import SplitRule, check_disjoint
from merganser.evaluation._task import Splits
from merganser.evaluation.lm_eval._answers import check_greedy
from merganser.evaluation.lm_eval._divide import Division, Part, check_not_empty, divide
from merganser.evaluation.lm_eval._find import find_tasks
from merganser.evaluation.lm_eval._library import lm_eval_conditions, lm_eval_library
from merganser.evaluation.lm_eval._metric import Metric, choose_metric
from merganser.evaluation.lm_eval._settings import LmEvalSettings
from merganser.evaluation.lm_eval._task import LmEvalTask

PREFIX = "lm-eval:"
"""What a reference to a task of lm-evaluation-harness begins with."""


def open_lm_eval(
    reference: str, settings: LmEvalSettings = LmEvalSettings(), rule: SplitRule = SplitRule()
) -> Splits:
    """Open a task of lm-evaluation-harness.

    A group or a tag becomes a mixture of its tasks.

    Args:
        reference: `lm-eval:NAME` of a task, group or tag, or `lm-eval:FILE.yaml`; the prefix may be left out.
        settings: How the task is asked and scored.
        rule: How documents are divided where lm-eval's own splits do not do that.

    Raises:
        TaskError: If lm_eval is not installed; there is no such task; its data are missing; it would run code; it
            has no such metric, or none with a value for each document; or it has too few documents.
    """
    lm_eval_library()
    name = reference.removeprefix(PREFIX)
    with lm_eval_conditions(trust=settings.trust):
        tasks = find_tasks(name, settings)
        for task in tasks:
            if task.OUTPUT_TYPE == "generate_until":
                check_greedy(str(task.config.task), task.config.generation_kwargs or {})
        metrics = [choose_metric(task, settings.metric) for task in tasks]
        divisions = _consistent([divide(task, settings, rule) for task in tasks])
        splits = join_splits([_splits(d, m) for d, m in zip(divisions, metrics, strict=True)])
    check_disjoint(splits)
    return splits


def _consistent(divisions: list[Division]) -> list[Division]:
    """What one task tests or validates on, no other searches on."""
    tested = frozenset().union(*(d.test.contents for d in divisions))
    validated = frozenset().union(*(d.validation.contents for d in divisions if d.validation is not None))
    return [d.without(validated, tested) for d in divisions]


def _splits(division: Division, metric: Metric) -> Splits:
    parts: dict[Literal["search", "validation", "test"], Part | None] = {
        "search": division.search,
        "validation": division.validation,
        "test": division.test,
    }
    check_not_empty(str(division.search.documents.task.config.task), list(parts.items()))
    made = {
        split: LmEvalTask(part.documents, np.flatnonzero(part.taken), metric, split, division.notices)
        for split, part in parts.items()
        if part is not None
    }
    return Splits(made["search"], made.get("validation"), made["test"], division.dropped, division.notices)
