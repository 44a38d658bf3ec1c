"""`merganser compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from merganser.cli._compare_options import (
    Base,
    DataFile,
    Device,
    DType,
    Imprints,
    Layers,
    Limit,
    Out,
    Overwrite,
    Rows,
    Seed,
    TaskName,
    Texts,
    Tokens,
    Workers,
    check_out,
    ground,
    write_found,
)
from merganser.cli._compare_tables import show
from merganser.cli._output import MODEL_FORMS, Json, Quiet, clear_errors, print_json
from merganser.cli._tick_bar import tick_bar
from merganser.comparison import compare
from merganser.merging import default_workers
from merganser.weights import Execution


def compare_models(
    models: Annotated[
        list[str],
        typer.Argument(
            help=f"Two or more models, each a {MODEL_FORMS}.", metavar="MODEL…", show_default=False
        ),
    ],
    base: Base = None,
    spectra: Annotated[
        bool,
        typer.Option(
            "--spectra", help="Decompose task vectors too: ranks and shared directions, layer by layer. Slow."
        ),
    ] = False,
    task: TaskName = None,
    limit: Limit = None,
    seed: Seed = 0,
    data: DataFile = None,
    texts: Texts = 512,
    tokens: Tokens = "mean",
    rows: Rows = None,
    layers: Layers = None,
    imprints: Imprints = None,
    workers: Workers = None,
    device: Device = "cpu",
    dtype: DType = None,
    out: Out = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Say whether models fit together: merge, align first, route, or keep apart; with the evidence."""
    with clear_errors():
        check_out(out, overwrite=overwrite)
        on = ground(task, data, limit=limit, seed=seed, texts=texts, tokens=tokens, rows=rows, layers=layers)
        with tick_bar(quiet=quiet or as_json) as watch:
            found = compare(
                models,
                base,
                with_spectra=spectra,
                chosen=on.chosen,
                data=on.data,
                view=on.view,
                cache=imprints,
                execution=Execution(workers or default_workers(), device=device),
                dtype=dtype,
                watch=watch,
            )
        write_found(found, out, overwrite=overwrite)
    if as_json:
        print_json(found.to_json())
    else:
        show(found)
