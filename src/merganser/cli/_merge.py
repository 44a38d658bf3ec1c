"""`merganser merge`, `merganser methods` and `merganser verify`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from merganser.cli._adapters import adapter_facts, say_core_space, say_truncation
from merganser.cli._output import FAILED, Json, Quiet, clear_errors, print_json, say_far, tables, words
from merganser.cli._parameters import with_parameters
from merganser.cli._tune import facts, show, tuned, wish_of
from merganser.interop import Stage, carry_out, plan_mergekit
from merganser.merging import (
    FAR,
    METHODS,
    Engine,
    Formulas,
    MergePlan,
    bind,
    default_workers,
    lengths_beside_base,
    method_named,
    open_models,
    open_statistics,
    parameters_of,
    plan_merge,
    recipe_of,
    verify,
    vocabulary_rules,
    write_merge,
)
from merganser.merging import Progress as Step
from merganser.weights import Checkpoint, Execution, refuse_existing

_HOW, _TUNING = "How", "Tuning parameters"
_ADAPTERS = "If all models are adapters of one base"
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


@with_parameters
def merge(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Paths or hub ids (`org/name@revision`); `base+adapter` applies a LoRA, and with --base the adapter "
            "alone will do. Or one mergekit file, *.yaml."
        ),
    ],
    method: Annotated[
        str | None,
        typer.Option(
            "--method", "-m", help="How to merge: one of `merganser methods`.", show_default="linear"
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", "-b", help="The model the others were tuned from, if the method needs it."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder, or .safetensors file, to write.")
    ] = None,
    donor: Annotated[
        str | None,
        typer.Option(
            help="Which model gives configuration and tokenizer.", show_default="the base, or the first"
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Whose vocabulary, where they differ: union, base, or one of the models.",
            show_default="the donor's",
        ),
    ] = None,
    chat_template: Annotated[
        str | None,
        typer.Option(
            help="auto (the commonest), a name such as chatml, or a Jinja text.", show_default="the donor's"
        ),
    ] = None,
    statistics: Annotated[
        list[str] | None,
        typer.Option(
            help="What `merganser statistics` measured, for methods that need it; once for each model, in order."
        ),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Element type to write, such as bfloat16.", show_default="the donor's")
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(help="Under which licence the result is.", show_default="the strictest of the models'"),
    ] = None,
    as_adapter: Annotated[
        bool,
        typer.Option(
            "--as-adapter",
            help="Write an adapter (PEFT) instead of a whole model.",
            rich_help_panel=_ADAPTERS,
        ),
    ] = False,
    rank: Annotated[
        int | None,
        typer.Option(
            help="Keep so many directions of every merged change, the largest.",
            show_default="all",
            rich_help_panel=_ADAPTERS,
        ),
    ] = None,
    space: Annotated[
        str,
        typer.Option(
            help="full: whole tensors. core: the few directions that the adapters use; where a method looks at single "
            "weights (ties, dare) the result depends on that basis. auto: core for methods that give the same there.",
            metavar="auto|full|core",
            rich_help_panel=_ADAPTERS,
        ),
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Key of random numbers, for methods that drop at random.")] = 0,
    formulas: Annotated[
        str,
        typer.Option(
            "--as",
            help="Whose formulas to follow for a mergekit file, where they differ: papers or mergekit.",
            metavar="papers|mergekit",
        ),
    ] = "papers",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and stop.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
    shard_size: Annotated[
        str, typer.Option(help="Bytes a file may have: 500M, 5G.", rich_help_panel=_HOW)
    ] = "5G",
    workers: Annotated[
        int | None,
        typer.Option(help="Threads.", show_default="one per processor", rich_help_panel=_HOW, min=1),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps.", rich_help_panel=_HOW)
    ] = "cpu",
    tune: Annotated[
        str | None,
        typer.Option(
            help="Parameters to tune on a task first: lambda,density; with bounds lambda=0:3; weight:each for one "
            "value a model.",
            metavar="NAME[,NAME…]",
            rich_help_panel=_TUNING,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="What to tune for: digits, FILE.npz, a folder of arrays.", rich_help_panel=_TUNING),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Merges to try, or a time such as 10m.",
            metavar="N|TIME",
            show_default="100",
            rich_help_panel=_TUNING,
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Run directory of the tuning; an interrupted run in it is resumed.",
            metavar="DIR",
            show_default="new, in runs/",
            rich_help_panel=_TUNING,
        ),
    ] = None,
    digests: Annotated[
        bool,
        typer.Option(
            "--digests",
            help="Name the models by digest in the recipe: reads them once more.",
            rich_help_panel=_HOW,
        ),
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    *,
    parameters: dict[str, Any],
) -> None:
    """Merge models by rule, streamed: memory does not grow with the models.

    Interrupted, the same command goes on where it stopped.
    """
    with clear_errors():
        execution = Execution(workers or default_workers(), device=device)
        wish, found = wish_of(tune, task, budget, run), None
        options: dict[str, Any] = {"shard_size": _bytes(shard_size), "overwrite": overwrite}
        if _is_file(models):
            said = {"method": method, "base": base, "donor": donor, "tokenizer": tokenizer, "dtype": dtype}
            said |= {"chat-template": chat_template, "statistics": statistics, "tune": tune}
            said |= {
                "as-adapter": as_adapter or None,
                "rank": rank,
                "space": None if space == "auto" else space,
            }
            _refuse_options({**said, **parameters})
            stages = plan_mergekit(models[0], formulas=_formulas(formulas), seed=seed)
            plans = [stage.plan for stage in stages]
            _print_notes(models[0], stages)

            def carry(out: Path, watch: Any) -> Checkpoint:
                return carry_out(
                    stages, out, execution, digests=digests, licence=licence, progress=watch, **options
                )
        else:
            if formulas != "papers":
                raise ValueError("--as goes with a mergekit file; methods named here follow the papers.")
            opened, base_opened, donor_opened = open_models(models, base, donor)
            if wish is not None:
                _check_place(out, dry_run=dry_run, overwrite=overwrite)
                method = method or "linear"
                found = tuned(wish, models, method, base=base, parameters=parameters, seed=seed, quiet=quiet)
                parameters = {**found.parameters}
            plan = plan_merge(
                opened,
                method or "linear",
                base=base_opened,
                donor=donor_opened,
                dtype=dtype,
                seed=seed,
                vocabulary=vocabulary_rules(tokenizer, [*models, base], [*opened, base_opened]),
                chat_template=chat_template,
                parameters=parameters,
                statistics=[open_statistics(each) for each in statistics or ()],
                space=space,
                rank=rank,
                as_adapter=as_adapter,
            )
            plans = [plan]

            def carry(out: Path, watch: Any) -> Checkpoint:
                recipe = recipe_of(plan, digests=digests, licence=licence)
                return write_merge(Engine(plan, execution, watch), recipe, out, **options)

        if dry_run:
            _show_plans(plans, execution, as_json=as_json)
            return
        if out is None:
            raise ValueError("Where to? Name a folder with --out, or look at the plan with --dry-run.")
        _notice_strangers(plans[0])
        began = time.monotonic()
        with _saying_how_to_go_on(out), _bar(quiet=quiet) as watch:
            merged = carry(out, watch)
        seconds = time.monotonic() - began
    written = plans[-1].bytes_out
    if as_json:
        done = {"out": str(out), "tensors": len(merged), "bytes": written, "seconds": round(seconds, 3)}
        done |= adapter_facts(plans[-1]) or {}
        print_json(done if found is None else done | facts(found))
    else:
        if found is not None:
            show(found)
        speed = sum(plan.bytes_in + plan.bytes_out for plan in plans) / max(seconds, 1e-9)
        amount = f"{len(merged):,} tensors, {_size(written)} in {seconds:.1f} s"
        words.print(f"{out}: {amount} ({_size(speed)}/s read and written)", soft_wrap=True)
        say_truncation(plans[-1])


def _check_place(out: Path | None, *, dry_run: bool, overwrite: bool) -> None:
    """What would be said after tuning is said before."""
    if out is None or dry_run:
        raise ValueError("Tuning ends with a merge: name a folder with --out, and leave out --dry-run.")
    refuse_existing(out, overwrite=overwrite)


def _is_file(models: Sequence[str]) -> bool:
    """Whether the argument is a mergekit file, and no model."""
    return len(models) == 1 and Path(models[0]).suffix in (".yaml", ".yml")


def _formulas(text: str) -> Formulas:
    if text not in get_args(Formulas):
        raise ValueError(f"--as must be papers or mergekit, but is {text!r}.")
    return cast("Formulas", text)


def _refuse_options(options: Mapping[str, Any]) -> None:
    """A file says everything that decides about the result."""
    given = next((name for name, value in options.items() if value is not None), None)
    if given is not None:
        raise ValueError(
            f"--{given.replace('_', '-')} is for the file to say. Write it there, or name the models here."
        )


def _notice_strangers(plan: MergePlan) -> None:
    """Say so where a base does not look like the one that the models were tuned from."""
    for model, length in lengths_beside_base(plan).items():
        if length > FAR:
            say_far(model, length)


def _print_notes(file: str, stages: Sequence[Stage]) -> None:
    for note in (note for stage in stages for note in stage.config.notes):
        words.print(f"{file}, {note}", soft_wrap=True)


def methods(
    name: Annotated[str | None, typer.Argument(help="A method, to see its parameters.")] = None,
    as_json: Json = False,
) -> None:
    """List the merge methods, or tell one's parameters, source and laws."""
    with clear_errors():
        shown = METHODS if name is None else {name: method_named(name)}
    if as_json:
        print_json({"methods": [_facts(each) for each in shown]})
    elif name is None:
        table = _table("method", "base", "models", "reads", "statistics", "")
        for each, method in METHODS.items():
            rule = method.rule
            needs = rule.statistics or "–"
            table.add_row(each, rule.base, _count(*rule.models), _cost(each), needs, rule.summary)
        tables.print(table)
    else:
        _show_method(name)


