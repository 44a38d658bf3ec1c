"""`merganser route layers`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from merganser.cli._output import (
    MODEL_FORMS,
    OUTPUT_PANEL,
    Json,
    Quiet,
    clear_errors,
    percent,
    plain_table,
    print_json,
    tables,
    words,
)
from merganser.cli._step_bar import step_bar
from merganser.models import read_texts
from merganser.report import write_layers_report
from merganser.routing.layers import (
    LEVELS,
    LayerRouting,
    Level,
    RoutedModel,
    RouterState,
    RouterTraining,
    TokenWindows,
    Usage,
    save_routed,
    train_routers,
    usage_of,
)
from merganser.weights import refuse_existing, short_names


def route_layers(
    models: Annotated[
        list[str],
        typer.Argument(help=f"Models whose MLPs are mixed, each a {MODEL_FORMS}.", metavar="MODEL…"),
    ],
    data: Annotated[
        list[Path],
        typer.Option("--data", "-d", help="Texts to train on, .txt or .jsonl; repeatable.", metavar="FILE"),
    ],
    out: Annotated[Path, typer.Option(help="The folder of the routed model.", rich_help_panel=OUTPUT_PANEL)],
    base: Annotated[
        str | None, typer.Option(help="Gives everything but MLPs.", show_default="the first model")
    ] = None,
    with_base: Annotated[
        bool, typer.Option("--with-base", help="Mix the base's MLPs too, as those of one more model.")
    ] = False,
    trunk: Annotated[
        str | None, typer.Option(help="Gives everything but MLPs, instead of the base: a merge, say.")
    ] = None,
    level: Annotated[str, typer.Option(help="How finely.", metavar="|".join(LEVELS))] = "layers",
    reach: Annotated[
        int | None, typer.Option(help="Depths that a block uses, for cross-depth.", min=2)
    ] = None,
    own_bias: Annotated[
        float, typer.Option(help="Head start of a block's own depth, for cross-depth; in nats.")
    ] = 0.0,
    top_k: Annotated[
        int | None, typer.Option(help="MLPs computed for a token.", min=1, show_default="all")
    ] = None,
    mlps: Annotated[
        str | None,
        typer.Option(help="Names of MLPs, such as 'model.layers.*.mlp'.", show_default="those called mlp"),
    ] = None,
    steps: Annotated[int, typer.Option(help="Most steps of training.", min=1)] = 400,
    batch: Annotated[int, typer.Option(help="Windows of a step.", min=1)] = 8,
    most_tokens: Annotated[int, typer.Option(help="Tokens of a window.", min=2)] = 256,
    learning_rate: Annotated[float, typer.Option(help="Of AdamW.")] = 5e-3,
    every: Annotated[int, typer.Option(help="Steps between looks at held-out windows.", min=1)] = 20,
    patience: Annotated[int, typer.Option(help="Looks without an improvement before it stops.", min=1)] = 5,
    seed: Annotated[int, typer.Option(help="Of the split, and of the order of windows.")] = 0,
    dtype: Annotated[
        str | None, typer.Option(help="Element type to compute in.", show_default="that of the base")
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute.")] = "cpu",
    self_contained: Annotated[
        bool,
        typer.Option(
            "--self-contained", help="Copy the models' parts into the folder.", rich_help_panel=OUTPUT_PANEL
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a routed model.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Mix the MLPs of several models token by token; only small routers are trained, on texts of the target domain.

    A training that was stopped goes on when the same command is given again.
    """
    with clear_errors():
        routing = LayerRouting(
            cast("Level", level), reach or (2 if level == "cross-depth" else 1), top_k, mlps, own_bias
        )
        settings = RouterTraining(learning_rate, 0.1, steps, batch, every, patience, seed=seed)
        refuse_existing(out, overwrite=overwrite)
        experts = dict(zip(_names(models), models, strict=True))
        if with_base:
            if base is None:
                raise ValueError("--with-base needs a base. Say which: --base MODEL.")
            experts |= {"base": base}
        model = RoutedModel.of(experts, routing, trunk=trunk or base, dtype=dtype, device=device)
        if not quiet:
            _say_distances(model)
        names = short_names([str(file) for file in data])
        texts = {names[str(file)]: list(read_texts(file)) for file in data}
        everything = [text for found in texts.values() for text in found]
        windows = TokenWindows(everything, model.tokens, most_tokens=most_tokens)
        keep = out.with_name(f"{out.name}.training.safetensors")
        with _watched(settings, quiet=quiet) as watch:
            state = train_routers(model.net, windows, settings, keep=keep, of=model.digest, watch=watch)
        save_routed(model, out, self_contained=self_contained, overwrite=overwrite)
        keep.unlink(missing_ok=True)
        usage = usage_of(model.net, windows, batch=batch)
        parts = {
            name: usage_of(model.net, TokenWindows(found, model.tokens, most_tokens=most_tokens), batch=batch)
            for name, found in (texts.items() if len(texts) > 1 else ())
        }
        write_layers_report(parts or dict.fromkeys(texts, usage), state, out / "report.html")
    if as_json:
        print_json(_facts(model, state, usage, out))
    else:
        _show(model, state, usage)


def _names(models: Sequence[str]) -> list[str]:
    """Short names for models; one that is given again gets a number.

    Examples:
        >>> _names(["runs/a/x", "runs/b/x", "y"]), _names(["runs/x", "runs/x"])
        (['a/x', 'b/x', 'y'], ['x', 'x-2'])
    """
    short = list(map(short_names(list(dict.fromkeys(models))).__getitem__, models))
    before = [short[:k].count(name) for k, name in enumerate(short)]
    return [name if not n else f"{name}-{n + 1}" for name, n in zip(short, before, strict=True)]


def _say_distances(model: RoutedModel) -> None:
    for name, each in model.ingredients.items():
        if each.trunk_distance > 0:
            words.print(
                f"note: besides its MLPs, {name} differs from the trunk by {percent(each.trunk_distance)} of the "
                "trunk's length; that is lost.",
                soft_wrap=True,
                markup=False,
            )


def _show(model: RoutedModel, state: RouterState, usage: Usage) -> None:
    best = state.best_look
    tables.print(
        f"loss on held-out windows {state.looks[0].validation:.4f} -> {best.validation:.4f} (step {best.step} of "
        f"{state.step}), {model.net.parameters:,} parameters trained"
    )
    table = plain_table("block", *usage.experts, "entropy", right=(*usage.experts, "entropy"))
    for block, (shares, entropy) in enumerate(zip(usage.by_expert, usage.entropy, strict=True)):
        table.add_row(str(block), *map(percent, shares), f"{entropy:.3f}")
    tables.print(table)


def _facts(model: RoutedModel, state: RouterState, usage: Usage, out: Path) -> dict[str, Any]:
    return {
        "out": str(out),
        "parameters": model.net.parameters,
        "steps": state.step,
        "best_step": state.best_look.step,
        "loss_before": state.looks[0].validation,
        "loss": state.best_look.validation,
        "experts": list(usage.experts),
        "usage": usage.by_expert.tolist(),
        "entropy": usage.entropy.tolist(),
    }


@contextmanager
def _watched(settings: RouterTraining, *, quiet: bool) -> Iterator[Callable[[RouterState], None] | None]:
    """A progress bar that says the loss on held-out windows."""
    with step_bar("training routers", settings.steps, quiet=quiet) as tell:

        def watch(state: RouterState) -> None:
            assert tell is not None
            tell(state.step, f"loss {state.best_look.validation:.3f}")

        yield None if tell is None else watch
