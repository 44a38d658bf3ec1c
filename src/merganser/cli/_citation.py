"""`merganser citation`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from merganser.cli._output import clear_errors
from merganser.merging import METHODS, RECIPE_NAME, citations, method_named, read_recipe, sources_of
from merganser.run import sources_of_run


def citation(
    what: Annotated[
        list[str],
        typer.Argument(help="Merge methods, folders of merged models, or run directories."),
    ],
) -> None:
    """Print BibTeX of exactly what was used."""
    with clear_errors():
        sys.stdout.write(citations(source for each in what for source in _sources(each)))


def _sources(what: str) -> tuple[str, ...]:
    folder = Path(what).expanduser()
    if what in METHODS or not folder.exists():
        return (method_named(what).rule.paper,)
    if (folder / RECIPE_NAME).exists():
        return sources_of(read_recipe(folder / RECIPE_NAME))
    return sources_of_run(folder)
