"""Progress of evaluations: a bar with rate and time left, on a terminal; silence elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from merganser.cli._output import words
from merganser.evaluation import Stage


@contextmanager
def stage_bar(*, quiet: bool) -> Iterator[Callable[[Stage], None] | None]:
    """A progress bar with rate and time left on a terminal; silence elsewhere."""
    if quiet or not words.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=words, transient=True) as bar:
        task = bar.add_task("reading", total=None, rate="")

        def watch(stage: Stage) -> None:
            speed = bar.tasks[0].speed
            rate = f"{speed:.1f} samples/s" if speed else ""
            bar.update(task, completed=stage.done, total=stage.total, description=stage.doing, rate=rate)

        yield watch
