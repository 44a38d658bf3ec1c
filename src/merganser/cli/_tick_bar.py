"""Progress of comparisons: a bar with rate and time left for each part, on a terminal; silence elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from merganser.cli._output import words
from merganser.comparison import Tick


@contextmanager
def tick_bar(*, quiet: bool) -> Iterator[Callable[[Tick], None] | None]:
    """What a comparison tells how far it is.

    Args:
        quiet: Show nothing.
    """
    if quiet or not words.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=words, transient=True) as bar:
        task = bar.add_task("reading headers", total=None, amount="")
        unit = ""

        def watch(tick: Tick) -> None:
            nonlocal unit
            if tick.unit != unit:  # another part of the work, with a speed of its own
                unit = tick.unit
                bar.reset(task)
            amount = said(tick, bar.tasks[0].speed)
            bar.update(task, completed=tick.done, total=tick.total, description=tick.doing, amount=amount)

        yield watch


def said(tick: Tick, speed: float | None) -> str:
    """How much is done of how much, and how fast it goes.

    Examples:
        >>> said(Tick("running one", 1200, 4800, "texts"), 12.34)
        '1,200/4,800 texts, 12.3 texts/s'
        >>> said(Tick("reading weights", 10**9, 2 * 10**9, "bytes"), None)
        '1.0 GB/2.0 GB'
    """
    if tick.unit == "bytes":
        amount = f"{decimal(tick.done)}/{decimal(tick.total)}"
        return f"{amount}, {decimal(int(speed))}/s" if speed else amount
    amount = f"{tick.done:,}/{tick.total:,} {tick.unit}"
    return f"{amount}, {speed:.1f} {tick.unit}/s" if speed else amount
