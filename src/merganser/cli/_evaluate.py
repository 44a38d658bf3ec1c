"""`merganser evaluate`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.table import Table

from merganser.adaptation.strategies import is_adaptive
from merganser.cli._output import (
    FAILED,
    MODEL_FORMS,
    TASK_FORMS,
    Json,
    Quiet,
    clear_errors,
    print_json,
    tables,
    with_interval,
    words,
)
from merganser.cli._stage_bar import stage_bar
from merganser.evaluation import (
    Evaluation,
    SplitName,
    SplitRule,
    Splits,
    choose,
    evaluate,
    open_task,
)
from merganser.merging import RECIPE_NAME
from merganser.routing import Opener
from merganser.routing.layers import is_routed
from merganser.weights import atomic_write_text, open_checkpoint

_HELD_OUT = "test"


def evaluate_models(
    models: Annotated[
        list[str],
        typer.Argument(
            help=f"Models, each a {MODEL_FORMS}, a recipe.json, or a routed or adaptive folder; the first is what the "
            "others are compared with.",
            metavar="MODEL…",
            show_default=False,
        ),
    ],
    task: Annotated[
        list[str],
        typer.Option(
            "--task",
            "-t",
            help=f"{TASK_FORMS[0].upper()}{TASK_FORMS[1:]}; repeatable.",
            metavar="TASK",
            show_default=False,
        ),
    ],
    split: Annotated[
        str, typer.Option(help="The samples to score.", metavar="test|validation|search|all")
    ] = _HELD_OUT,
    limit: Annotated[
        int | None, typer.Option(help="Score at most so many samples of each task.", min=1, metavar="N")
    ] = None,
    scorer: Annotated[
        str | None,
        typer.Option(
            help="What is right, for a file of questions.", metavar="NAME", show_default="by its answers"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split and of the limit.", metavar="N")] = 0,
    samples: Annotated[
        Path | None,
        typer.Option(help="Write every sample with answer, score and reason.", metavar="OUT.jsonl"),
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute.")] = "cpu",
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Element type to compute in, such as float32, which most processors are faster in than in bfloat16.",
            show_default="that of the model",
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Score models on tasks, with 95 % intervals and the paired difference to the first model."""
    with clear_errors():
        rule = None if split == "all" else SplitRule(seed=seed)
        opened = [open_task(each, rule, scorer=scorer) for each in task]
        chosen = [choose(s, cast("SplitName", split), limit=limit, seed=seed) for s in opened]
        for model in models:
            if Path(model).name != RECIPE_NAME and not (is_routed(model) or is_adaptive(model)):
                open_checkpoint(model)  # a name that is wrong shows now, not when its turn comes
        with stage_bar(quiet=quiet) as watch:
            found = evaluate(
                models, chosen, Opener(device=device, dtype=dtype), notes=_notes(opened), watch=watch
            )
        if not quiet:
            _show_notes(found, split)
        if as_json:
            print_json(found.to_json())
        else:
            tables.print(_table(found))
        if samples is not None:  # last: what was measured has been said, should this fail
            atomic_write_text(samples, _lines(found))
    if any(r.failed for r in found.results):
        raise typer.Exit(FAILED)


def _notes(opened: Sequence[Splits]) -> list[str]:
    notes = [note for splits in opened for note in splits.notes]
    dropped = [(s.search.name, s.dropped) for s in opened if s.dropped]
    return notes + [
        f"{name}: {n:,} questions are left out: the test set holds them too." for name, n in dropped
    ]


def _show_notes(found: Evaluation, split: str) -> None:
    for note in found.notes:
        words.print(f"note: {note}", soft_wrap=True, markup=False)
    if split == _HELD_OUT:
        words.print("Scored on the test split; `--split all` scores every sample.", soft_wrap=True)


def _lines(found: Evaluation) -> str:
    rows = [row for result in found.results for row in result.samples()]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _table(found: Evaluation) -> Table:
    several = len({r.model for r in found.results}) > 1
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("task", overflow="fold")
    table.add_column("model", overflow="fold")
    for column in ("samples", "score (95 %)", *(["beside the first"] if several else [])):
        table.add_column(column, justify="right", no_wrap=True)
    for r in found.results:
        score = f"failed: {r.failed}" if r.failed else with_interval(r.interval)
        beside = [with_interval(found.difference(r))] if several else []
        table.add_row(r.task, r.model, f"{len(r.hashes):,}", score, *beside)
    return table
