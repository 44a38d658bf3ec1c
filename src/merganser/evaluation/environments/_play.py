"""The loop: episodes side by side, a round of actions for all that go on, a step for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from merganser.evaluation.environments._environment import Environment, EnvironmentSource
from merganser.evaluation.environments._episode import Ending, Episode, Turn
from merganser.evaluation.environments._own_process import ElsewhereError, StepTimeoutError


class Seat:
    """An episode under way, with the environment it plays in.

    Whatever the environment does wrong ends this episode with a reward of 0.

    Args:
        source: Makes the environment.
        sample: The goal, as `Environment.reset` takes it.
        steps: Most actions.
    """

    def __init__(self, source: EnvironmentSource, sample: Mapping[str, Any], steps: int) -> None:
        self.turns: list[Turn] = []
        self.observation = ""
        self.episode: Episode | None = None
        self.environment: Environment | None = None
        self._steps, self._reward = steps, 0.0
        try:
            self.environment = source.make()
            self.observation = _checked_text(self.environment.reset(sample))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - costs the episode, whatever it is
            self._fail(error)

    def act(self, action: str) -> None:
        """Carry out an action."""
        assert self.environment is not None
        self.turns.append(Turn(self.observation, action))
        try:
            self.observation, self._reward, done = _checked(self.environment.step(action))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - costs the episode, whatever it is
            self._fail(error)
            return
        if done:
            self.end("done")
        elif len(self.turns) >= self._steps:
            self.end("steps")

    def end(self, why: Ending, note: str = "") -> None:
        """End the episode."""
        self.episode = Episode(tuple(self.turns), self.observation, self._reward, why, note)
        close = getattr(self.environment, "close", None)
        self.environment = None
        if close is not None:
            with suppress(Exception, SystemExit):  # the episode has its reward already
                close()

    def _fail(self, error: BaseException) -> None:
        self.observation, self._reward = "", 0.0
        if isinstance(error, StepTimeoutError):
            self.end("seconds", str(error))
        elif isinstance(error, ElsewhereError | _NoAnswerError):
            self.end("raised", str(error))
        else:
            self.end("raised", f"the environment raised {type(error).__name__}: {error}")


def play(seats: Sequence[Seat], choose: Callable[[list[Seat]], Sequence[str | None]]) -> list[Episode]:
    """Play episodes to their ends.

    Args:
        seats: Episodes that have begun.
        choose: The next action of each episode that goes on; None ends it for want of tokens.

    Returns:
        The episodes, in the order of the seats.
    """
    while going := [seat for seat in seats if seat.episode is None]:
        for seat, action in zip(going, choose(going), strict=True):
            if action is None:
                seat.end("tokens")
            else:
                seat.act(action)
    return [seat.episode for seat in seats if seat.episode is not None]


class _NoAnswerError(Exception):
    """An environment answered with what is no observation, reward and end."""


def _checked_text(observation: object) -> str:
    if not isinstance(observation, str):
        raise _NoAnswerError(f"the environment showed {_kind(observation)}, not a text")
    return observation


def _checked(answer: Any) -> tuple[str, float, bool]:
    if not isinstance(answer, tuple | list) or len(answer) != 3:
        raise _NoAnswerError(
            f"the environment answered with {_kind(answer)}, not (observation, reward, done)"
        )
    observation, reward, done = answer
    try:
        value = float(reward)
    except (TypeError, ValueError) as error:
        raise _NoAnswerError(
            f"the environment gave {_kind(reward)} as reward, not a number in [0, 1]"
        ) from error
    if not 0 <= value <= 1:
        raise _NoAnswerError(f"the environment gave a reward of {value:g}, not a number in [0, 1]")
    return _checked_text(observation), value, bool(done)


def _kind(value: object) -> str:
    size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return f"{type(value).__name__}{size}"
