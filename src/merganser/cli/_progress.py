"""Progress of a run: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

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
        self._pause, self._last = _FIRST_LINE_SECONDS, time.monotonic()
        self._first: tuple[int, float] | None = None
        self._bar = (
            Progress(
                TextColumn("{task.fields[what]}"),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeRemainingColumn(compact=True),
                console=words,
                transient=True,
            )
            if words.is_terminal and not quiet
            else None
        )
        self._task = self._bar.add_task("", total=1.0, what="children", figures="") if self._bar else None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, evolution: Evolution) -> None:
        """Show how far the run is."""
        if self._quiet:
            return
        if self._first is None:
            self._first = (evolution.evaluations, time.monotonic())
        if self._bar is not None and self._task is not None:
            what, figures = f"{evolution.evaluations:,} children", self._figures(evolution)
            self._bar.update(self._task, completed=fraction_done(evolution), what=what, figures=figures)
        elif time.monotonic() - self._last >= self._pause or evolution.done:
            words.print(self._line(evolution), soft_wrap=True)
            self._last = time.monotonic()
            self._pause = min(self._pause * _LINE_GROWTH, _LONGEST_PAUSE_SECONDS)

    def _rate(self, evolution: Evolution) -> float:
        assert self._first is not None
        count, since = self._first
        return (evolution.evaluations - count) / max(time.monotonic() - since, 1e-9)

    def _figures(self, evolution: Evolution) -> str:
        point = evolution.point
        parts = []
        if point is not None:
            parts.append(f"best {percent(point.best)}")
            if point.validation is not None:
                parts.append(f"validation {percent(point.validation)}")
            parts.append(f"coverage {percent(point.coverage)}")
        parts.append(f"{self._rate(evolution):,.0f} evaluations/s")
        return " · ".join(parts)

    def _line(self, evolution: Evolution) -> str:
        done = fraction_done(evolution)
        line = f"{evolution.evaluations:,} children ({percent(done)}) · {self._figures(evolution)}"
        if 0 < done < 1:
            line += f" · {evolution.seconds * (1 - done) / done:.0f} s left"
        return line


def fraction_done(evolution: Evolution) -> float:
    """How much of the budget is spent, in [0, 1]."""
    budget = evolution.plan.settings.budget
    parts = [0.0]
    if budget.evaluations is not None:
        parts.append(evolution.evaluations / budget.evaluations)
    if budget.seconds is not None:
        parts.append(evolution.seconds / budget.seconds)
    return min(1.0, max(parts))
