"""`merganser adapt train`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from merganser.adaptation import PARAMETRISATIONS, Parametrisation
from merganser.adaptation.training import (
    ADAPTERS,
    PRESETS,
    Adapter,
    Full,
    Lora,
    Row,
    Svf,
    Trained,
    Training,
    train,
)
from merganser.cli._output import (
    MODEL_FORMS,
    OUTPUT_PANEL,
    TASK_FORMS,
    Json,
    Quiet,
    clear_errors,
    percent,
    plain_table,
    print_json,
    tables,
    with_interval,
    words,
)
from merganser.cli._step_bar import step_bar
from merganser.evaluation import SplitRule, open_task
from merganser.report import write_training_report

_ADAPTER_PANEL, _SETTINGS_PANEL = "What is trained", "How"


def train_expert(
    base: Annotated[
        str, typer.Argument(help=f"The model, a {MODEL_FORMS}.", metavar="BASE", show_default=False)
    ],
    task: Annotated[
        str,
        typer.Option("--task", "-t", help=f"What is trained: {TASK_FORMS}.", metavar="TASK"),
    ],
    out: Annotated[
        Path, typer.Option(help="The folder of the training.", rich_help_panel=OUTPUT_PANEL, metavar="DIR")
    ],
    scorer: Annotated[
        str | None,
        typer.Option(
            help="What is right, for a file of questions.", metavar="NAME", show_default="by its answers"
        ),
    ] = None,
    adapter: Annotated[
        str,
        typer.Option(
            help="An expert, a LoRA, or all weights.",
            metavar="|".join(ADAPTERS),
            rich_help_panel=_ADAPTER_PANEL,
        ),
    ] = "svf",
    component: Annotated[
        list[str] | None,
        typer.Option(
            help="What adapted matrices do: mlp, attention or other; repeatable.",
            metavar="NAME",
            show_default="mlp for svf, all for lora",
            rich_help_panel=_ADAPTER_PANEL,
        ),
    ] = None,
    module: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of modules that are adapted besides, such as q_proj; repeatable.",
            metavar="NAME",
            rich_help_panel=_ADAPTER_PANEL,
        ),
    ] = None,
    layer: Annotated[
        list[int] | None,
        typer.Option(
            help="Number of a block that is adapted, from 0; repeatable.",
            metavar="N",
            show_default="all",
            rich_help_panel=_ADAPTER_PANEL,
        ),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(
            help="Rank of a LoRA, or leading directions of an expert.",
            min=1,
            show_default="1 for lora, all for svf",
            rich_help_panel=_ADAPTER_PANEL,
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            help="Of a LoRA, whose change is multiplied with alpha / rank.",
            show_default="32",
            rich_help_panel=_ADAPTER_PANEL,
        ),
    ] = None,
    parametrisation: Annotated[
        str | None,
        typer.Option(
            help="What an expert's numbers are.",
            metavar="|".join(PARAMETRISATIONS),
            show_default="sigmoid",
            rich_help_panel=_ADAPTER_PANEL,
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            help="Settings to begin with; the options below change them.",
            metavar="|".join(PRESETS),
            rich_help_panel=_SETTINGS_PANEL,
        ),
    ] = "rloo",
    steps: Annotated[
        int | None,
        typer.Option(help="Most steps.", min=1, show_default="100", rich_help_panel=_SETTINGS_PANEL),
    ] = None,
    prompts: Annotated[
        int | None,
        typer.Option(
            help="Prompts of a step.", min=1, show_default="8 or 64", rich_help_panel=_SETTINGS_PANEL
        ),
    ] = None,
    rollouts: Annotated[
        int | None,
        typer.Option(
            help="Answers to a prompt.", min=1, show_default="8 or 1", rich_help_panel=_SETTINGS_PANEL
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Of Adam.", show_default="by adapter", rich_help_panel=_SETTINGS_PANEL),
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(help="Longest gradient.", show_default="by preset", rich_help_panel=_SETTINGS_PANEL),
    ] = None,
    kl: Annotated[
        float | None,
        typer.Option(
            help="Weight of the divergence from the base.",
            show_default="by preset",
            rich_help_panel=_SETTINGS_PANEL,
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="Of drawn answers.", show_default="by preset", rich_help_panel=_SETTINGS_PANEL),
    ] = None,
    warm_up: Annotated[
        int | None,
        typer.Option(
            help="First steps that imitate right answers.",
            min=0,
            show_default="by preset",
            rich_help_panel=_SETTINGS_PANEL,
        ),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(
            help="Steps between looks at validation samples, and between checkpoints.",
            min=1,
            show_default="10",
            rich_help_panel=_SETTINGS_PANEL,
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Looks without an improvement before it stops.",
            min=1,
            show_default="5",
            rich_help_panel=_SETTINGS_PANEL,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the split, the order of prompts, and answers.")] = 0,
    dtype: Annotated[
        str | None, typer.Option(help="Element type to compute in.", show_default="that of the base")
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute.")] = "cpu",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train an expert on a task by the task's own grades; or a LoRA, or all weights.

    A training that was stopped goes on when the same command is given again.
    """
    with clear_errors():
        what = _adapter(
            adapter,
            rank=rank,
            alpha=alpha,
            parametrisation=cast("Parametrisation | None", parametrisation),
            components=component,
            modules=module,
            layers=layer,
        )
        settings = Training.preset(
            preset,
            steps=steps,
            prompts=prompts,
            rollouts=rollouts,
            learning_rate=learning_rate,
            clip=clip,
            kl=kl,
            temperature=temperature,
            warm_up=warm_up,
            every=every,
            patience=patience,
            seed=seed,
        )
        splits = open_task(task, SplitRule(seed=seed), scorer=scorer)
        if not quiet:
            for note in splits.notes:
                words.print(f"note: {note}", soft_wrap=True, markup=False)
        with _watched(settings, quiet=quiet) as watch:
            trained = train(base, splits, out, what, settings, dtype=dtype, device=device, watch=watch)
        write_training_report(trained, out / "report.html")
    if as_json:
        print_json(_facts(trained))
    else:
        _show(trained)


