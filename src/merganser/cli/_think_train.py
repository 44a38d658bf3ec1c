"""`merganser think train`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from merganser._errors import ConfigError
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
from merganser.report import write_thinking_report
from merganser.thinking import BASELINES, ThinkerConfig, matched
from merganser.thinking.training import (
    TASKS,
    ThinkingRow,
    ThinkingTask,
    ThinkingTrained,
    ThinkingTraining,
    task_named,
    train_thinking,
)

_MODEL_PANEL, _SETTINGS_PANEL = "What thinks", "How"
_DEFAULTS = ThinkingTraining()
MODELS = ("ctm", *BASELINES)
"""What can be trained."""


def train(
    task: Annotated[str, typer.Argument(help="What it learns.", metavar="|".join(TASKS), show_default=False)],
    out: Annotated[
        Path, typer.Option(help="The folder of the training.", rich_help_panel=OUTPUT_PANEL, metavar="DIR")
    ],
    length: Annotated[
        int | None, typer.Option(help="Of the sequences, for parity.", min=1, show_default="8")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="What thinks: a thought machine, or a baseline with as many parameters.",
            metavar="|".join(MODELS),
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = "ctm",
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
    """Train a model that thinks on a task that needs no data.

    A training that was stopped goes on when the same command is given again.
    """
    with clear_errors():
        if length is not None and task == "digits":
            raise ConfigError("Digits have no --length. Leave it out.")
        asked = task_named(task, **({} if length is None else {"length": length}))
        fields = {"ticks": ticks, "neurons": neurons, "width": width, "memory": memory, "seed": seed}
        fields = {name: value for name, value in fields.items() if value is not None}
        config = _config(asked, model, fields)
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


def _config(task: ThinkingTask, model: str, fields: Mapping[str, Any]) -> ThinkerConfig:
    """What the model is made of: the task's thought machine, or a baseline that is matched to it."""
    if model not in MODELS:
        raise ConfigError(f"Expected a model among {', '.join(MODELS)}, found {model!r}.")
    config = task.config(**fields)
    return config if model == "ctm" else matched(config, model)


def _show(trained: ThinkingTrained) -> None:
    numbers = ("accuracy", "all positions right", "ticks", "saved")
    table = plain_table("test", *numbers, right=numbers)
    halted = trained.halted
    table.add_row("all ticks", percent(trained.test), percent(trained.whole), f"{_ticks(trained)}", "")
    label = f"halted at a certainty of {halted.threshold}"
    if _ticks(trained) > 1:
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
