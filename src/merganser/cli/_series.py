"""`merganser series`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

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
)
from merganser.cli._compare_tables import estimate, show_caveats
from merganser.cli._output import (
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
from merganser.cli._tick_bar import tick_bar
from merganser.comparison import Series, Step, read_series, stop_specialising
from merganser.evaluation import open_task
from merganser.merging import default_workers
from merganser.weights import Execution

_FORMS = "a folder of checkpoints (`checkpoint-500`, …), or a pattern in quotation marks"


def series(
    first: Annotated[
        str, typer.Argument(help=f"One model's checkpoints: {_FORMS}.", metavar="A", show_default=False)
    ],
    second: Annotated[
        str, typer.Argument(help="The other's, at the same steps.", metavar="B", show_default=False)
    ],
    base: Base = None,
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
    out: Out = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Say when to stop specialising: how alike two models are at each step of training, and what merges score."""
    with clear_errors():
        check_out(out, overwrite=overwrite)
        opened = [open_task(each) for each in task or ()]
        on = ground(
            opened, data, limit=limit, seed=seed, texts=texts, tokens=tokens, rows=rows, layers=layers
        )
        with tick_bar(quiet=quiet or as_json) as watch:
            found = stop_specialising(
                read_series(first),
                read_series(second),
                base,
                chosen=on.chosen,
                data=on.data,
                view=on.view,
                cache=imprints,
                execution=Execution(workers or default_workers(), device=device),
                dtype=dtype,
                watch=watch,
            )
        write_found(found, out, overwrite=overwrite)
    if as_json:
        print_json(found.to_json())
    else:
        _show(found)


def _show(found: Series) -> None:
    tables.print(_table(found))
    for step in found.steps:
        for why in step.unmeasured:
            words.print(f"step {step.step}: {why}", soft_wrap=True, markup=False)
    if found.left_out:
        left = ", ".join(map(str, found.left_out))
        words.print(f"Only one of the two has step {left}: left out.", soft_wrap=True)
    tables.print()
    for sentence in found.words:
        tables.print(sentence, soft_wrap=True)
    if found.steps[-1].cka is not None:
        show_caveats(found.steps[-1].cka.caveats)


def _table(found: Series) -> Table:
    """A row for each step: what the weights, the representations and the scores say."""
    with_cka = any(step.cka for step in found.steps)
    scored = any(step.line for step in found.steps)
    columns = ["A / base", "B / base", "task cosine"] if found.base is not None else ["cosine"]
    columns += ["distance", *(["CKA (95 %)"] if with_cka else [])]
    columns += ["A scores", "B scores", "their average (95 %)", "beside the better", ""] if scored else []
    table = plain_table("step", *columns, right=columns)
    for step in found.steps:
        relative = step.part.relative
        cells = [] if relative is None else [f"{length:.3g}" for length in relative]
        cells += [f"{step.part.cosines[0, 1]:.3f}", f"{step.part.distances[0, 1]:.3g}"]
        cells += [estimate(step.cka and step.cka.cka)] if with_cka else []
        cells += [*_scores(step), _mark(found, step)] if scored else []
        table.add_row(f"{step.step:,}", *cells)
    return table


def _scores(step: Step) -> list[str]:
    if step.line is None:
        return ["–"] * 4
    means = step.line.means
    return [
        *(percent(means[t].value) for t in (0.0, 1.0)),
        with_interval(means[0.5]),
        with_interval(step.gain),
    ]


def _mark(found: Series, step: Step) -> str:
    if found.best is step:
        return "best"
    return "may be best" if step.step in found.may_be_best else ""
