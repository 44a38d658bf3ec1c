"""Recipes as files: JSON, small, portable, the same on every machine.

| recipe | says | file |
| --- | --- | --- |
| [`Combination`][] | what a model is, in terms of its seeds | one line: it may have thousands of segments |
| [`LayerPath`][] | which blocks of which seeds a token goes through | indented |
| [`MergeRecipe`][] | what was done to make a model | indented, for people |
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeAlias

from merganser._errors import ConfigError
from merganser.merging._combination import Combination
from merganser.merging._layer_path import PATH_FORMAT, LayerPath
from merganser.merging._merge_recipe import MERGE_FORMAT, MergeRecipe
from merganser.weights import atomic_write_text

RECIPE_NAME = "recipe.json"
"""The file in a model's folder."""

Recipe: TypeAlias = Combination | LayerPath | MergeRecipe


def write_recipe(recipe: Recipe, path: Path | str) -> None:
    """Write a recipe as JSON, atomically.

    Raises:
        OutputError: If the file cannot be written.
    """
    data, is_long = recipe.to_json(), isinstance(recipe, Combination)
    text = json.dumps(data, separators=(",", ":")) if is_long else json.dumps(data, indent=2)
    atomic_write_text(Path(path), text + "\n")


def read_recipe(path: Path | str) -> Recipe:
    """Read a recipe of any kind.

    Raises:
        ConfigError: If the file is missing, no JSON, or no recipe of this release.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        form = data.get("format") if isinstance(data, dict) else None
        kinds = {MERGE_FORMAT: MergeRecipe, PATH_FORMAT: LayerPath}
        return next((kind for name, kind in kinds.items() if name == form), Combination).from_json(data)
    except OSError as error:
        raise ConfigError(f"Cannot read the recipe {path}: {error.strerror}.") from error
    except KeyError as error:
        raise ConfigError(f"{path} is no recipe: it has no {error}.") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path} is no recipe: {error}") from error


def read_combination(path: Path | str) -> Combination:
    """Read the recipe of a combination of seeds.

    Raises:
        ConfigError: If the file is missing, no JSON, or no such recipe of this release.
    """
    recipe = read_recipe(path)
    if not isinstance(recipe, Combination):
        found = "a path" if isinstance(recipe, LayerPath) else f"a merge by `{recipe.blueprint.method}`"
        raise ConfigError(f"{path} is the recipe of {found}, not of a combination of seeds.")
    return recipe
