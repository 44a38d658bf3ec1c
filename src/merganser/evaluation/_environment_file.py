"""A task file with `environment:`: goals that are reached in several turns."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from merganser._settings_file import checked

SHOP = "shop"
_Count = Annotated[int, Field(gt=0)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class EnvironmentFile:
    """A task of several turns, as its file says it.

    Attributes:
        environment: `shop`, or `module:function` that returns an environment.
        data: File of goals, for an environment of one's own.
        name: What people call it; by itself the name of the file.
        encoding: How the file of goals is encoded.
        goals: How many goals: of the shop 200 by itself, of a file all.
        products: How many products the shop has.
        seed: Another seed makes other products and goals, or takes others from the file.
        steps: Most actions of an episode.
        max_tokens: Most tokens of an action.
        stop: Strings that end an action.
        template: How an observation is put.
        answer: How an earlier action follows it.
        system: What the model is told first.
        chat: Use the model's chat template.
        separator: What stands between turns, outside chat.
        window: Most characters of earlier turns.
        width: Most episodes side by side.
        seconds: Longest time of a step; with it each episode of `module:function` has a process of its own.
        weight: How much the task counts among others.
    """

    environment: str
    data: str | None = None
    name: str | None = None
    encoding: str = "utf-8"
    goals: _Count | None = None
    products: _Count | None = None
    seed: int = 0
    steps: _Count = 8
    max_tokens: _Count = 64
    stop: tuple[str, ...] = ("\n",)
    template: str | None = None
    answer: str | None = None
    system: str | None = None
    chat: bool = False
    separator: str | None = None
    window: Annotated[int, Field(ge=0)] | None = None
    width: _Count = 64
    seconds: Annotated[float, Field(gt=0)] | None = None
    weight: Annotated[float, Field(gt=0)] = 1.0


def is_environment(data: Any) -> bool:
    """Whether the content of a task file describes an environment."""
    return isinstance(data, dict) and "environment" in data


def parse_environment_file(data: Any, path: Path) -> EnvironmentFile:
    """An environment's file from plain data; paths in it become paths from where it lies.

    Raises:
        ConfigError: If a key is unknown (the nearest right one is named) or a value is wrong.
    """
    file = checked(EnvironmentFile, data, str(path), example=f"environment: {SHOP}", sections={})
    goals = None if file.data is None else str(path.parent / file.data)
    return dataclasses.replace(file, data=goals, name=file.name or path.stem)
