"""An episode as a value: what was read and done, what it was worth, and why it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Ending = Literal["done", "steps", "tokens", "raised", "seconds"]


class Turn(NamedTuple):
    """One turn.

    Attributes:
        observation: What was shown.
        action: What was done about it.
    """

    observation: str
    action: str


@dataclass(frozen=True, slots=True)
class Episode:
    """The transcript of an episode.

    Attributes:
        turns: What was shown and done, in order.
        last: What was shown after the last action; empty if the environment failed.
        reward: Of the last step, in [0, 1]; 0 if the environment failed.
        ended: The environment said `done`; the limit of `steps`; no place for another action in the model's context
            (`tokens`); the environment `raised`; or a step took too many `seconds`.
        note: What went wrong, if something did.
    """

    turns: tuple[Turn, ...]
    last: str
    reward: float
    ended: Ending
    note: str = ""

    @property
    def reason(self) -> str:
        """Why the reward is not 1; empty where it is."""
        if self.reward == 1:
            return ""
        count = len(self.turns)
        return {
            "done": f"ended after {count} steps with a reward of {self.reward:.3g}",
            "steps": f"not done after {count} steps",
            "tokens": f"after {count} steps the model's context had no place for another action",
        }.get(self.ended, self.note)

    def facts(self) -> dict[str, Any]:
        """The transcript as plain data."""
        return {
            "ended": self.ended,
            "turns": [turn._asdict() for turn in self.turns],
            "last": self.last,
        }
