"""What `compare` and `series` take alike: what to measure on, how to look, where to write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, cast

import typer

from merganser.cli._output import MODEL_FORMS, OUTPUT_PANEL, TASK_FORMS, words
from merganser.comparison import Comparison, Data, Reduce, Series, View, data_of, read_data, view_for
from merganser.evaluation import Chosen, Splits, choose, together
from merganser.report import write_comparison_report
from merganser.weights import atomic_directory, refuse_existing

_PANEL = "Representations"

DataFile = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Run all models on these and compare their representations: .txt (a text in every line), .jsonl (`text`, "
        "`prompt` or `question`), or arrays for perceptrons.",
        metavar="FILE",
        show_default="what the task asks",
        rich_help_panel=_PANEL,
    ),
]
Texts = Annotated[
    int, typer.Option(help="Run models on at most so many texts or arrays.", min=8, rich_help_panel=_PANEL)
]
Tokens = Annotated[
    str,
    typer.Option(
        help="What becomes of a text's tokens; sampled and all need models that read texts as the same tokens.",
        metavar="mean|last|sampled|all",
        rich_help_panel=_PANEL,
    ),
]
Rows = Annotated[
    int | None,
    typer.Option(
        help="Rows that are compared at a time.",
        min=8,
        show_default="a tenth of all, 16 to 128",
        rich_help_panel=_PANEL,
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        help="A submodule to look at, as torch names it; repeatable.",
        metavar="NAME",
        show_default="all blocks",
        rich_help_panel=_PANEL,
    ),
]
Imprints = Annotated[
    Path | None,
    typer.Option(
        help="Keep there what language models leave behind on the data, so that none is run twice on them.",
        metavar="DIR",
        show_default="kept nowhere",
        rich_help_panel=_PANEL,
    ),
]
Base = Annotated[
    str | None,
    typer.Option(
        "--base", "-b", help=f"The model the others were tuned from: {MODEL_FORMS}.", show_default="unknown"
    ),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        "-t",
        help=f"Score models and their merges on its search samples: {TASK_FORMS}; repeatable.",
        metavar="TASK",
        show_default="no task",
    ),
]
Limit = Annotated[int | None, typer.Option(help="Score at most so many samples.", min=1, metavar="N")]
Seed = Annotated[int, typer.Option(help="Seed of the split and of the limit.", metavar="N")]
Workers = Annotated[int | None, typer.Option(help="Threads.", show_default="one per processor", min=1)]
Device = Annotated[str, typer.Option(help="Where to compute.")]
DType = Annotated[
    str | None,
    typer.Option(help="Element type to run models in.", show_default="that of the models"),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="A folder to write: everything that was found as JSON, and report.html with pictures.",
        metavar="DIR",
        show_default="nothing is written",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the output if it exists.", rich_help_panel=OUTPUT_PANEL)
]


class Ground(NamedTuple):
    """What models are measured on.

    Attributes:
        chosen: Samples to score; None without a task.
        data: What to run them on; None without any.
        view: How to look at them there.
    """

    chosen: Chosen | None
    data: Data | None
    view: View | None


def ground(
    splits: Sequence[Splits],
    data: str | None,
    *,
    limit: int | None,
    seed: int,
    texts: int,
    tokens: str,
    rows: int | None,
    layers: Sequence[str] | None,
) -> Ground:
    """What the options ask for; without a file, models are run on what tasks ask, if those are texts or arrays."""
    chosen = together([choose(s, "search", limit=limit, seed=seed) for s in splits]) if splits else None
    found = None if data is None else read_data(data, limit=texts)
    if found is None and splits:
        asked = together([choose(s, "search", limit=-(-texts // len(splits)), seed=seed) for s in splits])
        found = data_of(asked)
    if found is None:
        return Ground(chosen, None, None)
    view = view_for(found, reduce=cast("Reduce", tokens), rows=rows, layers=layers or ())
    return Ground(chosen, found, view)


def check_out(out: Path | None, *, overwrite: bool) -> None:
    """Refuse a place that is taken before anything is measured."""
    if out is not None:
        refuse_existing(out, overwrite=overwrite)


def write_found(found: Comparison | Series, out: Path | None, *, overwrite: bool) -> None:
    """Write what was found, and its report, into a folder that appears whole or not at all."""
    if out is None:
        return
    with atomic_directory(out, overwrite=overwrite) as folder:
        found.save(folder)
        write_comparison_report(folder)
    _say_written(out)


def write_report_of(folder: Path) -> None:
    """Write the report of a folder that is there."""
    write_comparison_report(folder)
    _say_written(folder)


def _say_written(folder: Path) -> None:
    words.print(f"Written: {folder / 'report.html'}", soft_wrap=True, markup=False)
