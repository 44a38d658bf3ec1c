"""Recipes as files: JSON, small, portable, the same digest on every machine."""

from __future__ import annotations

import json
from pathlib import Path

from merganser._errors import ConfigError
from merganser.merging._combination import Combination
from merganser.weights import atomic_write_text


def write_recipe(recipe: Combination, path: Path | str) -> None:
    """Write a recipe as JSON, atomically.

    Raises:
        OutputError: If the file cannot be written.
    """
    atomic_write_text(Path(path), json.dumps(recipe.to_json(), separators=(",", ":")) + "\n")


def read_recipe(path: Path | str) -> Combination:
    """Read a recipe.

    Raises:
        ConfigError: If the file is missing, no JSON, or no recipe of this release.
    """
    try:
        return Combination.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"Cannot read the recipe {path}: {error.strerror}.") from error
    except KeyError as error:
        raise ConfigError(f"{path} is no recipe: it has no {error}.") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is no recipe: {error}") from error
