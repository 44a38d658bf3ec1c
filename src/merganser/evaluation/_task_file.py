"""A task file: where the questions are and how they are put and graded.

| kind of scorer | task |
| --- | --- |
| `choice`, `choice:probability` | [`ChoiceTask`][]: the most probable choice |
| `likelihood`, `likelihood:characters`, `likelihood:tokens` | [`SetMetric`][]: how probable the texts are |
| any of `merganser.evaluation.scorers` | [`GenerativeTask`][]: what the model writes |

Without `scorer`: `choice` where there are choices, `likelihood` where there are no answers, `numeric` where all answers
are numbers, else `exact`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from merganser._errors import ConfigError
from merganser._settings_file import checked, read_yaml

_STRICT = ConfigDict(extra="forbid")
_Names = str | tuple[str, ...]


@dataclass(frozen=True, config=_STRICT)
class ColumnNames:
    """Which columns are what; the rest is found by name.

    Attributes:
        question: One or several, joined by a blank.
        answer: The answer.
        choices: One column of all choices, or one for each.
    """

    question: _Names = ()
    answer: str | None = None
    choices: _Names = ()


@dataclass(frozen=True, config=_STRICT)
class Shots:
    """Examples that are shown before each question.

    Attributes:
        data: A file of questions of their own.
        count: How many, from its beginning; those that are scored themselves are passed over.
    """

    data: str
    count: Annotated[int, Field(gt=0)] = 5


@dataclass(frozen=True, config=_STRICT)
class TaskFile:
    """A task, as its file says it.

    Attributes:
        data: File of questions; paths are taken from where the task file lies.
        test: File of the test set, where it is given apart.
        name: What people call it; by itself the name of the data.
        columns: Which columns are what.
        encoding: How the files are encoded.
        template: How a question is put.
        answer: How an answer follows, with the blank it begins with.
        system: What the model is told first.
        chat: Use the model's chat template.
        shots: Examples that are shown before.
        separator: What stands between examples, outside chat.
        scorer: What is right.
        language: The language that an answer must be in to count.
        detector: What tells the language.
        normalise: What log-probabilities of choices are divided by.
        stop: Strings that end an answer.
        max_tokens: Most tokens of an answer.
        seconds: Longest time of a scorer of one's own, for one sample.
        weight: How much the task counts among others.
        limit: Take so many of the questions in `data`.
        take: Which: `seeded`, by the hash of the content and evenly from all strata, or the `first`.
        stratify: Column whose values are the strata; of choices by itself the position of the right one.
        seed: Another seed takes others.
    """

    data: str
    test: str | None = None
    name: str | None = None
    columns: ColumnNames = ColumnNames()
    encoding: str = "utf-8"
    template: str | None = None
    answer: str | None = None
    system: str | None = None
    chat: bool = False
    shots: Shots | None = None
    separator: str = "\n\n"
    scorer: str | None = None
    language: str | None = None
    detector: str = "script"
    normalise: Literal["none", "tokens", "characters"] = "characters"
    stop: tuple[str, ...] | None = None
    max_tokens: Annotated[int, Field(gt=0)] = 256
    seconds: Annotated[float, Field(gt=0)] = 10.0
    weight: Annotated[float, Field(gt=0)] = 1.0
    limit: Annotated[int, Field(gt=0)] | None = None
    take: Literal["seeded", "first"] = "seeded"
    stratify: str | None = None
    seed: int = 0


def parse_task_file(data: Any, source: str = "task") -> TaskFile:
    """A task file from plain data.

    Raises:
        ConfigError: If a key is unknown (the nearest right one is named) or a value is wrong.
    """
    return checked(TaskFile, data, source, example="data: questions.jsonl", sections=_SECTIONS)


def read_task_file(path: Path) -> TaskFile:
    """A task file from YAML; paths in it become paths from here.

    Raises:
        ConfigError: If it cannot be read, is no YAML, or holds wrong settings.
    """
    file = parse_task_file(read_yaml(path), str(path))
    shots = file.shots and dataclasses.replace(file.shots, data=str(path.parent / file.shots.data))
    test = None if file.test is None else str(path.parent / file.test)
    name = file.name or path.stem
    return dataclasses.replace(file, data=str(path.parent / file.data), test=test, shots=shots, name=name)


def is_task_file(path: Path | str) -> bool:
    """Whether a YAML file is a task file: it says which `data` are asked, or in which `environment` to act.

    Raises:
        ConfigError: If it cannot be read, is no YAML, or has `task` or `tasks` of an evolve file beside these.
    """
    data = read_yaml(path)
    own = next((key for key in ("data", "environment") if isinstance(data, dict) and key in data), None)
    if own is None:
        return False
    mixed = next((key for key in ("task", "tasks") if key in data), None)
    if mixed is not None:
        raise ConfigError(
            f"{path} has `{own}:`, as a task file has, and `{mixed}:`, as an evolve file has. Keep what says how "
            f"questions are asked in a task file of its own, and name that file under `{mixed}:`."
        )
    return True


_SECTIONS: dict[str, type] = {"columns": ColumnNames, "shots": Shots}
