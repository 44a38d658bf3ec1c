"""`merganser merge`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast, get_args

from merganser.cli import _merge_options as option
from merganser.cli._adapters import adapter_facts, say_truncation
from merganser.cli._byte_bar import byte_bar
from merganser.cli._expert_files import refuse_experts
from merganser.cli._merge_plan import show_plans
from merganser.cli._output import Json, Quiet, clear_errors, print_json, say_far, words
from merganser.cli._parameters import with_parameters
from merganser.cli._sizes import bytes_in, size_of
from merganser.cli._tune import facts, show, tuned, wish_of
from merganser.interop import Stage, carry_out, plan_mergekit
from merganser.merging import (
    FAR,
    Engine,
    Formulas,
    MergePlan,
    default_workers,
    lengths_beside_base,
    open_models,
    open_statistics,
    plan_merge,
    recipe_of,
    vocabulary_rules,
    write_merge,
)
from merganser.weights import Checkpoint, Execution, refuse_existing


@with_parameters
def merge(
    models: option.Models,
    method: option.Method = None,
    base: option.Base = None,
    out: option.Out = None,
    donor: option.Donor = None,
    tokenizer: option.Tokenizer = None,
    chat_template: option.ChatTemplate = None,
    statistics: option.Statistics = None,
    dtype: option.Dtype = None,
    licence: option.Licence = None,
    as_adapter: option.AsAdapter = False,
    rank: option.Rank = None,
    space: option.Space = "auto",
    seed: option.Seed = 0,
    formulas: option.As = "papers",
    dry_run: option.DryRun = False,
    overwrite: option.Overwrite = False,
    shard_size: option.ShardSize = "5G",
    workers: option.Workers = None,
    device: option.Device = "cpu",
    tune: option.Tune = None,
    task: option.Task = None,
    budget: option.Budget = None,
    run: option.Run = None,
    digests: option.Digests = False,
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
        options: dict[str, Any] = {"shard_size": bytes_in(shard_size), "overwrite": overwrite}
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
            refuse_experts(models)
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
            show_plans(plans, execution, as_json=as_json)
            return
        if out is None:
            raise ValueError("Where to? Name a folder with --out, or look at the plan with --dry-run.")
        _notice_strangers(plans[0])
        began = time.monotonic()
        with _saying_how_to_go_on(out), byte_bar(quiet=quiet) as watch:
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
        amount = f"{len(merged):,} tensors, {size_of(written)} in {seconds:.1f} s"
        words.print(f"{out}: {amount} ({size_of(speed)}/s read and written)", soft_wrap=True)
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
