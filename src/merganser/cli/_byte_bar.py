"""Progress of what reads and writes tensors: a bar on a terminal, silence elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from merganser.cli._output import words
from merganser.merging import Progress as Step


@contextmanager
def byte_bar(*, quiet: bool) -> Iterator[Any]:
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
