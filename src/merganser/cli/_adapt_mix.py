"""`merganser adapt mix`: several experts as one, by hand, by search, or by a method of merging."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from merganser._errors import ConfigError
from merganser.adaptation import ExpertVector, merge_experts, save_expert
from merganser.adaptation.strategies import (
    AdaptiveModel,
    CrossEntropy,
    Generation,
    Mixture,
    MixtureFound,
    MixtureSearch,
    save_adaptive,
    search_mixture,
)
from merganser.cli._adapt_model import Cache, Device, Dtype, Experts, Model, adaptive_model
from merganser.cli._output import (
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
from merganser.evaluation import Chosen, SplitRule, choose, open_task
from merganser.weights import refuse_existing

_SEARCH_PANEL = "The search"


def mix(
    model: Model,
    out: Annotated[
        Path,
        typer.Option(
            help="One expert (FILE.safetensors), or the folder of an adaptive model that answers as the mixture.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ],
    expert: Experts = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Weights; what they lack to 1 is the base.", metavar="NAME=0.7,NAME=0.2"),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            "-t",
            help=f"Search the weights on some samples of a task: {TASK_FORMS}.",
            metavar="TASK",
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="A method of `merganser methods`, such as slerp or ties, instead of weights."),
    ] = None,
    shots: Annotated[
        int, typer.Option(help="Samples to search on.", min=1, rich_help_panel=_SEARCH_PANEL)
    ] = 10,
    held_out: Annotated[
        int | None,
        typer.Option(
            help="Most test samples to score on at the end.",
            min=1,
            show_default="all",
            rich_help_panel=_SEARCH_PANEL,
        ),
    ] = None,
    per_matrix: Annotated[
        bool,
        typer.Option("--per-matrix", help="Weights for each matrix.", rich_help_panel=_SEARCH_PANEL),
    ] = False,
    budget: Annotated[
        int, typer.Option(help="Most mixtures that are scored.", min=1, rich_help_panel=_SEARCH_PANEL)
    ] = 512,
    population: Annotated[
        int, typer.Option(help="Mixtures of a generation.", min=2, rich_help_panel=_SEARCH_PANEL)
    ] = 32,
    patience: Annotated[
        int,
        typer.Option(
            help="Generations without an improvement before it stops.", min=1, rich_help_panel=_SEARCH_PANEL
        ),
    ] = 5,
    low: Annotated[float, typer.Option(help="Least weight.", rich_help_panel=_SEARCH_PANEL)] = 0.0,
    high: Annotated[float, typer.Option(help="Largest weight.", rich_help_panel=_SEARCH_PANEL)] = 1.0,
    seed: Annotated[int, typer.Option(help="Of splits, shots and search.")] = 0,
    cache: Cache = None,
    dtype: Dtype = None,
    device: Device = "cpu",
    report: Annotated[
        Path | None,
        typer.Option(help="Write a page with pictures.", metavar="FILE.html", rich_help_panel=OUTPUT_PANEL),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make one expert out of several: with weights, with weights searched on a few samples, or by a merge method."""
    with clear_errors():
        given = [
            name for name, value in (("--weights", weights), ("--task", task), ("--method", method)) if value
        ]
        if len(given) != 1:
            raise ConfigError(
                f"Expected one of --weights, --task and --method, found {' and '.join(given) or 'none'}."
            )
        is_file = out.suffix == ".safetensors"
        if method is not None and not is_file:
            raise ConfigError(f"What --method makes is one expert: --out FILE.safetensors, not {out}.")
        if report is not None and task is None:
            raise ConfigError("--report shows a search: give --task.")
        refuse_existing(out, overwrite=overwrite)
        opened = adaptive_model(model, expert, cache=cache, dtype=dtype, device=device)
        found = None
        names = tuple(opened.descriptions)
        if method is not None:
            vector = merge_experts([opened.vectors[name] for name in names], method, seed=seed)
        else:
            if task is not None:
                chosen, tested, notes = _samples(task, shots, held_out, seed)
                for note in notes:
                    words.print(f"note: {note}", soft_wrap=True, markup=False)
                cem = CrossEntropy(population, low=low, high=high, seed=seed)
                settings = MixtureSearch(per_matrix, budget, patience, cem=cem)
                watch = None if quiet else _say
                found = search_mixture(opened, chosen, tested, settings, watch=watch)
                mixture = found.mixture
            else:
                mixture = _given(weights or "")
            opened.strategy = mixture
            vector = mixture.vector(opened.vectors)
        _save(opened, vector, out, overwrite=overwrite, facts=_facts(found, names, method))
        if found is not None and report is not None:
            from merganser.report import write_mixture_report

            write_mixture_report(found, report)
    if found is not None:
        _show(found)
    words.print(f"{'expert' if is_file else 'model'}  {out}", soft_wrap=True, markup=False)
    if as_json:
        weighted = opened.strategy.to_json() if method is None else None
        print_json({"out": str(out), "mixture": weighted, "search": found and found.to_json()})


def _given(text: str) -> Mixture:
    """Weights as `--weights` gives them.

    Examples:
        >>> _given("a=0.7,b=.2")
        Mixture(experts=('a', 'b'), weights=(0.7, 0.2))
    """
    try:
        pairs = [
            (name.strip(), float(value)) for name, _, value in (p.partition("=") for p in text.split(","))
        ]
    except ValueError as error:
        raise ConfigError(f"Expected --weights NAME=0.7,NAME=0.2, found {text!r}.") from error
    return Mixture(tuple(name for name, _ in pairs), tuple(value for _, value in pairs))


def _samples(
    task: str, shots: int, held_out: int | None, seed: int
) -> tuple[Chosen, Chosen, tuple[str, ...]]:
    """What is searched on, and what is scored at the end."""
    splits = open_task(task, SplitRule(seed=seed))
    return (
        choose(splits, "search", limit=shots, seed=seed),
        choose(splits, "test", limit=held_out, seed=seed),
        splits.notes,
    )


def _say(generation: Generation) -> None:
    words.print(
        f"{generation.evaluations:,} mixtures: best {percent(generation.best)}, mean {percent(generation.mean)}",
        soft_wrap=True,
    )


def _facts(found: MixtureFound | None, names: tuple[str, ...], method: str | None) -> dict[str, Any]:
    """What the expert's file says of where it comes from."""
    facts: dict[str, Any] = {"mixed": ", ".join(names)}
    if method is not None:
        facts["method"] = method
    if found is not None:
        facts |= {"shots": found.shots, "score on shots": found.standings[0].shots}
    return facts


def _save(
    model: AdaptiveModel, vector: ExpertVector, out: Path, *, overwrite: bool, facts: dict[str, Any]
) -> None:
    if out.suffix == ".safetensors":
        gains = {name: vector.gains(name) for name in vector}
        save_expert(ExpertVector.from_gains(gains, vector.base, facts=facts), out, overwrite=overwrite)
    else:
        save_adaptive(model, out, overwrite=overwrite)


def _show(found: MixtureFound) -> None:
    figures = ("weight", f"on {found.shots} shots", f"on {found.held_out:,} held out (95 %)")
    table = plain_table("", *figures, right=figures)
    weights = found.mixture.mean_weights()
    for each in found.standings:
        weight = f"{weights[each.name]:.3f}" if each.name in weights else ""
        style = "bold" if each is found.standings[0] else ""
        table.add_row(
            escape(each.name), weight, percent(each.shots), with_interval(each.held_out), style=style
        )
    tables.print(table)
    words.print(
        f"{found.history[-1].evaluations:,} mixtures in {found.seconds:.1f} s; stopped: {found.stopped}.",
        soft_wrap=True,
    )
