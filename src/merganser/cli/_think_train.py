"""`merganser think train`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from merganser.cli._output import (
    OUTPUT_PANEL,
    Json,
    Quiet,
    clear_errors,
    percent,
    plain_table,
    print_json,
    tables,
)
from merganser.cli._step_bar import step_bar
from merganser.cli._think_tasks import asked_config, asked_task
from merganser.report import write_thinking_report
from merganser.thinking.mazes import FAMILIES
from merganser.thinking.training import (
    ThinkingRow,
    ThinkingTrained,
    ThinkingTraining,
    train_thinking,
)

_MODEL_PANEL, _SETTINGS_PANEL = "What thinks", "How"
_DEFAULTS = ThinkingTraining()


def train(
    task: Annotated[
        str, typer.Argument(help="What it learns.", metavar="parity|digits|maze", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option(help="The folder of the training.", rich_help_panel=OUTPUT_PANEL, metavar="DIR")
    ],
    length: Annotated[
        int | None, typer.Option(help="Of the sequences, for parity.", min=1, show_default="8")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Of mazes, in pixels; odd.", min=9, show_default="9")
    ] = None,
    route: Annotated[
        int | None,
        typer.Option(help="Steps of a maze's route that are asked for.", min=1, show_default="30"),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(help="How mazes are drawn.", metavar="|".join(FAMILIES), show_default="depth-first"),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Mazes in files: `train` and `test` in here, a PNG each.", metavar="DIR"),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="A model of the paper's, such as `maze-39`.",
            metavar="NAME",
            show_default="a small one",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None,
    ticks: Annotated[
        int | None,
        typer.Option(help="How long it thinks.", min=1, show_default="by task", rich_help_panel=_MODEL_PANEL),
    ] = None,
    neurons: Annotated[
        int | None,
        typer.Option(help="How many.", min=1, show_default="by task", rich_help_panel=_MODEL_PANEL),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            help="Of what attention sees.", min=1, show_default="by task", rich_help_panel=_MODEL_PANEL
        ),
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option(
            help="Ticks that a neuron remembers.",
            min=1,
            show_default="by task",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None,
    steps: Annotated[
        int, typer.Option(help="Most steps.", min=1, rich_help_panel=_SETTINGS_PANEL)
    ] = _DEFAULTS.steps,
    seconds: Annotated[
        float | None,
        typer.Option(help="Training time after which it stops.", rich_help_panel=_SETTINGS_PANEL),
    ] = None,
    batch: Annotated[
        int, typer.Option(help="Samples of a step.", min=1, rich_help_panel=_SETTINGS_PANEL)
    ] = _DEFAULTS.batch,
    learning_rate: Annotated[
        float, typer.Option(help="Peak of AdamW's.", rich_help_panel=_SETTINGS_PANEL)
    ] = _DEFAULTS.learning_rate,
    warm_up: Annotated[
        int, typer.Option(help="Steps over which it rises.", min=0, rich_help_panel=_SETTINGS_PANEL)
    ] = _DEFAULTS.warm_up,
    every: Annotated[
        int,
        typer.Option(
            help="Steps between looks at validation samples, and between checkpoints.",
            min=1,
            rich_help_panel=_SETTINGS_PANEL,
        ),
    ] = _DEFAULTS.every,
    stop: Annotated[
        bool,
        typer.Option(help="Stop once all validation samples are right.", rich_help_panel=_SETTINGS_PANEL),
    ] = True,
    seed: Annotated[int, typer.Option(help="Of first weights, batches and pairs of neurons.", min=0)] = 0,
    device: Annotated[str, typer.Option(help="Where to compute.")] = "cpu",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a model that thinks: on parity, digits, or the ways through mazes.

    A training that was stopped goes on when the same command is given again.
    """
    with clear_errors():
        options = {"length": length, "size": size, "route": route, "family": family, "data": data}
        asked = asked_task(task, options)
        fields = {"ticks": ticks, "neurons": neurons, "width": width, "memory": memory, "seed": seed}
        config = asked_config(asked, preset, fields)
        settings = ThinkingTraining(
            steps=steps,
            seconds=seconds,
            batch=batch,
            learning_rate=learning_rate,
            warm_up=warm_up,
            every=every,
            enough=1.0 if stop else None,
            seed=seed,
        )
        with _watched(settings, quiet=quiet) as watch:
            trained = train_thinking(asked, config, out, settings, device=device, watch=watch)
        write_thinking_report(trained, out / "report.html")
    if as_json:
        print_json(_facts(trained))
    else:
        _show(trained)


def _show(trained: ThinkingTrained) -> None:
    numbers = ("accuracy", "all positions right", "ticks", "saved")
    table = plain_table("test", *numbers, right=numbers)
    halted = trained.halted
    table.add_row("all ticks", percent(trained.test), percent(trained.whole), f"{_ticks(trained)}", "")
    label = f"halted at a certainty of {halted.threshold}"
    table.add_row(label, percent(halted.accuracy), "", f"{halted.ticks:.1f}", percent(halted.saved))
    tables.print(table)
    why = {
        "enough": "every validation sample is right",
        "steps": "all steps are taken",
        "seconds": "time is up",
    }
    tables.print(
        f"{trained.parameters:,} parameters trained in {trained.rows[-1].step} steps "
        f"({why[trained.stopped]}): {trained.path}",
        soft_wrap=True,
        markup=False,
    )


def _facts(trained: ThinkingTrained) -> dict[str, Any]:
    return {
        "out": str(trained.folder),
        "path": str(trained.path),
        "parameters": trained.parameters,
        "steps": trained.rows[-1].step,
        "stopped": trained.stopped,
        "seconds": trained.rows[-1].seconds,
        "validation": trained.rows[-1].validation,
        "test": trained.test,
        "whole": trained.whole,
        "halted": trained.halted._asdict(),
    }


def _ticks(trained: ThinkingTrained) -> int:
    return len(trained.rows[-1].certainties or ())


@contextmanager
def _watched(settings: ThinkingTraining, *, quiet: bool) -> Iterator[Callable[[ThinkingRow], None] | None]:
    """A progress bar that says loss and validation."""
    with step_bar("training", settings.steps, quiet=quiet) as tell:
        looked: float | None = None

        def watch(row: ThinkingRow) -> None:
            nonlocal looked
            looked = looked if row.validation is None else row.validation
            assert tell is not None
            tell(row.step, said(row, looked))

        yield None if tell is None else watch


def said(row: ThinkingRow, looked: float | None) -> str:
    """What a step reached.

    Examples:
        >>> said(ThinkingRow(3, loss=0.25), 0.5)
        'loss 0.250, validation 50.0 %'
    """
    parts = [
        "" if row.loss is None else f"loss {row.loss:.3f}",
        "" if looked is None else f"validation {percent(looked)}",
    ]
    return ", ".join(filter(None, parts))
