"""`merganser evolve` and `merganser schema`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from merganser._errors import ConfigError
from merganser.cli._outcome import conclude
from merganser.cli._output import (
    MODEL_FORMS,
    OUTPUT_PANEL,
    TASK_FORMS,
    Json,
    Quiet,
    Report,
    clear_errors,
    print_json,
    words,
)
from merganser.cli._progress import Watch
from merganser.evaluation import is_task_file
from merganser.interop import as_evolve_file, is_mergekit_evolve, read_mergekit_evolve
from merganser.run import (
    METHODS,
    Budget,
    EvolveSettings,
    evolve_settings,
    parse_settings,
    read_settings,
    settings_schema,
)
from merganser.weights import open_checkpoint

_FILE_SUFFIXES = (".yaml", ".yml")


_SEARCH, _ABLATIONS = "The search", "Leaving parts out"


def evolve(
    target: Annotated[
        str,
        typer.Argument(
            help=f"An evolve file (.yaml), or a task: {TASK_FORMS}.",
            show_default=False,
            metavar="FILE|TASK",
        ),
    ],
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Small random networks, or two specialists that are trained on the spot.",
            metavar="scratch|specialists",
            show_default="scratch",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help=f"A model to start from; say it several times. A {MODEL_FORMS}.",
            metavar="MODEL",
        ),
    ] = None,
    adapt: Annotated[
        str | None,
        typer.Option(
            help="The models are files of experts, and this is the base that they are of.",
            metavar="MODEL",
            show_default="no experts",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Evaluations, or a time such as 90s, 10m, 2h.", metavar="N|TIME", show_default="20000"
        ),
    ] = None,
    splits: Annotated[
        str | None,
        typer.Option(
            help="With validation, or as in the paper without.",
            metavar="default|paper",
            show_default="default",
        ),
    ] = None,
    subset: Annotated[
        int | None,
        typer.Option(
            help="Score children on so many search samples at a time, others after a while.",
            metavar="N",
            show_default="all",
            min=1,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of everything random.", metavar="N", show_default="0")
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            help=f"One of {', '.join(METHODS)}.",
            metavar="METHOD",
            show_default="natural-niches",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    population: Annotated[
        int | None,
        typer.Option(help="Size of the population.", metavar="N", show_default="20", rich_help_panel=_SEARCH),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            help="Strength of competition; 0 is a plain sum of scores.",
            metavar="X",
            show_default="1",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    mutation: Annotated[
        float | None,
        typer.Option(
            help="Noise on children from scratch.", metavar="X", show_default="0.01", rich_help_panel=_SEARCH
        ),
    ] = None,
    warmup: Annotated[
        int | None,
        typer.Option(
            help="Random merges of the models before the search proper.",
            metavar="N",
            show_default="0",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    angles: Annotated[
        str | None,
        typer.Option(
            help="One SLERP angle per child, or one on each side of the split.",
            metavar="whole|sides",
            show_default="whole",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    no_attraction: Annotated[
        bool,
        typer.Option("--no-attraction", help="Choose both parents by fitness.", rich_help_panel=_ABLATIONS),
    ] = False,
    no_split_point: Annotated[
        bool,
        typer.Option("--no-split-point", help="One weight for the whole model.", rich_help_panel=_ABLATIONS),
    ] = False,
    no_crossover: Annotated[
        bool,
        typer.Option(
            "--no-crossover", help="Children are mutated copies of one parent.", rich_help_panel=_ABLATIONS
        ),
    ] = False,
    no_early_rejection: Annotated[
        bool,
        typer.Option(
            "--no-early-rejection",
            help="Score every child on every sample; the result is the same.",
            rich_help_panel=_ABLATIONS,
        ),
    ] = False,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Run directory; an interrupted run in it is resumed.",
            metavar="DIR",
            show_default="new, in runs/",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where to write the winner as a checkpoint; of experts NAME.safetensors is an expert.",
            metavar="PATH",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that score children at the same time.", metavar="N", show_default="1", min=1
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Where language models live: cpu, cuda, mps.", metavar="DEVICE", show_default="cpu"
        ),
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(
            help="Seconds after which a child that is being scored has failed.",
            metavar="S",
            show_default="none",
        ),
    ] = None,
    report: Report = True,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Search for the best combination of models on a task.

    Ctrl-C stops cleanly; the run can be resumed.

    Examples:
        merganser evolve digits

        merganser evolve digits --from specialists --budget 10000

        merganser evolve data.npz -m a.safetensors -m b.safetensors --out merged/

        merganser evolve questions.jsonl -m org/model-a -m org/model-b --device cuda
    """
    options: dict[str, dict[str, Any]] = {
        "search": {
            "method": search,
            "population": population,
            "alpha": alpha,
            "warmup": warmup,
            "attraction": False if no_attraction else None,
            "split_point": False if no_split_point else None,
            "crossover": False if no_crossover else None,
            "early_rejection": False if no_early_rejection else None,
        },
        "adapt": {"base": adapt},
        "genome": {"mutation": mutation, "angles": angles},
        "splits": {"preset": splits},
        "subset": {"samples": subset},
    }
    with clear_errors():
        top = {"models": model or start, "seed": seed, "workers": workers, "time_limit": time_limit}
        top["device"] = device
        if model and start is not None:
            raise ConfigError(
                f"Start from the models given by `-m`, or `--from {start}`, not from both. Leave one of them out."
            )
        settings = _settings(target, options, top, budget)
        with Watch(quiet=quiet) as watch:
            outcome = evolve_settings(settings, run=run, out=out, progress=watch)
        conclude(outcome, out=out, report=report, as_json=json)


def _settings(
    target: str, options: dict[str, dict[str, Any]], top: dict[str, Any], budget: str | None
) -> EvolveSettings:
    """What the file says, or the task by itself, with the options that were given on top."""
    from_file = _is_evolve_file(target)
    settings = _read(target) if from_file else EvolveSettings(task=target)
    data: dict[str, Any] = settings.to_json()
    for section, values in options.items():
        given = {k: v for k, v in values.items() if v is not None}
        if given:
            data[section] = {**(data[section] or {}), **given}
    data.update({k: v for k, v in top.items() if v is not None})
    if budget is not None:
        data["budget"] = dataclasses.asdict(Budget.parse(budget))
    return parse_settings(data, target if from_file else "options")


def _is_evolve_file(target: str) -> bool:
    """Whether it is a file of this command's own, and not a task."""
    return target.endswith(_FILE_SUFFIXES) and not target.startswith("lm-eval:") and not is_task_file(target)


def _read(file: str) -> EvolveSettings:
    """An evolve file, ours or mergekit-evolve's."""
    if not is_mergekit_evolve(file):
        return read_settings(file)
    config = read_mergekit_evolve(file)
    for note in config.notes:
        words.print(f"{file}: {note}", soft_wrap=True)
    return parse_settings(as_evolve_file(config, open_checkpoint(config.genome.models[0]).layers), file)


def schema() -> None:
    """Print the JSON Schema of the evolve file, for editors."""
    print_json(settings_schema())
