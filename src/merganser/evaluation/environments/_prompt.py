r"""From a transcript to what the model reads: template or chat, and the window on long histories.

The latest observation is always read whole. Before it stand earlier turns: the first, because it says the goal, then
the most recent, newest first, as many as fit into the window. Only whole turns are left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from merganser._errors import ConfigError
from merganser.evaluation._prompt import Render
from merganser.evaluation._template import fill, names_in
from merganser.evaluation.environments._episode import Turn


@dataclass(frozen=True)
class EpisodePrompt:
    r"""How an episode under way is put.

    Attributes:
        template: How an observation is put, with `{observation}`.
        answer: How an earlier action follows it, with `{action}` and the blank it begins with.
        system: What the model is told first.
        chat: Use the model's chat template: observations are the user's turns, actions the model's.
        separator: What stands between turns, outside chat.
        window: Most characters of earlier observations and actions; 0 keeps none.

    Raises:
        ConfigError: If a template lacks its field.
        ValueError: If the window is negative.

    Examples:
        >>> prompt = EpisodePrompt(system="Find the key.")
        >>> print(prompt.text([Turn("A door.", "open it")], "It is locked."))
        Find the key.
        <BLANKLINE>
        A door.
        Action: open it
        <BLANKLINE>
        It is locked.
        Action:
    """

    template: str = "{observation}\nAction:"
    answer: str = " {action}"
    system: str | None = None
    chat: bool = False
    separator: str = "\n\n"
    window: int = 4000

    def __post_init__(self) -> None:
        for key, field in (("template", "observation"), ("answer", "action")):
            if field not in names_in(getattr(self, key)):
                raise ConfigError(
                    f"`{key}` of an environment must hold `{{{field}}}`: {getattr(self, key)!r}."
                )
        if self.window < 0:
            raise ValueError(f"A window is a number of characters, but is {self.window}. 0 keeps no turns.")

    def kept(self, turns: Sequence[Turn]) -> list[Turn]:
        """The earlier turns that fit into the window, in order.

        Examples:
            >>> turns = [Turn("goal", "a"), Turn("one", "b"), Turn("two", "c"), Turn("six", "d")]
            >>> [turn.action for turn in EpisodePrompt(window=13).kept(turns)]
            ['a', 'c', 'd']
        """
        by_worth = [*turns[:1], *reversed(turns[1:])]
        sizes = itertools.accumulate(len(turn.observation) + len(turn.action) for turn in by_worth)
        count = sum(size <= self.window for size in sizes)
        return [*turns[: min(count, 1)], *(turns[1 - count :] if count > 1 else [])]

    def text(self, turns: Sequence[Turn], observation: str, render: Render | None = None) -> str:
        """What the model reads before its next action.

        Args:
            turns: Earlier turns, as [`kept`][].
            observation: The latest one.
            render: Messages as one text, for chat: `TextModel.render`.

        Raises:
            ConfigError: If a template cannot be filled in.
            ValueError: If it is a chat and there is nothing to render it.
        """
        if self.chat:
            if render is None:
                raise ValueError(
                    "A chat needs `render`, the model's chat template. Give it, or `chat: false`."
                )
            return render(self._messages(turns, observation))
        system = [] if self.system is None else [self.system]
        parts = [self._shown(turn.observation) + self.acted(turn.action) for turn in turns]
        return self.separator.join([*system, *parts, self._shown(observation)])

    def acted(self, action: str) -> str:
        """How an action is put: with the blank it begins with, outside chat."""
        text = fill(self.answer, {"action": action})
        return text.strip() if self.chat else text

    def facts(self) -> list[object]:
        """Everything about it as plain data, for digests."""
        return [self.template, self.answer, self.system, self.chat, self.separator, self.window]

    def _messages(self, turns: Sequence[Turn], observation: str) -> list[dict[str, str]]:
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        earlier = [
            message
            for turn in turns
            for message in (
                {"role": "user", "content": self._shown(turn.observation)},
                {"role": "assistant", "content": self.acted(turn.action)},
            )
        ]
        return [*system, *earlier, {"role": "user", "content": self._shown(observation)}]

    def _shown(self, observation: str) -> str:
        return fill(self.template, {"observation": observation})


DEFAULT_PROMPT = EpisodePrompt()
