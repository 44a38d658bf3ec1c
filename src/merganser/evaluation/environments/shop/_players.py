"""Players that see the shop itself: one who always gets what is wanted, one who clicks at random; demonstrations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from merganser.evaluation._prompt import Render
from merganser.evaluation.environments._environment import EnvironmentSource
from merganser.evaluation.environments._episode import Episode
from merganser.evaluation.environments._play import Seat, play
from merganser.evaluation.environments._prompt import EpisodePrompt
from merganser.evaluation.environments.shop._catalogue import Catalogue, Product, catalogue
from merganser.evaluation.environments.shop._goals import Goal, judge, practice_goals
from merganser.evaluation.environments.shop._lots import one
from merganser.evaluation.environments.shop._shop import BACK, BUY, NEXT, Shop

Player = Callable[[Shop], str]
"""Chooses an action for the page that the shop shows."""

STEPS = 8
"""Most actions of an episode in the shop, unless said otherwise."""

SHOP_PROMPT = EpisodePrompt(
    system="You are shopping. Answer every page with one action: search[words] on the search page, or click[text] "
    "with a text in brackets. Find what the instruction asks for, choose its options, and click[Buy Now].",
    window=1000,
)
"""How the shop is put to a model, unless said otherwise."""


class Demonstration(NamedTuple):
    """One action of the oracle.

    Attributes:
        prompt: What a model would read.
        action: What the oracle does, with the blank it begins with outside chat.
    """

    prompt: str
    action: str


def oracle(shop: Shop) -> str:
    """Searches with the words of the goal, takes the first product that fulfils it, chooses the options, and buys."""
    goal = shop.goal
    if shop.page == "search":
        return f"search[{' '.join([*goal.attributes, goal.type, *goal.options.values()])}]"
    if shop.product is None:
        fitting = next((product.id for product in shop.listed if _fulfils(product, goal)), None)
        return f"click[{fitting or (NEXT if NEXT in shop.clickable else BACK)}]"
    missing = (value for name, value in goal.options.items() if shop.chosen.get(name) != value)
    return f"click[{next(missing, BUY)}]"


def random_player(seed: int) -> Player:
    """Searches for one word of the goal and then clicks anything, each time drawn by the goal and what was done.

    Args:
        seed: Another seed plays otherwise.
    """
    done: dict[str, int] = {}

    def choose(shop: Shop) -> str:
        done[shop.goal.text] = turn = done.get(shop.goal.text, 0) + 1
        key = ("random player", seed, shop.goal.text, turn)
        if shop.page == "search":
            return f"search[{one(shop.goal.text.split(), *key)}]"
        return f"click[{one(shop.clickable, *key)}]"

    return choose


def visit(found: Catalogue, goals: Iterable[Goal], player: Player, *, steps: int = STEPS) -> list[Episode]:
    """Episodes of a player.

    Args:
        found: What the shop sells.
        goals: What is wanted, an episode each.
        player: Who plays.
        steps: Most actions of an episode.
    """
    source = EnvironmentSource("shop", lambda: Shop(found))

    def choose(seats: list[Seat]) -> list[str]:
        return [player(seat.environment) for seat in seats if isinstance(seat.environment, Shop)]

    return play([Seat(source, goal.question().facts(), steps) for goal in goals], choose)


def demonstrations(
    seed: int,
    count: int,
    *,
    found: Catalogue | None = None,
    prompt: EpisodePrompt = SHOP_PROMPT,
    render: Render | None = None,
) -> list[Demonstration]:
    """What the oracle does in episodes of its own, to train models on: no goal of a task is made from their products.

    Args:
        seed: Another seed plays other episodes.
        count: How many episodes.
        found: The products; by themselves those of the task `shop`.
        prompt: How the shop is put.
        render: Messages as one text, for chat.

    Examples:
        >>> demonstrations(0, 1)[0].action
        ' search[lightweight breathable yoga pants x-small white]'
    """
    found = found or catalogue()
    return [
        Demonstration(
            prompt.text(prompt.kept(episode.turns[:i]), turn.observation, render), prompt.acted(turn.action)
        )
        for episode in visit(found, practice_goals(found, seed, count), oracle)
        for i, turn in enumerate(episode.turns)
    ]


def _fulfils(product: Product, goal: Goal) -> bool:
    offered = {name: value for name, value in goal.options.items() if value in product.options.get(name, ())}
    return judge(goal, product, offered).reward == 1
