"""`merganser recipe`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from merganser.cli._output import clear_errors
from merganser.interop import to_yaml
from merganser.merging import RECIPE_NAME, MergeRecipe, read_recipe


def recipe(
    folder: Annotated[Path, typer.Argument(help="A folder that `merganser merge` wrote, or a recipe.")],
    form: Annotated[
        str,
        typer.Option(
            "--as",
            help="json: as it is; mergekit: as a file for mergekit, with a comment where that computes other numbers.",
            metavar="json|mergekit",
        ),
    ] = "json",
) -> None:
    """Print how a merged model was made."""
    with clear_errors():
        if form not in ("json", "mergekit"):
            raise ValueError(f"--as must be json or mergekit, but is {form!r}.")
        found = read_recipe(folder / RECIPE_NAME if folder.is_dir() else folder)
        if form == "json":
            sys.stdout.write(json.dumps(found.to_json(), indent=2) + "\n")
            return
        if not isinstance(found, MergeRecipe):
            raise ValueError(  # noqa: TRY004
                "Only a merge by rule can be said in mergekit's words: a combination of seeds, segment by segment, "
                "cannot. A path is one as soon as it is written as a model: print the recipe in that model's folder."
            )
        sys.stdout.write(to_yaml(found))
