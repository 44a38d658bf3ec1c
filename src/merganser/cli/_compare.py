"""`merganser compare`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from merganser.cli._compare_options import (
    Base,
    DataFile,
    Device,
    DType,
    Imprints,
    Layers,
    Limit,
    Out,
    Overwrite,
    Rows,
    Seed,
    Tasks,
    Texts,
    Tokens,
    Workers,
    check_out,
    ground,
    write_found,
    write_report_of,
)
from merganser.cli._compare_tables import show
from merganser.cli._decision_table import show_decision
from merganser.cli._expert_files import scales_of_experts
from merganser.cli._output import MODEL_FORMS, OUTPUT_PANEL, Json, Quiet, clear_errors, print_json, words
from merganser.cli._tick_bar import tick_bar
from merganser.comparison import compare
from merganser.decision import decide
from merganser.evaluation import open_task
from merganser.merging import default_workers
from merganser.weights import Execution


def compare_models(
    models: Annotated[
        list[str],
        typer.Argument(
            help=f"Two or more models, each a {MODEL_FORMS}; or files of experts of one base.",
            metavar="MODEL…",
            show_default=False,
        ),
    ],
    base: Base = None,
    spectra: Annotated[
        bool,
        typer.Option(
            "--spectra", help="Decompose task vectors too: ranks and shared directions, layer by layer. Slow."
        ),
    ] = False,
    task: Tasks = None,
    limit: Limit = None,
    seed: Seed = 0,
    data: DataFile = None,
    texts: Texts = 512,
    tokens: Tokens = "mean",
    rows: Rows = None,
    layers: Layers = None,
    imprints: Imprints = None,
    workers: Workers = None,
    device: Device = "cpu",
    dtype: DType = None,
    then: Annotated[
        bool,
        typer.Option(
            "--then",
            help="Go on with what the verdicts say: merge, route, or choose by contract; measure every way on test "
            "samples of the tasks, and say which one to take. Goes on where it was interrupted.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = False,
    out: Out = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Say whether models fit together: merge, align first, route, or keep apart; with the evidence.

    Experts of one base are compared by their scales.
    """
    with clear_errors():
        opened = [open_task(each) for each in task or ()]
        if then and (not opened or out is None):
            raise ValueError("`--then` needs a --task to measure on, and a folder to work in: --out DIR.")
        if then and overwrite:
            raise ValueError(
                "`--then` goes on in its folder and replaces nothing: leave --overwrite out, or name another folder."
            )
        experts = scales_of_experts(models, base)
        if experts is not None and (opened or data is not None):
            raise ValueError(
                "Experts are compared by their scales, which takes neither `--task` nor `--data`. Leave them out, or "
                "compare models that have the experts folded in."
            )
        given, of = (models, base) if experts is None else experts
        on = ground(
            opened, data, limit=limit, seed=seed, texts=texts, tokens=tokens, rows=rows, layers=layers
        )
        looking: dict[str, Any] = {
            "with_spectra": spectra,
            "data": on.data,
            "view": on.view,
            "cache": imprints,
            "execution": Execution(workers or default_workers(), device=device),
            "dtype": dtype,
        }
        decision = None
        if then and out is not None:
            with tick_bar(quiet=quiet or as_json) as watch:
                found, decision = decide(
                    models, opened, out, base=base, limit=limit, seed=seed, watch=watch, **looking
                )
            write_report_of(out)
        else:
            check_out(out, overwrite=overwrite)
            with tick_bar(quiet=quiet or as_json) as watch:
                found = compare(given, of, chosen=on.chosen, watch=watch, **looking)
            write_found(found, out, overwrite=overwrite)
    if as_json:
        print_json(found.to_json() | ({} if decision is None else {"decision": decision.to_json()}))
        return
    show(found)
    if experts is not None:
        words.print(
            "note: verdicts rest on pairs of models, not of experts. What a mixture of these is worth, "
            "`merganser adapt mix BASE … --task TASK` measures.",
            soft_wrap=True,
            markup=False,
        )
    if decision is not None:
        show_decision(decision)
