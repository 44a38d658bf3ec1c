"""From a file with `environment:` to a task: goals, source, prompt and splits."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

from merganser._errors import ConfigError
from merganser.evaluation._columns import Columns, read_questions
from merganser.evaluation._duplicates import without_doubles
from merganser.evaluation._environment_file import SHOP, EnvironmentFile
from merganser.evaluation._question import Question
from merganser.evaluation._question_splits import limited, split_questions
from merganser.evaluation._splits import SplitRule
from merganser.evaluation._task import Splits
from merganser.evaluation.environments import (
    EnvironmentSource,
    EnvironmentTask,
    EpisodePrompt,
    environment_named,
)
from merganser.evaluation.environments.shop import SHOP_PROMPT, Shop, catalogue, goals

_PRODUCTS, _GOALS = 1000, 200


class _World(NamedTuple):
    """An environment with everything that can be asked of it."""

    source: EnvironmentSource
    questions: tuple[Question, ...]
    prompt: EpisodePrompt


def make_environment_task(file: EnvironmentFile, rule: SplitRule | None = SplitRule()) -> Splits:
    """The task that a file describes, divided.

    Args:
        file: What it says.
        rule: How to divide; None leaves it in one piece.

    Raises:
        ConfigError: If parts of it exclude each other, or name what is not there.
        TaskError: If the goals cannot be read, made or divided.
    """
    name = file.name or file.environment
    world = _shop(file) if file.environment == SHOP else _own(file)
    task = EnvironmentTask(
        name,
        world.questions,
        world.source,
        _prompt(file, world.prompt),
        file.steps,
        file.stop,
        file.max_tokens,
        file.width,
    )
    questions, doubles = without_doubles(task.questions, task.samples.hashes)
    task = _limited(dataclasses.replace(task, questions=questions), file)
    splits = split_questions(task, rule)
    notes = tuple(f"{name}: {note}" for note in (*doubles, *splits.notes))
    return dataclasses.replace(splits, notes=notes, weight=file.weight)


def _shop(file: EnvironmentFile) -> _World:
    _refuse(file, "is made by the shop itself", data=file.data, seconds=file.seconds)
    products = file.products or _PRODUCTS
    try:
        found = catalogue(file.seed, products)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    questions = tuple(goal.question() for goal in goals(found, file.seed, file.goals or _GOALS))
    source = EnvironmentSource(f"shop 1 {file.seed} {products}", partial(Shop, found))
    return _World(source, questions, SHOP_PROMPT)


def _own(file: EnvironmentFile) -> _World:
    _refuse(file, "is of the shop", products=file.products)
    source = environment_named(file.environment, seconds=file.seconds)
    if file.data is None:
        raise ConfigError(f"`environment: {file.environment}` needs `data:`, a file of goals, one a line.")
    return _World(source, read_questions(file.data, Columns(), encoding=file.encoding), EpisodePrompt())


def _refuse(file: EnvironmentFile, why: str, **settings: Any) -> None:
    for key, value in settings.items():
        if value is not None:
            raise ConfigError(
                f"`{key}: {value}` and `environment: {file.environment}` do not go together: it {why}. "
                f"Leave out `{key}`."
            )


def _prompt(file: EnvironmentFile, usual: EpisodePrompt) -> EpisodePrompt:
    template = "{observation}" if file.chat and file.template is None else file.template
    said = {
        "template": template,
        "answer": file.answer,
        "system": file.system,
        "separator": file.separator,
        "window": file.window,
    }
    given = {key: value for key, value in said.items() if value is not None}
    return dataclasses.replace(usual, chat=file.chat, **given)


def _limited(task: EnvironmentTask, file: EnvironmentFile) -> EnvironmentTask:
    total = len(task.questions)
    if file.goals is None or file.goals >= total:
        return task
    kept = limited(task.questions, task.samples.hashes, file.goals, stratum=lambda _: "", seed=file.seed)
    return dataclasses.replace(task, name=f"{task.name} [{len(kept):,} of {total:,}]", questions=kept)
