"""`merganser explain`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from merganser.cli._output import Json, clear_errors, plain_table, print_json, say_far, tables
from merganser.merging import FAR, RECIPE_NAME, Fate, default_workers, explain, plan_recipe, read_recipe
from merganser.weights import Execution


def explain_merge(
    folder: Annotated[Path, typer.Argument(help="A folder that `merganser merge` wrote.")],
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Where its models are now, the base first.", show_default="where they were"),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw it layer by layer: .png, .svg or .html.", dir_okay=False)
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Threads.", show_default="one per processor", min=1)
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell what became of every model's task vector: how much survived, was dropped, or was overruled."""
    with clear_errors():
        plan = plan_recipe(read_recipe(folder / RECIPE_NAME), models or ())
        found = explain(plan, Execution(workers or default_workers()))
        if picture is not None:
            from merganser.report import write_explanation

            write_explanation(found, picture)
    if as_json:
        print_json(found.to_json())
        return
    tables.print(_table(found.total))
    for model, fate in found.total.items():
        if fate.size is not None and fate.size > FAR:
            say_far(model, fate.size)


def _table(fates: Mapping[str, Fate]) -> Table:
    figures = ("survived", "dropped", "in conflict", "length / base", "parallel")
    table = plain_table("model", *figures, right=figures)
    for model, fate in fates.items():
        shares = (f"{share:.1%}" for share in (fate.l1.survived, fate.l1.dropped, fate.l1.conflict))
        size = "" if fate.size is None else f"{fate.size:.3g}"
        parallel = "" if fate.parallel is None else f"{fate.parallel:.1%}"
        table.add_row(Path(model).name, *shares, size, parallel)
    return table
