"""What `merganser think train` says of trainings: while they go on, as tables, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from merganser.cli._output import percent, plain_table, tables
from merganser.cli._step_bar import step_bar
from merganser.thinking.training import (
    SeedTrained,
    ThinkingRow,
    ThinkingTrained,
    ThinkingTraining,
    spreads,
)


def show_training(trained: ThinkingTrained) -> None:
    """Print what came of a training."""
    numbers = ("accuracy", "all positions right", "ticks", "saved")
    table = plain_table("test", *numbers, right=numbers)
    halted = trained.halted
    table.add_row("all ticks", percent(trained.test), percent(trained.whole), f"{_ticks(trained)}", "")
    label = f"halted at a certainty of {halted.threshold}"
    if _ticks(trained) > 1:
        table.add_row(label, percent(halted.accuracy), "", f"{halted.ticks:.1f}", percent(halted.saved))
    tables.print(table)
    why = {
        "enough": "every validation sample is right",
        "steps": "all steps are taken",
        "seconds": "time is up",
    }
    tables.print(
        f"{trained.parameters:,} parameters trained in {trained.rows[-1].step} steps "
        f"({why[trained.stopped]}): {trained.path}",
        soft_wrap=True,
        markup=False,
    )


def facts_of(trained: ThinkingTrained) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "out": str(trained.folder),
        "path": str(trained.path),
        "parameters": trained.parameters,
        "steps": trained.rows[-1].step,
        "stopped": trained.stopped,
        "seconds": trained.rows[-1].seconds,
        "validation": trained.rows[-1].validation,
        "test": trained.test,
        "whole": trained.whole,
        "halted": trained.halted._asdict(),
    }


def show_seeds(seeds: Sequence[SeedTrained], out: Path) -> None:
    """Print what came of several seeds, with mean and spread."""
    numbers = ("accuracy", "all positions right", "halted at 0.8", "saved", "steps", "seconds")
    table, found = plain_table("seed", *numbers, right=numbers), spreads(seeds)
    for each in seeds:
        table.add_row(str(each.seed), *(["failed"] if each.figures is None else _cells(each.figures)))
    if found:
        table.add_row("mean", *_cells({name: each.mean for name, each in found.items()}))
        deviations = {name: each.deviation for name, each in found.items() if each.deviation is not None}
        if deviations:
            table.add_row("deviation", *_cells(deviations))
        for end in ("least", "most"):
            table.add_row(end, *_cells({name: getattr(each, end) for name, each in found.items()}))
    tables.print(table)
    for each in seeds:
        if each.failure is not None:
            tables.print(f"seed {each.seed} failed: {each.failure}", soft_wrap=True, markup=False)
    if found:
        tables.print(f"all seeds side by side: {out / 'report.html'}", soft_wrap=True, markup=False)


def facts_of_seeds(seeds: Sequence[SeedTrained], out: Path) -> dict[str, Any]:
    """The same as plain data, with what came of each seed."""
    each = [
        {"seed": one.seed, **({"failure": one.failure} if one.trained is None else facts_of(one.trained))}
        for one in seeds
    ]
    return {
        "out": str(out),
        "seeds": each,
        "spread": {name: found._asdict() for name, found in spreads(seeds).items()},
    }


def _cells(figures: Mapping[str, float]) -> list[str]:
    shares = [percent(figures[name]) for name in ("test", "whole", "halted", "saved")]
    return [*shares, f"{figures['steps']:.0f}", f"{figures['seconds']:.0f}"]


def _ticks(trained: ThinkingTrained) -> int:
    return len(trained.rows[-1].certainties or ())


@contextmanager
def watched(
    settings: ThinkingTraining, seeds: Sequence[int], *, quiet: bool
) -> Iterator[Callable[[int, ThinkingRow], None] | None]:
    """A progress bar over all seeds that says loss and validation."""
    with step_bar("training", settings.steps * len(seeds), quiet=quiet) as tell:
        looked: float | None = None

        def watch(seed: int, row: ThinkingRow) -> None:
            nonlocal looked
            looked = looked if row.validation is None else row.validation
            reached = said(row, looked) if len(seeds) == 1 else f"seed {seed}: {said(row, looked)}"
            assert tell is not None
            tell(seeds.index(seed) * settings.steps + row.step, reached)

        yield None if tell is None else watch


def said(row: ThinkingRow, looked: float | None) -> str:
    """What a step reached.

    Examples:
        >>> said(ThinkingRow(3, loss=0.25), 0.5)
        'loss 0.250, validation 50.0 %'
    """
    parts = [
        "" if row.loss is None else f"loss {row.loss:.3f}",
        "" if looked is None else f"validation {percent(looked)}",
    ]
    return ", ".join(filter(None, parts))
