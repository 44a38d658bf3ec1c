"""From the tasks of experts to a task that trains a dispatcher: request in, label out, just as the first pass asks.

| file | rows |
| --- | --- |
| ``NAME.yaml`` | the task file |
| ``NAME.jsonl`` | from the tasks' samples for searching, as many of each label |
| ``NAME.test.jsonl`` | from their test samples, as many of each label |

A sample that an expert's task keeps for testing is never among those that a dispatcher learns from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from merganser._errors import TaskError
from merganser.adaptation.strategies._prompt import DispatchPrompt
from merganser.evaluation import SplitName, Splits, TextTask, choose
from merganser.weights import atomic_write_text, refuse_existing

_LABEL_TOKENS = 16


def write_dispatch_task(
    tasks: Mapping[str, Splits],
    descriptions: Mapping[str, str],
    path: str | Path,
    *,
    prompt: DispatchPrompt | None = None,
    limit: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, int]:
    """Write a task whose questions are the first pass's prompts and whose answers are labels.

    Args:
        tasks: Of each expert, by its name; under `other` one whose requests the base should answer.
        descriptions: What each expert is for, as the model will have them.
        path: The task file; the rows are written beside it.
        prompt: As the strategy will have it.
        limit: Most rows of each label, of either file; by default as many as the smallest task has.
        seed: Another seed takes other samples.
        overwrite: Whether files that are there may be replaced.

    Returns:
        Rows of each label by split, `search` and `test`.

    Raises:
        ValueError: If an expert has no task, or a task no expert.
        TaskError: If a task is no task of questions, or has no test samples.
        OutputError: If a file exists and may not be replaced, or cannot be written.
    """
    prompt = prompt or DispatchPrompt()
    labels = prompt.labels(descriptions)
    odd = sorted((set(descriptions) - set(tasks)) | (set(tasks) - set(labels)))
    if odd:
        raise ValueError(
            f"Expected a task for each of {', '.join(labels)}, but {odd[0]!r} is only on one side."
        )
    place = Path(path).expanduser()
    files: dict[SplitName, Path] = {
        "search": place.with_suffix(".jsonl"),
        "test": place.with_suffix(".test.jsonl"),
    }
    for file in (place, *files.values()):
        refuse_existing(file, overwrite=overwrite)
    counts: dict[str, int] = {}
    for split, file in files.items():
        rows = _rows(tasks, split, descriptions, prompt, limit, seed)
        counts[split] = len(rows) // len(tasks)
        atomic_write_text(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    settings = _settings(prompt, {split: file.name for split, file in files.items()})
    atomic_write_text(place, yaml.safe_dump(settings, allow_unicode=True, sort_keys=False))
    return counts


def said_of(task: TextTask, position: int) -> str:
    """A question as a model that is asked it sees it; of a chat what the user says."""
    question = task.questions[position]
    return task.prompt.asked(question) if task.prompt.chat else task.prompt.text(question)


def _rows(
    tasks: Mapping[str, Splits],
    split: SplitName,
    descriptions: Mapping[str, str],
    prompt: DispatchPrompt,
    limit: int | None,
    seed: int,
) -> list[dict[str, Any]]:
    """As many rows of each label, label after label in turn."""
    sizes = [len(choose(each, split)) for each in tasks.values()]
    count = min(sizes) if limit is None else min(limit, *sizes)
    by_label: dict[str, list[str]] = {}
    for label, splits in tasks.items():
        chosen = choose(splits, split, limit=count, seed=seed)
        said: list[str] = []
        for task, ids in chosen.parts:
            if not isinstance(task, TextTask):
                raise TaskError(f"Expected a task of questions for {label!r}, found {chosen.name}.")
            said += [said_of(task, int(i)) for i in ids]
        by_label[label] = said
    return [
        {
            "question": prompt.text(said[k], descriptions),
            "answer": f"\\boxed{{{label}}}" if prompt.read == "boxed" else label,
            "label": label,
            "request": said[k],
        }
        for k in range(count)
        for label, said in by_label.items()
    ]


def _settings(prompt: DispatchPrompt, files: Mapping[str, str]) -> dict[str, Any]:
    """The task file."""
    is_boxed = prompt.read == "boxed"
    return {
        "data": files["search"],
        "test": files["test"],
        "name": "dispatch",
        "columns": {"question": "question", "answer": "answer"},
        "template": "{question}",
        "answer": prompt.answer.replace("{label}", "{answer}"),
        "chat": prompt.chat,
        "scorer": "contains" if is_boxed else "exact",
        "stop": [] if is_boxed else ["\n"],
        "max_tokens": prompt.max_tokens if is_boxed else _LABEL_TOKENS,
        "stratify": "label",
    }
