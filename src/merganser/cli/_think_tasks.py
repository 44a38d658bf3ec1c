"""What a thought machine shall learn, from the options of a command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from merganser._errors import ConfigError
from merganser.thinking import CTMConfig
from merganser.thinking.training import ThinkingTask, task_named

_FIELDS = {
    "parity": {"length": "length"},
    "maze": {"size": "size", "route": "length", "family": "family"},
    "maze-files": {"data": "folder", "route": "length"},
    "fashion": {"data": "folder"},
}
"""Options that are a task's own, and its fields; other tasks have none."""


def asked_task(name: str, options: Mapping[str, Any]) -> ThinkingTask:
    """The task that is asked for.

    Args:
        name: Its name; with `data`, `maze` means mazes in files.
        options: Its own options by name, None where they are not given.

    Raises:
        ConfigError: If there is no such task, or an option is another task's.
    """
    given = {option: value for option, value in options.items() if value is not None}
    if name == "maze" and "data" in given:
        name = "maze-files"
    fields = _FIELDS.get(name, {})
    for option in given:
        if option not in fields:
            theirs = " and ".join(sorted(task for task, own in _FIELDS.items() if option in own))
            raise ConfigError(f"--{option} is for {theirs}, but the task is {name}. Leave it out.")
    return task_named(name, **{fields[option]: value for option, value in given.items()})


def asked_config(task: ThinkingTask, preset: str | None, fields: Mapping[str, Any]) -> CTMConfig:
    """The model that is asked for.

    Args:
        task: What it answers.
        preset: One of the paper's models; None for the task's own.
        fields: What shall be different, None where it shall not.

    Raises:
        ConfigError: If there is no such preset, or a value is wrong.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if preset is None:
        return task.config(**given)
    answers = {"outputs": task.positions * task.classes, "positions": task.positions}
    return CTMConfig.preset(preset, **given, **answers)
