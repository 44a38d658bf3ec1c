"""What happened at each step of a training, as a file: a line of JSON a step, in order."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from merganser._errors import RunError
from merganser.weights import atomic_write_text

HISTORY_NAME = "history.jsonl"
_R = TypeVar("_R")
"""A dataclass whose field `step` counts from 0."""


def write_history(rows: Iterable[Any], folder: Path) -> None:
    """Write the file anew, atomically.

    Raises:
        OutputError: If it cannot be written.
    """
    atomic_write_text(folder / HISTORY_NAME, "".join(_line(row) for row in rows))


def append_row(row: Any, folder: Path) -> None:
    """Add a line to the file; killed within it, the line is left out when the file is read."""
    with (folder / HISTORY_NAME).open("a", encoding="utf-8") as file:
        file.write(_line(row))


def read_rows(folder: Path, kind: type[_R], *, until: int | None = None) -> tuple[_R, ...]:
    """Rows of the file.

    Args:
        folder: A training's folder.
        kind: What a line is.
        until: The last step that is wanted; None for all.

    Raises:
        RunError: If a line that is wanted is missing or damaged.
    """
    path = folder / HISTORY_NAME
    rows: list[Any] = []
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for line in lines:
        try:
            row: Any = kind(**json.loads(line))
        except (ValueError, TypeError):
            break
        if until is None or row.step <= until:
            rows.append(row)
    if until is not None and [row.step for row in rows] != list(range(until + 1)):
        raise RunError(
            f"{path} is damaged: expected a line for each step from 0 to {until}, found {len(rows)} lines. "
            "Train into another folder."
        )
    return tuple(rows)


def _line(row: Any) -> str:
    return json.dumps(asdict(row)) + "\n"
