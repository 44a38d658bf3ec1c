"""What an environment is: it shows an observation, takes an action, and says how much of the goal is reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Environment(Protocol):
    """A world for one episode at a time. If it has `close()`, that is called after the episode."""

    def reset(self, sample: Mapping[str, Any]) -> str:
        """Begin an episode.

        Args:
            sample: The goal as plain data: `question` (its text), `answers` and `fields` (further columns).

        Returns:
            The first observation; it should say the goal.
        """
        ...

    def step(self, action: str) -> tuple[str, float, bool]:
        """Carry out an action, which may be any text.

        Returns:
            The next observation; how much of the goal has been reached, in [0, 1]; whether the episode is over.
        """
        ...


@dataclass(frozen=True, slots=True)
class EnvironmentSource:
    """Makes environments of one kind.

    Attributes:
        identity: Equal identities give equal episodes: name, version and settings. Part of a task's digest.
        make: Makes an environment for one episode.
    """

    identity: str
    make: Callable[[], Environment]
