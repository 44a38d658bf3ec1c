"""What a decision left in its folder, as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merganser._errors import RunError
from merganser.evaluation import Interval

_NAME, _VERSION = "decision.json", 1


@dataclass(frozen=True)
class OptionFound:
    """One way to answer.

    Attributes:
        name: What people call it.
        kind: `model`, `merge`, `contract` or `router`.
        members: The models that it needs.
        validation: Mean score by which options are chosen.
        test: Mean test score.
        beside: What that is beyond the best single model; None for that model itself.
        by_task: Mean test score by task.
        uses: Of a contract the model of each task, of a router the share of requests of each model.
    """

    name: str
    kind: str
    members: tuple[str, ...]
    validation: Interval
    test: Interval
    beside: Interval | None
    by_task: Mapping[str, float]
    uses: Mapping[str, Any]


@dataclass(frozen=True)
class DecisionFound:
    """A decision.

    Attributes:
        taken: Name of the option to take.
        words: The decision as sentences.
        options: All of them.
        oracle: Test score of a router that always knew best.
        samples: Number of samples by split.
        notes: What to know.
    """

    taken: str
    words: tuple[str, ...]
    options: tuple[OptionFound, ...]
    oracle: Interval
    samples: Mapping[str, int]
    notes: tuple[str, ...]


def read_decision(folder: str | Path) -> DecisionFound | None:
    """Read the decision of a folder; None if there is none.

    Raises:
        RunError: If it is damaged, or of another version.
    """
    path = Path(folder) / _NAME
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["version"] != _VERSION:
            raise RunError(
                f"Expected a decision of version {_VERSION} in {path}, found {data['version']}. Write it again."
            )
        return DecisionFound(
            data["taken"],
            tuple(data["words"]),
            tuple(_option(each) for each in data["options"]),
            Interval(**data["oracle"]),
            data["samples"],
            tuple(data["notes"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged: {error!r}. Write it again.") from error


def _option(data: Mapping[str, Any]) -> OptionFound:
    return OptionFound(
        data["name"],
        data["kind"],
        tuple(data["members"]),
        Interval(**data["validation"]),
        Interval(**data["test"]),
        data["beside"] and Interval(**data["beside"]),
        data["by_task"],
        data["uses"],
    )
