"""Progress of a training: a bar with rate and time left, on a terminal; silence elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from merganser.cli._output import words


@contextmanager
def step_bar(doing: str, steps: int, *, quiet: bool) -> Iterator[Callable[[int, str], None] | None]:
    """What a training tells after each step: how many are done, and what they reached.

    Args:
        doing: What is done.
        steps: Most steps.
        quiet: Show nothing.
    """
    if quiet or not words.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[said]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=words, transient=True) as bar:
        task = bar.add_task(doing, total=steps, said="")

        def watch(step: int, reached: str) -> None:
            bar.update(task, completed=step, said=with_rate(reached, bar.tasks[0].speed))

        yield watch


def with_rate(reached: str, speed: float | None) -> str:
    """What steps reached, after how many there are in a second.

    Examples:
        >>> with_rate("loss 0.250", 2.0), with_rate("loss 0.250", None), with_rate("", 2.0)
        ('2.0 steps/s, loss 0.250', 'loss 0.250', '2.0 steps/s')
    """
    return ", ".join(filter(None, (f"{speed:.1f} steps/s" if speed else "", reached)))
