"""`merganser adapt dispatch`: a task on which a dispatcher is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from merganser._errors import ConfigError
from merganser.adaptation.strategies import OTHER, read_adaptive_file, write_dispatch_task
from merganser.cli._output import OUTPUT_PANEL, Json, clear_errors, print_json, words
from merganser.evaluation import SplitRule, open_task


def dispatch(
    experts: Annotated[
        Path,
        typer.Argument(
            help="The experts file, whose experts have a `task` each.",
            metavar="EXPERTS.yaml",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="The task file; its rows are written beside it.", rich_help_panel=OUTPUT_PANEL),
    ],
    limit: Annotated[
        int | None,
        typer.Option(
            help="Most rows of each label.", min=1, metavar="N", show_default="as the smallest task has"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the tasks' splits and of the limit.", metavar="N")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a task that trains a dispatcher: requests of the experts' tasks, put as the first pass asks, and names."""
    with clear_errors():
        if out.suffix not in (".yaml", ".yml"):
            raise ConfigError(f"A task file ends in .yaml, but --out is {out}.")
        file = read_adaptive_file(experts)
        lacking = [name for name, each in file.experts.items() if each.task is None]
        if file.prompt.other is not None and file.other is None:
            raise ConfigError(
                f"{experts} needs `other:`, a task of requests that are for no expert; or, if there are none, "
                "`prompt: {other: null}`."
            )
        if lacking:
            raise ConfigError(
                f"{experts} names no `task` of {lacking[0]!r}. Add it: requests that are for it."
            )
        references = {name: each.task for name, each in file.experts.items()}
        if file.prompt.other is not None:
            references[OTHER] = file.other
        rule = SplitRule(seed=seed)
        tasks = {name: open_task(task, rule) for name, task in references.items() if task is not None}
        counts = write_dispatch_task(
            tasks, file.descriptions, out, prompt=file.prompt, limit=limit, seed=seed, overwrite=overwrite
        )
    words.print(
        f"{out}: of each of {len(tasks)} labels {counts['search']:,} rows to learn from, {counts['test']:,} to test.",
        soft_wrap=True,
        markup=False,
    )
    if as_json:
        print_json({"task": str(out), "labels": list(tasks), "rows": counts})
