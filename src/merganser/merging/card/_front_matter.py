"""The settings at the top of a model's `README.md`, between two lines of dashes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from merganser.weights import Checkpoint

_LONGEST = 1 << 20
"""Characters of a file that are looked at."""

_FRONT = re.compile(r"\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|$)", re.DOTALL)
_LANGUAGE = re.compile(r"[A-Za-z]+(-[A-Za-z0-9]+)*")


def front_matter(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """The settings at the top of a model's `README.md`; empty if there are none that can be read."""
    text = "" if checkpoint.home is None else text_of(checkpoint.home / "README.md")
    match = _FRONT.match(text)
    if match is None:
        return {}
    try:
        found = yaml.safe_load(match[1])
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: such as the date 2024-02-31
        return {}
    return found if isinstance(found, dict) else {}


def languages_of(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The languages that a model's card names."""
    found = front_matter(checkpoint).get("language")
    listed = found if isinstance(found, list) else [found]
    return tuple(each for each in listed if isinstance(each, str) and _LANGUAGE.fullmatch(each))


def text_of(file: Path) -> str:
    """The text of a file, without what is no UTF-8; empty if it cannot be read."""
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as stream:
            return stream.read(_LONGEST)
    except OSError:
        return ""
