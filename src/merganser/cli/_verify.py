"""`merganser verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from merganser.cli._byte_bar import byte_bar
from merganser.cli._output import FAILED, Json, Quiet, clear_errors, print_json, words
from merganser.merging import verify


def verify_merge(
    folder: Annotated[Path, typer.Argument(help="A folder that `merganser merge` wrote.")],
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Where its models are now, the base first.", show_default="where they were"),
    ] = None,
    statistics: Annotated[
        list[str] | None,
        typer.Option(
            help="Where the statistics are now that it was merged by, one for each model.",
            show_default="where they were",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Threads.", show_default="one per processor", min=1)
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute.")] = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rebuild a merged model from its recipe and compare every byte; writes nothing."""
    with clear_errors(), byte_bar(quiet=quiet) as watch:
        found = verify(
            folder, models or (), statistics=statistics or (), workers=workers, device=device, progress=watch
        )
    if as_json:
        print_json({"same": found.is_same, "tensors": found.tensors, "different": list(found.different)})
    elif found.is_same:
        words.print(
            f"{folder} is what its recipe says: {found.tensors:,} tensors, byte by byte.", soft_wrap=True
        )
    else:
        listed = ", ".join(found.different[:5]) + (", …" if len(found.different) > 5 else "")
        words.print(
            f"{folder} is not what its recipe says: {len(found.different):,} tensors differ: {listed}.",
            soft_wrap=True,
        )
    if not found.is_same:
        raise typer.Exit(FAILED)