def _adapter(kind: str, **options: str | float | Sequence[str | int] | None) -> Adapter:
    """The adapter that the options describe."""
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items() if v is not None}
    if kind not in ADAPTERS:
        raise ValueError(f"Expected an adapter among {', '.join(ADAPTERS)}, found {kind!r}.")
    allowed = {"svf": {"alpha"}, "lora": {"parametrisation"}, "full": set(options)}[kind] & set(given)
    if allowed:
        raise ValueError(f"--adapter {kind} has no --{sorted(allowed)[0].rstrip('s')}. Leave it out.")
    makers: dict[str, Any] = {"svf": Svf, "lora": Lora, "full": Full}
    return makers[kind](**given)


def _show(trained: Trained) -> None:
    table = plain_table("", "base", "trained", "change (95 %)", right=("base", "trained", "change (95 %)"))
    if trained.best is not None:
        first, best = trained.rows[0].validation, trained.best.validation
        table.add_row("validation", percent(first), f"{percent(best)} (step {trained.best.step})", "")
    if trained.test is not None:
        shown = (trained.test.base, trained.test.trained, trained.test.change)
        table.add_row("test", *map(with_interval, shown))
    tables.print(table)
    tables.print(
        f"{trained.parameters:,} parameters trained in {trained.rows[-1].step} steps: {trained.path}",
        soft_wrap=True,
        markup=False,
    )


def _facts(trained: Trained) -> dict[str, Any]:
    test = trained.test
    return {
        "out": str(trained.folder),
        "kind": trained.kind,
        "path": str(trained.path),
        "parameters": trained.parameters,
        "steps": trained.rows[-1].step,
        "best_step": None if trained.best is None else trained.best.step,
        "validation_before": trained.rows[0].validation,
        "validation": None if trained.best is None else trained.best.validation,
        "test_before": None if test is None else list(test.base),
        "test": None if test is None else list(test.trained),
        "test_change": None if test is None else list(test.change),
    }


@contextmanager
def _watched(settings: Training, *, quiet: bool) -> Iterator[Callable[[Row], None] | None]:
    """A progress bar that says reward and validation."""
    with step_bar("training", settings.steps, quiet=quiet) as tell:
        validation: float | None = None

        def watch(row: Row) -> None:
            nonlocal validation
            validation = validation if row.validation is None else row.validation
            assert tell is not None
            tell(row.step, said(row, validation))

        yield None if tell is None else watch


def said(row: Row, validation: float | None) -> str:
    """What a step reached.

    Examples:
        >>> said(Row(3, reward=0.25), 0.5)
        'reward 0.250, validation 50.0 %'
        >>> said(Row(3, surprise=1.5), None)
        'cross-entropy 1.500'
    """
    parts = [] if validation is None else [f"validation {percent(validation)}"]
    if row.reward is not None:
        parts.insert(0, f"reward {row.reward:.3f}")
    elif row.surprise is not None:
        parts.insert(0, f"cross-entropy {row.surprise:.3f}")
    return ", ".join(parts)