def verify_merge(
    folder: Annotated[Path, typer.Argument(help="A folder that `merganser merge` wrote.")],
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Where its models are now, the base first.", show_default="where they were"),
    ] = None,
    statistics: Annotated[
        list[str] | None,
        typer.Option(
            help="Where the statistics are now that it was merged by, one for each model.",
            show_default="where they were",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Threads.", show_default="one per processor", min=1)
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute.")] = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rebuild a merged model from its recipe and compare every byte; writes nothing."""
    with clear_errors(), _bar(quiet=quiet) as watch:
        found = verify(
            folder, models or (), statistics=statistics or (), workers=workers, device=device, progress=watch
        )
    if as_json:
        print_json({"same": found.is_same, "tensors": found.tensors, "different": list(found.different)})
    elif found.is_same:
        words.print(
            f"{folder} is what its recipe says: {found.tensors:,} tensors, byte by byte.", soft_wrap=True
        )
    else:
        listed = ", ".join(found.different[:5]) + (", …" if len(found.different) > 5 else "")
        words.print(
            f"{folder} is not what its recipe says: {len(found.different):,} tensors differ: {listed}.",
            soft_wrap=True,
        )
    if not found.is_same:
        raise typer.Exit(FAILED)


def _show_plans(plans: Sequence[MergePlan], execution: Execution, *, as_json: bool) -> None:
    """What would be done: of a file with several documents, each in its turn."""
    if as_json:
        listed = [_plan_facts(plan, execution) for plan in plans]
        print_json(listed[0] if len(listed) == 1 else {"stages": listed})
        return
    for plan in plans:
        _show_plan(plan, execution)


def _plan_facts(plan: MergePlan, execution: Execution) -> dict[str, Any]:
    return {
        "method": plan.method_name,
        "models": [model.source for model in plan.models],
        "base": None if plan.base is None else plan.base.source,
        "donor": plan.donor.source,
        "passes": plan.passes,
        "bytes_in": plan.bytes_in,
        "bytes_out": plan.bytes_out,
        "memory": plan.memory(execution),
        "workers": execution.workers,
        "notes": [] if plan.vocabulary is None else list(plan.vocabulary.notes),
        "groups": plan.groups(),
        **({} if (adapters := adapter_facts(plan)) is None else adapters),
    }


def _show_plan(plan: MergePlan, execution: Execution) -> None:
    facts = _plan_facts(plan, execution)
    table = _table("part", "method", "type", "tensors", "parameters", "bytes")
    for row in facts["groups"]:
        counts = (f"{row['tensors']:,}", f"{row['parameters']:,}", _size(row["bytes"]))
        table.add_row(row["part"], row["method"], row["dtype"], *counts)
    tables.print(table)
    passes = "once" if plan.passes == 1 else "twice, to measure first"
    taken = "an adapter" if plan.is_adapter else "configuration and tokenizer"
    words.print(
        f"reads {_size(plan.bytes_in)} ({passes}), writes {_size(plan.bytes_out)}; buffers of "
        f"{_size(facts['memory'])} for {execution.workers} workers; {taken} of {plan.donor.source}",
        soft_wrap=True,
    )
    say_core_space(plan)
    say_truncation(plan)
    for note in facts["notes"]:
        words.print(note, soft_wrap=True)


def _show_method(name: str) -> None:
    facts = _facts(name)
    words.print(f"[bold]{name}[/]: {facts['summary']}", soft_wrap=True)
    words.print(
        f"base: {facts['base']} · models: {facts['models']} · reads: {facts['reads']} · source: {facts['source']}",
        soft_wrap=True,
    )
    if facts["statistics"] is not None:
        words.print(
            f"statistics: {facts['statistics']}, of every model (`merganser statistics --help`)",
            soft_wrap=True,
        )
    table = _table("parameter", "default", "range", "")
    for row in facts["parameters"]:
        table.add_row(row["name"], _shown(row["default"]), row["range"], row["help"])
    tables.print(table)


def _facts(name: str) -> dict[str, Any]:
    rule = METHODS[name].rule
    source = rule.paper if rule.paper.startswith("http") else f"https://arxiv.org/abs/{rule.paper}"
    parameters = [
        {
            "name": p.name,
            "help": p.help,
            "default": None if p.is_required else p.default,
            "range": " | ".join(p.choices) or _range(p.low, p.high),
        }
        for p in parameters_of(METHODS[name])
    ]
    return {
        "name": name,
        "summary": rule.summary,
        "base": rule.base,
        "models": _count(*rule.models),
        "source": source,
        "reads": _cost(name),
        "laws": sorted(rule.laws),
        "statistics": rule.statistics,
        "parameters": parameters,
    }


def _cost(name: str) -> str:
    """What a method costs, in passes over the models, with its defaults."""
    method = METHODS[name]
    least, most = method.rule.models
    models = max(least, 2 if most is None else min(2, most))
    bound = bind(name, method, models, {p.name: 0.5 for p in parameters_of(method) if p.is_required})
    if bound.whole_tensors(models):
        return "whole matrices"
    return "once" if bound.scope == "none" else "twice"


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    return f"{'−∞' if low is None else f'{low:g}'} … {'∞' if high is None else f'{high:g}'}"


def _shown(default: Any) -> str:
    return "must be given" if default is None else str(default).lower()


def _count(least: int, most: int | None) -> str:
    return f"{least}" if least == most else f"{least} or more" if most is None else f"{least} to {most}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        right = column in ("tensors", "parameters", "bytes")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    return table


@contextmanager
def _saying_how_to_go_on(out: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        kept = (
            "stopped"
            if out.suffix == ".safetensors"
            else "stopped: the same command goes on where this one was"
        )
        words.print(kept, soft_wrap=True)
        raise


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Any]:
    """A progress bar with rate and time left on a terminal; silence elsewhere."""
    if quiet or not words.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=words, transient=True) as bar:
        task = bar.add_task("reading headers", total=None)

        def watch(step: Step) -> None:
            bar.update(task, completed=step.done, total=step.total, description=step.doing)

        yield watch


def _bytes(text: str) -> int:
    """A size such as 500M or 5G.

    Examples:
        >>> _bytes("500M"), _bytes("1.5GB")
        (500000000, 1500000000)
    """
    number = text.strip().lower().removesuffix("b").rstrip("kmgt")
    unit = text.strip().lower().removesuffix("b")[len(number) :]
    try:
        return int(float(number) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        raise ValueError(f"A size must look like 500M or 5G, but is {text!r}.") from None


def _size(count: float) -> str:
    """Bytes for people.

    Examples:
        >>> _size(2_208_436_224), _size(999)
        ('2.21 GB', '999 B')
    """
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.2f} {name}"
    return f"{count:.0f} B"
