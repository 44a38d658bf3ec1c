"""What a run found, said at its end."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.table import Table

from merganser.cli._output import (
    STOPPED,
    by_cause,
    percent,
    plain_table,
    print_json,
    skills_table,
    with_interval,
    words,
)
from merganser.report import write_report
from merganser.run import Outcome


def conclude(outcome: Outcome, *, out: Path | None, report: bool, as_json: bool) -> None:
    """Say what a run found and how to go on; exit with 130 if it was stopped."""
    page = write_report(outcome.run) if report else None
    words.print(_table(outcome))
    skills = [*outcome.skills, *(watched.skill for watched in outcome.watched)]
    if skills:
        words.print(skills_table(skills))
    if outcome.estimate is not None:
        words.print(f"search scores and coverage: {outcome.estimate} or more", soft_wrap=True)
    words.print(_saved(outcome), soft_wrap=True)
    for warning in outcome.warnings:
        words.print(f"warning: {warning}", soft_wrap=True)
    if page is not None:
        words.print(f"report  {page}", soft_wrap=True)
    if out is not None and outcome.finished:
        words.print(f"winner  {out}", soft_wrap=True)
    if not outcome.finished:
        words.print(f"Stopped. To go on: merganser runs resume {outcome.run}", soft_wrap=True)
    if as_json:
        print_json({**outcome.to_json(), "report": None if page is None else str(page)})
    if not outcome.finished:
        raise typer.Exit(STOPPED)


def _table(outcome: Outcome) -> Table:
    figures = ("search", "validation", "test (95 %)")
    table = plain_table("", *figures, right=figures)
    for scores in (outcome.winner, outcome.untuned, *outcome.baselines, *outcome.parents):
        if scores is not None:
            style = "bold" if scores is outcome.winner else ""
            cells = (percent(scores.search), percent(scores.validation), with_interval(scores.test))
            table.add_row(scores.name, *cells, style=style)
    return table


def _saved(outcome: Outcome) -> str:
    total = outcome.samples_saved + outcome.samples_measured
    parts = [f"{outcome.evaluations:,} evaluations in {outcome.seconds:.1f} s"]
    if total:
        saved = f"{percent(outcome.samples_saved / total)} of sample evaluations saved"
        parts.append(saved + by_cause(outcome.savings, total))
    parts.append(f"coverage {percent(outcome.coverage)}")
    if outcome.front:
        parts.append(f"front of {len(outcome.front)}")
    if outcome.gain is not None:
        parts.append(f"gain over the best parent on test {with_interval(outcome.gain)}")
    if outcome.failures:
        parts.append(f"{outcome.failures:,} candidates failed")
    return " · ".join(parts)
