"""Progress of a run: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from merganser.cli._output import percent, words
from merganser.run import Evolution

_FIRST_LINE_SECONDS = 2.0
_LINE_GROWTH = 1.5
_LONGEST_PAUSE_SECONDS = 60.0


class Watch:
    """Shows a run while it goes on; call it with the run, as often as you like.

    Args:
        quiet: Show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._noted = False
        self._pause, self._last, self._shown = _FIRST_LINE_SECONDS, time.monotonic(), -1
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=words,
        )
        self._task = self._bar.add_task("children", total=1.0)
        self._figures = Text(style="dim")
        shown = words.is_terminal and not quiet
        self._live = Live(Group(self._bar, self._figures), console=words, transient=True) if shown else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, evolution: Evolution) -> None:
        """Show how far the run is; the first time also what is worth knowing about it."""
        if not self._quiet and not self._noted:
            for note in evolution.plan.notes:
                words.print(f"note: {note}", soft_wrap=True)
        self._noted = True
        if self._live is not None:
            description = f"{evolution.evaluations:,} children"
            self._bar.update(self._task, completed=fraction_done(evolution), description=description)
            self._figures.plain = figures(evolution)
            self._live.refresh()
        elif not self._quiet and self._line_due(evolution):
            self._shown = evolution.evaluations
            words.print(line(evolution), soft_wrap=True)
            self._last = time.monotonic()
            self._pause = min(self._pause * _LINE_GROWTH, _LONGEST_PAUSE_SECONDS)

    def _line_due(self, evolution: Evolution) -> bool:
        if evolution.evaluations == self._shown:
            return False
        return evolution.done or time.monotonic() - self._last >= self._pause


def figures(evolution: Evolution) -> str:
    """What the run has reached, and how fast it goes."""
    point, parts = evolution.point, []
    if point is not None:
        rests = "" if evolution.estimate is None else f" ({evolution.estimate})"
        parts.append(f"best {percent(point.best)}{rests}")
        if point.validation is not None:
            parts.append(f"validation {percent(point.validation)}")
        parts.append(f"coverage {percent(point.coverage)}")
    parts.append(f"{evolution.evaluations / max(evolution.seconds, 1e-9):,.0f} evaluations/s")
    return " · ".join(parts)


def line(evolution: Evolution) -> str:
    """Everything on one line, where there is no terminal."""
    done = fraction_done(evolution)
    words = f"{evolution.evaluations:,} children ({percent(done)}) · {figures(evolution)}"
    if 0 < done < 1:
        words += f" · {evolution.seconds * (1 - done) / done:.0f} s left"
    return words


def fraction_done(evolution: Evolution) -> float:
    """How much of the budget is spent, in [0, 1]."""
    budget = evolution.plan.settings.budget
    parts = [0.0]
    if budget.evaluations is not None:
        parts.append(evolution.evaluations / budget.evaluations)
    if budget.seconds is not None:
        parts.append(evolution.seconds / budget.seconds)
    return min(1.0, max(parts))
