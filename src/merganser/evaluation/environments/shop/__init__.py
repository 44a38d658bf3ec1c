"""The reference environment: a shop in text, with products, search, goals and reward of our own.

| names | what |
| --- | --- |
| [`catalogue`][], [`Catalogue`][], [`Product`][] | what is sold |
| [`goals`][], [`practice_goals`][], [`Goal`][] | what is wanted: of tasks, and of demonstrations |
| [`judge`][], [`Purchase`][] | how good a purchase is |
| [`Shop`][], [`SHOP_PROMPT`][], [`STEPS`][] | the environment, and how it is put to a model |
| [`oracle`][], [`random_player`][], [`Player`][], [`visit`][] | the best and the floor |
| [`demonstrations`][], [`Demonstration`][] | what to train on |
"""

from merganser.evaluation.environments.shop._catalogue import Catalogue, Product, catalogue
from merganser.evaluation.environments.shop._goals import Goal, Purchase, goals, judge, practice_goals
from merganser.evaluation.environments.shop._players import (
    SHOP_PROMPT,
    STEPS,
    Demonstration,
    Player,
    demonstrations,
    oracle,
    random_player,
    visit,
)
from merganser.evaluation.environments.shop._shop import Shop

__all__ = [
    "SHOP_PROMPT",
    "STEPS",
    "Catalogue",
    "Demonstration",
    "Goal",
    "Player",
    "Product",
    "Purchase",
    "Shop",
    "catalogue",
    "demonstrations",
    "goals",
    "judge",
    "oracle",
    "practice_goals",
    "random_player",
    "visit",
]
