"""JSON from files that nobody vouches for: strict where bytes hang on it, and with one kind of failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from merganser._errors import CheckpointError
from merganser.weights._mapped import open_regular

MAX_BYTES = 100_000_000
"""Longest file that is parsed, and longest header of a safetensors file."""


class JsonError(ValueError):
    """Text is not the JSON object that was expected; the message reads on after a colon."""


def parse_object(text: bytes) -> dict[str, Any]:
    """Parse one JSON object, strictly.

    Refused are: other encodings than UTF-8, text before the object, keys that occur twice (readers
    would disagree about which one counts), NaN and Infinity, and half characters (lone surrogates).

    Raises:
        JsonError: Saying what is wrong.

    Examples:
        >>> parse_object(b'{"a": 1}')
        {'a': 1}
    """
    if not text.startswith(b"{"):
        raise JsonError("expected a JSON object, which begins with '{', found " + repr(text[:20]))
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except JsonError:
        raise
    except UnicodeDecodeError as error:
        raise JsonError(f"expected UTF-8, found byte {text[error.start]:#04x} at {error.start}") from error
    except RecursionError as error:
        raise JsonError("objects are nested too deeply") from error
    except ValueError as error:  # malformed, or a number of more digits than int() takes
        raise JsonError(f"expected JSON, found an error: {error}") from error
    return value


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object that a file holds, parsed strictly.

    Raises:
        CheckpointError: If the file cannot be read, is too large, or holds something else.
    """
    try:
        return parse_object(_read_text(path).strip())
    except JsonError as error:
        raise CheckpointError(f"{path} is malformed: {error}.") from error


def read_config(path: Path) -> dict[str, Any]:
    """The JSON object that a configuration holds; in the wild these have NaN and Infinity, as Python writes them.

    Raises:
        CheckpointError: If the file cannot be read, is too large, or holds something else.
    """
    try:
        config = json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} must hold a JSON object, but holds a {type(config).__name__}.")
    return config


def _read_text(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(text) > MAX_BYTES:
        raise CheckpointError(f"{path} is too large: expected at most {MAX_BYTES} bytes.")
    return text


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise JsonError(f"key {key!r} occurs twice")
        if not _is_text(key) or (isinstance(value, str) and not _is_text(value)):
            raise JsonError(f"key {key!r} or its value holds half a character (a lone surrogate)")
        found[key] = value
    return found


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise JsonError(f"{constant} is no JSON number")
