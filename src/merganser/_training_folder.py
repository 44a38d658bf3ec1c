"""A training as a folder: a file that says what is trained and how, and once it is over what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merganser._errors import OutputError, RunError
from merganser.weights import atomic_write_text

TRAINING_NAME = "training.json"
_VERSION = 1


def begin(folder: Path, of: Mapping[str, Any], *, gives_way: bool = False) -> dict[str, Any] | None:
    """Make the folder of a training, or go on with one.

    Args:
        folder: The folder.
        of: What makes the training what it is, as plain data.
        gives_way: Whether one that is not over may be replaced by another: it got to no checkpoint.

    Returns:
        What came of it, if it is over; else None.

    Raises:
        OutputError: If something else is there, or it cannot be written.
        RunError: If another training is there, or a damaged one.
    """
    path = folder / TRAINING_NAME
    if not path.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(f"{folder} exists and holds no training. Name a folder that is new or empty.")
        _write(path, of, None)
        return None
    found = read_training(folder)
    if found["result"] is None and gives_way:
        _write(path, of, None)
        return None
    _check_same(folder, found["of"], json.loads(json.dumps(of)))
    return found["result"]


def finish(folder: Path, of: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Note what came of a training.

    Raises:
        OutputError: If it cannot be written.
    """
    _write(folder / TRAINING_NAME, of, result)


def read_training(folder: Path) -> dict[str, Any]:
    """Content of the file that makes a folder a training: `of` and `result`.

    Raises:
        RunError: If there is none, it is damaged, or another version's.
    """
    path = folder / TRAINING_NAME
    try:
        found = json.loads(path.read_bytes())
        if found["version"] != _VERSION or not isinstance(found["of"], dict) or "result" not in found:
            raise RunError(f"{path} is of version {found['version']!r}; this program reads {_VERSION}.")
    except OSError as error:
        raise RunError(f"{folder} holds no training: {error}. Name a folder that `train` made.") from error
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path} is damaged: {error!r}. Train into another folder.") from error
    return found


def _write(path: Path, of: Mapping[str, Any], result: Mapping[str, Any] | None) -> None:
    text = json.dumps({"version": _VERSION, "of": of, "result": result}, indent=2)
    atomic_write_text(path, text + "\n")


def _check_same(folder: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Names and versions of libraries may differ; all else may not."""
    for key, (before, now) in _pairs(old, new):
        if before != now and not key.startswith("versions") and not key.endswith(".name"):
            raise RunError(
                f"{folder} holds another training: `{key}` was {before!r} there, and is {now!r} now. Go on with the "
                "same settings, or train into another folder."
            )


def _pairs(old: Any, new: Any, key: str = "") -> list[tuple[str, tuple[Any, Any]]]:
    """Leaves of both, side by side."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = [*old, *(name for name in new if name not in old)]
        return [
            pair
            for name in names
            for pair in _pairs(old.get(name), new.get(name), f"{key}.{name}" if key else name)
        ]
    return [(key, (old, new))]
