"""A user's environments in processes of their own, where a step that never ends can be stopped.

The process is the worker of user's scorers; one serves one episode at a time and is kept for the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from merganser.evaluation.scorers import Stopped, Worker


class ElsewhereError(Exception):
    """The environment raised in its process, or its process ended."""


class StepTimeoutError(Exception):
    """A step took too long; its process has been ended."""


class Processes:
    """Makes environments of `module:function`, each in a process of its own.

    Args:
        reference: Module and function; the function returns an environment.
        seconds: Longest time of a step, and of making and resetting an environment.

    Raises:
        ConfigError: If there is no such module or function.
    """

    def __init__(self, reference: str, seconds: float) -> None:
        self._reference, self._seconds = reference, seconds
        self._idle = [self._hired()]

    def make(self) -> _Remote:
        """An environment in an idle process, or in a new one."""
        return _Remote(self._idle.pop() if self._idle else self._hired(), self._idle, self._seconds)

    def _hired(self) -> Worker:
        return Worker(self._reference, self._seconds, "environment")


class _Remote:
    """The environment in a worker, as this process sees it."""

    def __init__(self, worker: Worker, idle: list[Worker], seconds: float) -> None:
        self._worker, self._idle, self._seconds = worker, idle, seconds

    def reset(self, sample: Mapping[str, Any]) -> str:
        return self._ask("reset", dict(sample))

    def step(self, action: str) -> tuple[str, float, bool]:
        return self._ask("step", action)

    def close(self) -> None:
        self._idle.append(self._worker)

    def _ask(self, what: str, argument: object) -> Any:
        reply = self._worker.ask([what, argument])
        if isinstance(reply, Stopped):
            if reply.late:
                raise StepTimeoutError(f"the environment took longer than {self._seconds:g} s")
            raise ElsewhereError(f"the environment's process ended with code {reply.code}")
        if "error" in reply:
            raise ElsewhereError(f"the environment raised {reply['error']}")
        return reply["answer"]
