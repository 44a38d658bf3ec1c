"""Files of settings: read as YAML, checked against frozen classes, with the nearest right key where one is wrong.

Evolve files and task files are both of this kind.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from merganser._errors import ConfigError
from merganser._text_file import read_text

_T = TypeVar("_T")


def read_yaml(path: Path | str) -> Any:
    """Plain data from a YAML file.

    Raises:
        ConfigError: If it cannot be read, or is no YAML.
    """
    try:
        return yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {error}") from error


def checked(settings: type[_T], data: Any, source: str, *, example: str, sections: Mapping[str, type]) -> _T:
    """Settings from plain data.

    Args:
        settings: A pydantic dataclass.
        data: What the file holds.
        source: What to call it in messages.
        example: A line that such a file may hold.
        sections: Classes of the keys that have keys of their own.

    Raises:
        ConfigError: If a key is unknown (the nearest right one is named) or missing, or a value is wrong.
    """
    if not isinstance(data, dict):
        raise ConfigError(
            f"{source}: expected a mapping such as `{example}`, but found {type(data).__name__}."
        )
    try:
        return TypeAdapter(settings).validate_python(data)
    except ValidationError as error:
        said = (_explained(e, settings, example, sections) for e in error.errors())
        raise ConfigError("\n".join(f"{source}: {each}" for each in said)) from error


def _explained(error: Any, settings: type, example: str, sections: Mapping[str, type]) -> str:
    location = [str(part) for part in error["loc"]]
    where = ".".join(location)
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        section = sections.get(location[0], settings) if len(location) > 1 else settings
        known = [field.name for field in dataclasses.fields(section)]
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        hint = f"Did you mean `{near[0]}`?" if near else f"Known keys: {', '.join(known)}."
        return f"unknown key `{where}`. {hint}"
    if error["type"] in ("missing", "missing_argument"):
        return f"`{where}` is missing, for example `{example}`."
    return f"`{where}`: {error['msg'][0].lower()}{error['msg'][1:]}, but found {error['input']!r}."
