"""A task by its reference.

| reference | what it is |
| --- | --- |
| `digits`, `FILE.npz`, a folder of arrays | [`Classification`][]; see [`read_arrays`][] |
| `FILE.jsonl`, `FILE.json`, `FILE.csv`, `FILE.tsv` | questions, with everything else by itself |
| `FILE.yaml` | a task file: [`TaskFile`][], or with `environment:` an [`EnvironmentFile`][] |
| `shop` | an [`EnvironmentTask`][] in the shop, with everything by itself |
| `lm-eval:NAME`, `lm-eval:FILE.yaml` | a task of lm-evaluation-harness: [`open_lm_eval`][] |
| `module:function` | what the function returns: a [`Task`][] or [`Splits`][] |
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from merganser._errors import ConfigError, TaskError
from merganser._settings_file import read_yaml
from merganser.evaluation._arrays import read_arrays
from merganser.evaluation._classification import Classification
from merganser.evaluation._environment_file import (
    SHOP,
    EnvironmentFile,
    is_environment,
    parse_environment_file,
)
from merganser.evaluation._make_environment import make_environment_task
from merganser.evaluation._make_task import make_task
from merganser.evaluation._rows import SUFFIXES
from merganser.evaluation._splits import SplitRule, check_disjoint, split_arrays
from merganser.evaluation._task import Splits, Task
from merganser.evaluation._task_file import TaskFile, read_task_file
from merganser.evaluation.lm_eval import PREFIX, LmEvalSettings, open_lm_eval

_YAML = (".yaml", ".yml")


def open_task(
    reference: str | Path,
    rule: SplitRule | None = SplitRule(),
    *,
    scorer: str | None = None,
    lm_eval: LmEvalSettings | None = None,
) -> Splits:
    """The task at a reference, divided into search, validation and test.

    Args:
        reference: One of the kinds above.
        rule: How to divide; None leaves everything but a test set of its own in one piece.
        scorer: What is right, for a file of questions.
        lm_eval: How a task of lm-evaluation-harness is asked and scored.

    Raises:
        TaskError: If the data cannot be read, graded or divided.
        ConfigError: If a task file or a function is wrong.
        ValueError: If a scorer is given where the reference says it already.
    """
    text, path = str(reference), Path(reference)
    is_lm_eval = text.startswith(PREFIX)
    if path.suffix in SUFFIXES and not is_lm_eval:
        return make_task(TaskFile(str(path), scorer=scorer), rule)
    if scorer is not None:
        raise ValueError(
            f"A scorer is for files of questions ({', '.join(SUFFIXES)}), but the task is {text}."
        )
    if is_lm_eval:
        # without a rule, search and test are everything
        return open_lm_eval(text, lm_eval or LmEvalSettings(), rule or SplitRule("paper"))
    if lm_eval is not None:
        raise ValueError(f"Settings of lm-eval are for tasks `lm-eval:NAME`, but the task is {text}.")
    if text == SHOP:
        return make_environment_task(EnvironmentFile(SHOP), rule)
    if path.suffix in _YAML:
        content = read_yaml(path)
        if is_environment(content):
            return make_environment_task(parse_environment_file(content, path), rule)
        return make_task(read_task_file(path), rule)
    if ":" in text and not path.exists():
        return _called(text)
    if rule is not None:
        return split_arrays(read_arrays(text), rule)
    return _whole_arrays(text)


def _whole_arrays(reference: str) -> Splits:
    data = read_arrays(reference)
    test = None
    if data.test_inputs is not None and data.test_labels is not None:
        test = Classification.of(data.name, data.test_inputs, data.test_labels, "test")
    return Splits(Classification.of(data.name, data.inputs, data.labels), None, test)


def _called(reference: str) -> Splits:
    module, _, function = reference.partition(":")
    try:
        make: Any = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"Expected a task: a file, `digits`, `shop`, or `module:function`, but {reference!r} cannot be found: "
            f"{error}."
        ) from error
    made = make()
    splits = made if isinstance(made, Splits) else Splits(made)
    if not isinstance(splits.search, Task):
        raise TaskError(
            f"{reference} returns {type(made).__name__}, not a task: `name`, `digest`, `samples`, `binary` and `score`."
        )
    check_disjoint(splits)
    return splits
