"""`merganser runs`: look at runs, go on with them, take models out of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from merganser.cli._outcome import conclude
from merganser.cli._output import (
    Json,
    Quiet,
    Report,
    by_cause,
    clear_errors,
    percent,
    print_json,
    skills_table,
    tables,
    with_interval,
    words,
)
from merganser.cli._progress import Watch
from merganser.report import write_report
from merganser.run import RunSummary, compare_runs, export, list_runs, resume, summarise

app = typer.Typer(
    add_completion=False, help="Look at runs, go on with them, take models out of them.", no_args_is_help=True
)

Run = Annotated[Path, typer.Argument(help="A run directory.", show_default=False)]


@app.command("list")
def list_command(
    folder: Annotated[Path, typer.Argument(help="The folder that holds run directories.")] = Path("runs"),
    json: Json = False,
) -> None:
    """List the runs in a folder."""
    with clear_errors():
        found = list_runs(folder)
        if json:
            print_json({"runs": [s.to_json() for s in found]})
        elif not found:
            words.print(f"No runs in {folder}. Begin one: merganser evolve digits", soft_wrap=True)
        else:
            tables.print(_table(found))


@app.command()
def show(run: Run, json: Json = False) -> None:
    """Show what a run did and found."""
    with clear_errors():
        summary = summarise(run)
        if json:
            print_json(summary.to_json())
        else:
            tables.print(_facts(summary))
            if summary.front:
                tables.print(_front(summary))
            if summary.skills:
                tables.print(skills_table(summary.skills))


@app.command("resume")
def resume_command(
    run: Run,
    budget: Annotated[
        str | None,
        typer.Option(help="A new budget: evaluations, or a time such as 90s, 10m, 2h.", metavar="N|TIME"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the winner as a checkpoint.", metavar="PATH")
    ] = None,
    report: Report = True,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Go on with a run that was interrupted, or extend a finished one with a larger budget."""
    with clear_errors():
        with Watch(quiet=quiet) as watch:
            outcome = resume(run, budget=budget, out=out, progress=watch)
        conclude(outcome, out=out, report=report, as_json=json)


@app.command("export")
def export_command(
    run: Run,
    out: Annotated[Path, typer.Option(help="The folder to write.", show_default=False)],
    recipe: Annotated[
        str | None, typer.Option(help="Digest of another final member than the winner.")
    ] = None,
    json: Json = False,
) -> None:
    """Write the winner as a checkpoint, with its recipe."""
    with clear_errors():
        checkpoint = export(run, out, recipe=recipe)
        if json:
            print_json({"run": str(run), "out": str(out), "digest": checkpoint.digest})
        else:
            words.print(f"{out}  {checkpoint!r}", soft_wrap=True, markup=False)


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Run directories; the first is what the others are compared with.")
    ],
    json: Json = False,
) -> None:
    """Compare runs; finished ones on the same test samples, pairwise with the first."""
    with clear_errors():
        summaries, comparisons = compare_runs(runs)
        if json:
            both = {
                "runs": [s.to_json() for s in summaries],
                "differences": [c.to_json() for c in comparisons],
            }
            print_json(both)
            return
        tables.print(_table(summaries))
        for c in comparisons:
            reason = "not comparable: unfinished, tested on other samples, or tasks weigh otherwise"
            found = reason if c.difference is None else with_interval(c.difference)
            tables.print(f"{c.run} − {c.other} on test: {found}", soft_wrap=True)


@app.command("report")
def report_command(
    run: Run,
    out: Annotated[Path | None, typer.Option(help="Where to write it.  [default: RUN/report.html]")] = None,
    json: Json = False,
) -> None:
    """Write the report of a run as one HTML file, finished or not."""
    with clear_errors():
        page = write_report(run, out)
        if json:
            print_json({"run": str(run), "report": str(page)})
        else:
            words.print(f"{page}", soft_wrap=True)


def _table(summaries: list[RunSummary]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("run", overflow="fold")
    for column in ("state", "task", "search"):
        table.add_column(column, overflow="ellipsis", no_wrap=True)
    for column in ("scored", "best", "valid.", "test", "coverage"):
        table.add_column(column, justify="right", no_wrap=True)
    for s in summaries:
        test = None if s.test is None else s.test.value
        mark = "" if s.estimate is None else "≈ "
        figures = (f"{mark}{percent(s.best)}", *(percent(v) for v in (s.validation, test, s.coverage)))
        table.add_row(s.run, s.state, s.task, s.method, f"{s.evaluations:,}", *figures)
    return table


def _facts(summary: RunSummary) -> Table:
    rests = "" if summary.estimate is None else f" ({summary.estimate})"
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    facts = {
        "run": summary.run,
        "state": summary.state,
        "task": summary.task,
        "search": summary.method,
        "from": summary.models,
        "seed": str(summary.seed),
        "created": summary.created,
        "evaluations": f"{summary.evaluations:,} in {summary.seconds:.1f} s",
        "sample evaluations": f"{summary.measured:,} of {summary.naive:,}{by_cause(summary.savings, summary.naive)}",
        "best search score": percent(summary.best) + rests,
        "validation": percent(summary.validation),
        "test (95 %)": with_interval(summary.test),
        "coverage": percent(summary.coverage),
    }
    if summary.hypervolume is not None:
        facts["hypervolume"] = percent(summary.hypervolume)
    for key, value in facts.items():
        table.add_row(key, value)
    return table


def _front(summary: RunSummary) -> Table:
    """The trade-offs that nobody beats; `runs export --recipe` writes one of them."""
    names = list(summary.front[0].search)
    table = Table(box=None, pad_edge=False, header_style="dim", title="front", title_justify="left")
    table.add_column("recipe", no_wrap=True)
    for name in names:
        for split in ("search", "valid."):
            table.add_column(f"{name}, {split}", justify="right")
    for member in summary.front:
        held_out = member.validation or {}
        pairs = ((percent(member.search[name]), percent(held_out.get(name))) for name in names)
        table.add_row(member.recipe[:12], *(figure for pair in pairs for figure in pair))
    return table
