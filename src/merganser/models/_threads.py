"""On how many threads a model runs: below some size, starting and joining threads costs more than they save."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from merganser.merging import default_workers
from merganser.weights import single_threaded

_THREADED = 1 << 24
"""Parameters from which on a model runs on several threads."""


def threads_for(parameters: int) -> int:
    """Threads that pay for a model of so many parameters: one, or one for each processor."""
    return default_workers() if parameters >= _THREADED else 1


@contextmanager
def fitting_threads(parameters: int) -> Iterator[None]:
    """Run a small model on one thread; a large one on as many as it has been given."""
    if parameters >= _THREADED:
        yield
    else:
        with single_threaded():
            yield
