"""`merganser think train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from merganser._errors import ConfigError
from merganser._training_folder import TRAINING_NAME
from merganser.cli._output import FAILED, OUTPUT_PANEL, Json, Quiet, clear_errors, print_json
from merganser.cli._think_said import facts_of, facts_of_seeds, show_seeds, show_training, watched
from merganser.cli._think_tasks import asked_config, asked_task
from merganser.report import write_seeds_report, write_thinking_report
from merganser.thinking import BASELINES, ThinkerConfig, matched
from merganser.thinking.mazes import FAMILIES
from merganser.thinking.training import (
    SeedTrained,
    ThinkingTask,
    ThinkingTrained,
    ThinkingTraining,
    open_thinking,
    train_seeds,
    train_thinking,
)

_MODEL_PANEL, _SETTINGS_PANEL = "What thinks", "How"
_DEFAULTS = ThinkingTraining()
MODELS = ("ctm", *BASELINES)
"""What can be trained."""


def train(
    task: Annotated[
        str, typer.Argument(help="What it learns.", metavar="parity|digits|maze|fashion", show_default=False)
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
        typer.Option(
            help="Files of Fashion-MNIST; or mazes, a PNG each, in `train` and `test`.", metavar="DIR"
        ),
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
    model: Annotated[
        str,
        typer.Option(
            help="What thinks: a thought machine, or a baseline with as many parameters.",
            metavar="|".join(MODELS),
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = "ctm",
    start: Annotated[
        Path | None,
        typer.Option(
            help="A model to begin with, or the folder of a training.",
            metavar="DIR",
            show_default=False,
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
    seed: Annotated[
        int | None,
        typer.Option(help="Of first weights, batches and pairs of neurons.", min=0, show_default="0"),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Several, one after the other, each in a folder of its own.",
            metavar="N,N…",
            show_default=False,
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute.")] = "cpu",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a model that thinks: on parity, pictures, or the ways through mazes.

    A training that was stopped goes on when the same command is given again; of several seeds, those that are over are
    not trained again.
    """
    with clear_errors():
        options = {"length": length, "size": size, "route": route, "family": family, "data": data}
        asked, chosen = asked_task(task, options), _chosen(seed, seeds)
        fields = {"ticks": ticks, "neurons": neurons, "width": width, "memory": memory}
        begun = None if start is None else _start(start, seeds, {"preset": preset, **fields})
        config = None if begun else _config(asked, model, preset, {**fields, "seed": seed})
        settings = ThinkingTraining(
            steps=steps,
            seconds=seconds,
            batch=batch,
            learning_rate=learning_rate,
            warm_up=warm_up,
            every=every,
            enough=1.0 if stop else None,
            seed=chosen[0],
        )
        with watched(settings, chosen, quiet=quiet) as watch:
            if seeds is None:
                tell = None if watch is None else partial(watch, chosen[0])
                trained = train_thinking(asked, config, out, settings, start=begun, device=device, watch=tell)
            else:
                trained = train_seeds(asked, config, out, settings, seeds=chosen, device=device, watch=watch)
        if isinstance(trained, ThinkingTrained):
            _conclude(trained, out, as_json=as_json)
        else:
            _conclude_seeds(trained, out, as_json=as_json)


def _conclude(trained: ThinkingTrained, out: Path, *, as_json: bool) -> None:
    write_thinking_report(trained, out / "report.html")
    if as_json:
        print_json(facts_of(trained))
    else:
        show_training(trained)


def _conclude_seeds(seeds: Sequence[SeedTrained], out: Path, *, as_json: bool) -> None:
    """Pages and figures of all seeds; an error only if all failed."""
    over = [each.trained for each in seeds if each.trained is not None]
    for trained in over:
        write_thinking_report(trained, trained.folder / "report.html")
    if over:
        write_seeds_report(seeds, out / "report.html")
    if as_json:
        print_json(facts_of_seeds(seeds, out))
    else:
        show_seeds(seeds, out)
    if not over:
        raise typer.Exit(FAILED)


def _chosen(seed: int | None, seeds: str | None) -> list[int]:
    """The seed, or the several ones."""
    if seeds is None:
        return [seed or 0]
    if seed is not None:
        raise ConfigError("Both --seed and --seeds are given. Leave one out.")
    try:
        numbers = [int(part) for part in seeds.split(",")]
    except ValueError as error:
        raise ConfigError(f"Expected --seeds such as 0,1,2, found {seeds!r}.") from error
    if min(numbers) < 0:
        raise ConfigError(f"Expected --seeds that are not negative, found {seeds!r}.")
    return numbers


def _start(start: Path, seeds: str | None, made: Mapping[str, Any]) -> Path:
    """The model to begin with, which has its own parts."""
    given = [name for name, value in {"seeds": seeds, **made}.items() if value is not None]
    if given:
        raise ConfigError(f"A model to begin with has its own parts. Leave --{given[0]} out.")
    return open_thinking(start).path if (start / TRAINING_NAME).exists() else start


def _config(task: ThinkingTask, model: str, preset: str | None, fields: Mapping[str, Any]) -> ThinkerConfig:
    """What the model is made of: the task's thought machine, or a baseline that is matched to it."""
    if model not in MODELS:
        raise ConfigError(f"Expected a model among {', '.join(MODELS)}, found {model!r}.")
    config = asked_config(task, preset, fields)
    return config if model == "ctm" else matched(config, model)
