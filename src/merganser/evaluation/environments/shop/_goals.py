r"""What is wanted, in words and as facts, and how good a purchase is.

$$r = r_\text{type} \cdot \frac{|U_\text{att} \cap Y_\text{att}| + |U_\text{opt} \cap Y_\text{opt}| +
\mathbf 1[y_\text{price} \le u_\text{price}]}{|U_\text{att}| + |U_\text{opt}| + 1}$$

with $U$ what is wanted and $Y$ what was bought, its chosen options included. WebShop guesses $r_\text{type}$ from
search terms, categories and nouns of the titles, and matches attributes and options approximately; here all of them are
known: $r_\text{type}$ is 1 for the type, 0.5 for another type of the same category, else 0.

References:
    Yao et al., *WebShop: Towards Scalable Real-World Web Interaction with Grounded Language Agents*, NeurIPS 2022,
    https://arxiv.org/abs/2207.01206
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from merganser._errors import TaskError
from merganser.evaluation._question import Question
from merganser.evaluation.environments.shop._catalogue import Catalogue, Product
from merganser.evaluation.environments.shop._lots import lot, one, some

_FIELD = "goal"
_OTHER_TYPE = 0.5

_WORDINGS = (
    "i need {attributes} {type}, {options}, and price lower than {limit} dollars",
    "looking for {type}, {attributes}, {options}, priced under {limit} dollars",
    "find me {type} with these features: {attributes}. i take the {options} and pay less than {limit} dollars",
    "i want to buy {attributes} {type}. i want the {options} for under {limit} dollars",
    "my sister would like {type} ({attributes}), {options} please, below {limit} dollars",
    "can you get me some {attributes} {type}? {options}, no more than {limit} dollars",
)


@dataclass(frozen=True, slots=True)
class Goal:
    """What somebody wants to buy.

    Attributes:
        text: How they say it.
        category: Category of what is wanted.
        type: What is wanted.
        attributes: What it must be like.
        options: What must be chosen: value by name.
        limit: Highest price, in dollars.
    """

    text: str
    category: str
    type: str
    attributes: tuple[str, ...]
    options: Mapping[str, str]
    limit: int

    @classmethod
    def of(cls, sample: Mapping[str, Any]) -> Goal:
        """The goal of a sample, as `Goal.question` makes it.

        Raises:
            TaskError: If it is not one of the shop's.
        """
        try:
            facts = json.loads(sample["fields"][_FIELD])
            return cls(sample["question"], **{**facts, "attributes": tuple(facts["attributes"])})
        except (KeyError, TypeError, ValueError) as error:
            raise TaskError(f"Expected a goal of the shop, but found {sample!r:.80}: {error}.") from error

    def question(self) -> Question:
        """The goal as a sample; its facts are in `fields`."""
        facts = {
            "category": self.category,
            "type": self.type,
            "attributes": self.attributes,
            "options": dict(self.options),
            "limit": self.limit,
        }
        return Question(self.text, fields={_FIELD: json.dumps(facts)})


@dataclass(frozen=True, slots=True)
class Purchase:
    """How good a purchase is.

    Attributes:
        type: 1, 0.5 or 0.
        attributes: How many of those wanted it has.
        options: How many of those wanted were chosen.
        in_budget: Whether it costs no more than the limit.
        reward: All of it together, in [0, 1].
    """

    type: float
    attributes: int
    options: int
    in_budget: bool
    reward: float


def judge(goal: Goal, product: Product, chosen: Mapping[str, str]) -> Purchase:
    """How good it is to buy a product with these options for this goal.

    Args:
        goal: What is wanted.
        product: What was bought.
        chosen: Chosen options, value by name.
    """
    kind = 1.0 if product.type == goal.type else _OTHER_TYPE if product.category == goal.category else 0.0
    attributes = len(set(goal.attributes) & set(product.attributes))
    options = len(goal.options.items() & chosen.items())
    in_budget = product.price <= 100 * goal.limit
    matched, wanted = attributes + options + in_budget, len(goal.attributes) + len(goal.options) + 1
    return Purchase(kind, attributes, options, in_budget, kind * matched / wanted)


def goals(found: Catalogue, seed: int, count: int) -> tuple[Goal, ...]:
    """Goals made from products with an even number, each product at most once.

    Args:
        found: The products.
        seed: Another seed makes others.
        count: How many; at most half of the products.

    Raises:
        TaskError: If there are not enough products.
    """
    even = found.products[::2]
    if not 0 < count <= len(even):
        raise TaskError(
            f"Goals are made from every second product, so of {len(found.products)} products come 1 to {len(even)} "
            f"goals, but `goals` is {count}. Give more products."
        )
    targets = some(range(len(even)), count, "goals", seed)
    return tuple(_goal(even[i], "goal", seed, i) for i in targets)


def practice_goals(found: Catalogue, seed: int, count: int) -> tuple[Goal, ...]:
    """Goals for demonstrations, made from products with an odd number; as many as wanted."""
    odd = found.products[1::2]
    return tuple(_goal(one(odd, "practice", seed, i), "practice", seed, i) for i in range(count))


def _goal(product: Product, *key: object) -> Goal:
    attributes = some(product.attributes, 2 + lot(2, *key, "attributes"), *key, "attributes")
    wanted = some(product.options, 1 + lot(2, *key, "options"), *key, "options")
    options = {name: one(product.options[name], *key, name) for name in wanted}
    limit = 10 * (product.price // 1000 + 1 + lot(3, *key, "limit"))
    text = one(_WORDINGS, *key, "wording").format(
        attributes=", ".join(attributes),
        type=product.type,
        options=" and ".join(f"{value} {name}" for name, value in options.items()),
        limit=limit,
    )
    return Goal(text, product.category, product.type, attributes, options, limit)
