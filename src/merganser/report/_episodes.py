"""The section of episodes to read: what the winner and its parents did about the same goals, side by side."""

from __future__ import annotations

from itertools import zip_longest

from merganser.report._html import Html, element, table
from merganser.report._run_info import RunInfo
from merganser.report._sections import Section, section
from merganser.report._words import count
from merganser.run import ToldEpisode, ToldGoal


def episodes_section(info: RunInfo) -> Section | None:
    """Episodes on test goals; None if the task has no turns, or none were kept."""
    if not info.episodes:
        return None
    words = (
        "Test goals on which winner and parents differ most, and what each did, action by action. These are examples, "
        "chosen for their difference: how good the models are is under Final test."
    )
    goals = [_goal(number, goal) for number, goal in enumerate(info.episodes, 1)]
    return section("episodes", "Episodes to read", element("p", words), *goals)


def _goal(number: int, goal: ToldGoal) -> Html:
    turns = zip_longest(*(_actions(episode) for episode in goal.episodes), fillvalue="")
    rows = [[count(step), *actions] for step, actions in enumerate(turns, 1)]
    scores = ["score", *(f"{episode.score:.2f}" for episode in goal.episodes)]
    reasons = ["why not 1", *(episode.reason for episode in goal.episodes)]
    head = ["step", *(episode.model for episode in goal.episodes)]
    return element(
        "div",
        element("h3", f"{number}. {goal.goal}"),
        table(head, [*rows, scores, reasons], numbers=False),
        *(_transcript(episode) for episode in goal.episodes),
    )


def _actions(episode: ToldEpisode) -> list[str]:
    return [action or "(nothing)" for _, action in episode.turns]


def _transcript(episode: ToldEpisode) -> Html:
    parts = [f"{shown}\n\n> {done}" for shown, done in episode.turns]
    return element(
        "details",
        element("summary", f"What {episode.model} saw and did"),
        element("pre", "\n\n".join([*parts, episode.last])),
    )
