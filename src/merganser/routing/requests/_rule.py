r"""The rule that decides: the expert of the highest utility, or nobody.

$$e^* = \arg\max_e\; \hat s_e - \lambda c_e, \qquad \text{abstain if } \max_e \hat s_e < \tau$$

with predicted scores $\hat s_e$, costs $c_e$, the price $\lambda$ of a unit of cost and the threshold $\tau$. Both can
be chosen on validation: the smallest price that keeps a mean cost, the smallest threshold that keeps a mean score of
what is answered.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

_FEWEST = 10  # answered samples that a threshold must rest on
_PRICES = 200


@dataclass(frozen=True, slots=True)
class Rule:
    """When to ask whom.

    Attributes:
        price: Score that one unit of cost must bring.
        threshold: Abstain where the best predicted score is below.
    """

    price: float = 0.0
    threshold: float = 0.0

    def utilities(
        self, predicted: Float[np.ndarray, "requests experts"], costs: Float[np.ndarray, " experts"]
    ) -> Float[np.ndarray, "requests experts"]:
        """What asking each is worth."""
        return predicted - self.price * costs

    def choose(
        self, predicted: Float[np.ndarray, "requests experts"], costs: Float[np.ndarray, " experts"]
    ) -> Int[np.ndarray, " requests"]:
        """Position of the expert that is asked first for each request; -1 where nobody is."""
        chosen = self.order(predicted, costs)[:, 0]
        return np.where(predicted.max(axis=1) < self.threshold, -1, chosen)

    def order(
        self, predicted: Float[np.ndarray, "requests experts"], costs: Float[np.ndarray, " experts"]
    ) -> Int[np.ndarray, "requests experts"]:
        """Experts by utility, the best first; of equals the cheaper."""
        utilities = self.utilities(predicted, costs)
        by_cost = np.argsort(costs, kind="stable")
        return by_cost[np.argsort(-utilities[:, by_cost], axis=1, kind="stable")]


@dataclass(frozen=True)
class Decision:
    """Who is asked about one request, and why.

    Attributes:
        predicted: Predicted score of each expert, by name.
        order: Experts that can take the request, the best first.
        abstained: Whether none is good enough.
        refused: Experts whose contract does not take the request, with the reason.
        explored: Whether the first was drawn, to learn about it.
    """

    predicted: dict[str, float]
    order: tuple[str, ...]
    abstained: bool = False
    refused: dict[str, str] = field(default_factory=dict)
    explored: bool = False


def price_within(
    budget: float,
    predicted: Float[np.ndarray, "requests experts"],
    costs: Float[np.ndarray, " experts"],
) -> tuple[float, float]:
    """The smallest price that keeps a mean cost, and the mean cost it leads to.

    If no price keeps it, because even the cheapest expert costs more, the cheapest is taken.
    """
    price, cost = 0.0, 0.0
    for price in map(float, prices(predicted, costs)):
        chosen = Rule(price).choose(predicted, costs)
        if (cost := float(costs[chosen].mean())) <= budget:
            break
    return price, cost


def prices(
    predicted: Float[np.ndarray, "requests experts"], costs: Float[np.ndarray, " experts"]
) -> Float[np.ndarray, " prices"]:
    """Prices at which decisions change, from 0 to one at which only cost counts; at most about 200."""
    dearer = costs[None, :] - costs[:, None]
    gain = predicted[:, None, :] - predicted[:, :, None]
    pairs = (dearer > 0) & (gain > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = np.unique((gain / dearer)[pairs])
    if len(at) > _PRICES:
        at = at[np.linspace(0, len(at) - 1, _PRICES).round().astype(int)]
    return np.concatenate([[0.0], at * (1 + 1e-9)])


def threshold_for(
    accuracy: float,
    predicted: Float[np.ndarray, "requests experts"],
    scores: Float[np.ndarray, " requests"],
) -> tuple[float, float]:
    """The smallest threshold with this mean score of what is answered, and the mean score it leads to.

    If none has it, that of the highest mean score among those that answer ten requests or more.

    Args:
        accuracy: Wanted mean score, in [0, 1].
        predicted: Predicted scores.
        scores: Score of the expert that is chosen for each request.
    """
    best = predicted.max(axis=1)
    found = []
    for threshold in (0.0, *np.unique(best)):
        answered = best >= threshold
        if answered.sum() < min(_FEWEST, len(best)):
            break
        found.append((float(scores[answered].mean()), -float(threshold)))
        if found[-1][0] >= accuracy:
            return float(threshold), found[-1][0]
    mean, threshold = max(found)
    return -threshold, mean
