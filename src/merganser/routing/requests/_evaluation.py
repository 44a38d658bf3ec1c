r"""How good a router is: beside every expert, chance, and an oracle that always knows who is best.

On sample $j$ the router scores $r_j$, the best single expert $b_j$ and the oracle $o_j = \max_e s_{ej}$:

$$\text{gain captured} = \frac{\bar r - \bar b}{\bar o - \bar b}$$

The best single expert is the best on these same samples, which flatters it: the comparison is the harder one. What the
router scores is computed from the scores of all experts, as a dispatcher would go: an expert that did not keep its
contract is followed by the next.

References:
    McNemar, *Note on the sampling error of the difference between correlated proportions*, Psychometrika 12, 1947.
    Efron, Tibshirani, *An Introduction to the Bootstrap*, 1993.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from merganser._errors import TaskError
from merganser.evaluation import Interval, difference_interval, mean_interval
from merganser.routing.requests._calibration import Calibration, calibration_of
from merganser.routing.requests._data import RoutingData
from merganser.routing.requests._router import RequestRouter
from merganser.routing.requests._rule import Rule, prices

_RESAMPLES = 2_000
_MOST_POINTS = 40


class Standing(NamedTuple):
    """One way to answer all requests.

    Attributes:
        name: What people call it.
        score: Mean score with its 95 % interval.
        cost: Mean cost of a request.
    """

    name: str
    score: Interval
    cost: float


class Point(NamedTuple):
    """The router at another price.

    Attributes:
        price: Score that one unit of cost must bring.
        score: Mean score.
        cost: Mean cost of a request.
    """

    price: float
    score: float
    cost: float


@dataclass(frozen=True)
class RouterEvaluation:
    """A router on samples that it has not seen.

    Attributes:
        samples: How many.
        router: As it is dispatched: with the next expert where one did not keep its contract, and the fallback.
        first: Its first choice alone.
        experts: Each expert for all requests.
        chance: An expert at random.
        oracle: The best expert of each sample.
        best: Name of the best single expert.
        gain: Router over the best single expert, paired.
        captured: Share of the oracle's gain over the best single expert; None if the oracle gains nothing.
        abstained: Share of requests that only the fallback was asked.
        chosen: Share of requests that each expert was asked first.
        calibration: Predicted against observed scores, all experts together.
        by_expert: The same for each expert.
        by_task: For each task the scores of router, best single expert and oracle.
        curve: Score against cost as the price rises; empty where nothing costs anything.
    """

    samples: int
    router: Standing
    first: Standing
    experts: tuple[Standing, ...]
    chance: Standing
    oracle: Standing
    best: str
    gain: Interval
    captured: Interval | None
    abstained: float
    chosen: dict[str, float]
    calibration: Calibration
    by_expert: dict[str, Calibration]
    by_task: dict[str, tuple[float, float, float]]
    curve: tuple[Point, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "samples": self.samples,
            **{name: _standing(getattr(self, name)) for name in ("router", "first", "chance", "oracle")},
            "experts": [_standing(each) for each in self.experts],
            "best": self.best,
            "gain": self.gain._asdict(),
            "captured": self.captured and self.captured._asdict(),
            "abstained": self.abstained,
            "chosen": self.chosen,
            "calibration": _curve(self.calibration),
            "calibration_by_expert": {name: _curve(each) for name, each in self.by_expert.items()},
            "by_task": {
                name: dict(zip(("router", "best", "oracle"), each, strict=True))
                for name, each in self.by_task.items()
            },
            "curve": [point._asdict() for point in self.curve],
        }


class RouterComparison(NamedTuple):
    """Two routers on the same samples.

    Attributes:
        before: Mean score of the first.
        after: Mean score of the second.
        difference: Second minus first, paired, with its 95 % interval.
        better: Samples on which the second scores more.
        worse: Samples on which it scores less.
        p: Of the exact sign test (McNemar's, where scores are 0 and 1): how often chance alone is this uneven.
    """

    before: Interval
    after: Interval
    difference: Interval
    better: int
    worse: int
    p: float


class _Way(NamedTuple):
    """What became of every request."""

    scores: Float[np.ndarray, " samples"]
    costs: Float[np.ndarray, " samples"]


def evaluate_router(
    router: RequestRouter, data: RoutingData, *, fallback: Sequence[str] = (), most_experts: int = 3
) -> RouterEvaluation:
    """Score a router on samples.

    Args:
        router: The router.
        data: Who solves what; samples on which some expert was not measured are left out.
        fallback: Who is asked where the router abstains or nobody answers; without any such a request scores 0.
        most_experts: How many are asked before the fallback.

    Raises:
        TaskError: If no sample is left, or one is of those that the router was fitted on.
        ValueError: If the fallback names no expert.
    """
    data = _fresh(router, data)
    predicted, scores, costs = router.predict(data.texts), data.matrix.scores, router.costs
    way = _dispatched(router, data, predicted, fallback, most_experts)
    choice = router.rule.choose(predicted, costs)
    first = _first(choice, scores, costs, _places(router, fallback))
    best = int(np.argmax(scores.mean(axis=1)))
    oracle = scores.max(axis=0)
    cheapest = np.where(scores == oracle, costs[:, None], np.inf).min(axis=0)
    known = zip(router.experts, scores, costs, strict=True)
    names = np.array(data.tasks)
    return RouterEvaluation(
        len(data),
        _stands("router", way),
        _stands("first choice alone", first),
        tuple(_stands(name, _Way(row, np.full(len(data), cost))) for name, row, cost in known),
        _stands("at random", _Way(scores.mean(axis=0), np.full(len(data), costs.mean()))),
        _stands("oracle", _Way(oracle, cheapest)),
        router.experts[best],
        difference_interval(way.scores, scores[best]),
        captured_gain(way.scores, scores[best], oracle),
        float((choice < 0).mean()),
        {name: float((choice == e).mean()) for e, name in enumerate(router.experts)},
        calibration_of(predicted.T.ravel(), scores.ravel()),
        {name: calibration_of(predicted[:, e], scores[e]) for e, name in enumerate(router.experts)},
        {str(name): _means(names == name, way.scores, scores[best], oracle) for name in np.unique(names)},
        _curve_of(router, data, predicted, fallback, most_experts),
    )


def compare_routers(
    before: RequestRouter,
    after: RequestRouter,
    data: RoutingData,
    *,
    fallback: Sequence[str] = (),
    most_experts: int = 3,
) -> RouterComparison:
    """Whether one router is better than another, on the same samples.

    Args:
        before: The one.
        after: The other, of the same experts.
        data: Who solves what; see `evaluate_router`.
        fallback: Who is asked where a router abstains.
        most_experts: How many are asked before the fallback.

    Raises:
        TaskError: If no sample is left, or one is of those that a router was fitted on.
        ValueError: If the routers' experts differ.
    """
    if before.experts != after.experts:
        raise ValueError(
            f"Expected routers of the same experts, found {', '.join(before.experts)} and {', '.join(after.experts)}."
        )
    data = _fresh(after, _fresh(before, data))
    first, second = (
        _dispatched(each, data, each.predict(data.texts), fallback, most_experts).scores
        for each in (before, after)
    )
    better, worse = int((second > first).sum()), int((second < first).sum())
    return RouterComparison(
        mean_interval(first),
        mean_interval(second),
        difference_interval(second, first),
        better,
        worse,
        sign_test(better, worse),
    )


def sign_test(better: int, worse: int) -> float:
    """How often chance alone is at least this uneven, from both sides; exact.

    Examples:
        >>> sign_test(8, 1), sign_test(0, 0)
        (0.0390625, 1.0)
    """
    total = better + worse
    tail = sum(math.comb(total, k) for k in range(min(better, worse) + 1))
    return min(1.0, 2 * tail / 2**total)


def captured_gain(
    router: Float[np.ndarray, " samples"],
    best: Float[np.ndarray, " samples"],
    oracle: Float[np.ndarray, " samples"],
) -> Interval | None:
    """Share of the oracle's gain that a router has, with its percentile bootstrap interval over samples.

    None if the oracle gains nothing over the best single expert. Resamples in which it gains nothing are left out.
    """
    gain, most = router - best, oracle - best
    if most.mean() <= 0:
        return None
    generator = np.random.Generator(np.random.Philox(key=len(gain)))
    shares = []
    for _ in range(_RESAMPLES):
        drawn = generator.integers(0, len(gain), len(gain))
        if (total := most[drawn].sum()) > 0:
            shares.append(gain[drawn].sum() / total)
    low, high = np.percentile(shares, [2.5, 97.5])
    return Interval(float(gain.mean() / most.mean()), float(low), float(high))


def _fresh(router: RequestRouter, data: RoutingData) -> RoutingData:
    if data.matrix.models != router.experts:
        raise ValueError(
            f"Expected scores of {', '.join(router.experts)}, found {', '.join(data.matrix.models)}."
        )
    seen = set(router.data.part("search").matrix.samples) & set(data.matrix.samples)
    if seen:
        raise TaskError(
            f"{len(seen)} requests are among those that the router was fitted on, one with hash {min(seen)}. Score it "
            "on test samples."
        )
    data = data.where(np.atleast_1d(data.matrix.measured.all(axis=0)))
    if not len(data):
        raise TaskError("No request was put to all experts: there is nothing to score the router on.")
    return data


def _dispatched(
    router: RequestRouter,
    data: RoutingData,
    predicted: Float[np.ndarray, "samples experts"],
    fallback: Sequence[str],
    most_experts: int,
    rule: Rule | None = None,
) -> _Way:
    """What a dispatcher would get: the first of those it asks who keeps the contract."""
    rule = router.rule if rule is None else rule
    last = _places(router, fallback)
    order = rule.order(predicted, router.costs)
    abstained = predicted.max(axis=1) < rule.threshold
    scores, costs = np.zeros(len(data)), np.zeros(len(data))
    for j in range(len(data)):
        asked = [] if abstained[j] else [int(e) for e in order[j, :most_experts]]
        for e in (*asked, *(e for e in last if e not in asked)):
            costs[j] += router.costs[e]
            if data.answered[e, j]:
                scores[j] = data.matrix.scores[e, j]
                break
    return _Way(scores, costs)


def _first(
    choice: Int[np.ndarray, " samples"],
    scores: Float[np.ndarray, "experts samples"],
    costs: Float[np.ndarray, " experts"],
    fallback: Sequence[int],
) -> _Way:
    """The first expert that is asked; where the router abstains the first of the fallback, or nobody."""
    choice = np.where(choice < 0, fallback[0] if fallback else -1, choice)
    asked = choice >= 0
    each = np.arange(len(choice))
    return _Way(np.where(asked, scores[choice, each], 0.0), np.where(asked, costs[choice], 0.0))


def _curve_of(
    router: RequestRouter,
    data: RoutingData,
    predicted: Float[np.ndarray, "samples experts"],
    fallback: Sequence[str],
    most_experts: int,
) -> tuple[Point, ...]:
    if len(set(router.costs.tolist())) < 2:
        return ()
    found = prices(predicted, router.costs)
    points = []
    for at in np.unique(np.linspace(0, len(found) - 1, _MOST_POINTS).round().astype(int)):
        rule = Rule(float(found[at]), router.rule.threshold)
        way = _dispatched(router, data, predicted, fallback, most_experts, rule)
        points.append(Point(rule.price, float(way.scores.mean()), float(way.costs.mean())))
    return tuple(points)


def _places(router: RequestRouter, names: Sequence[str]) -> list[int]:
    if unknown := [name for name in names if name not in router.experts]:
        raise ValueError(f"There is no expert {unknown[0]!r}; there are: {', '.join(router.experts)}.")
    return [router.experts.index(name) for name in names]


def _means(chosen: Bool[np.ndarray, " samples"], *scores: np.ndarray) -> tuple[float, float, float]:
    router, best, oracle = (float(each[chosen].mean()) for each in scores)
    return router, best, oracle


def _stands(name: str, way: _Way) -> Standing:
    return Standing(name, mean_interval(way.scores), float(way.costs.mean()))


def _standing(standing: Standing) -> dict[str, Any]:
    return {**standing._asdict(), "score": standing.score._asdict()}


def _curve(found: Calibration) -> dict[str, Any]:
    return {**found._asdict(), "bins": [each._asdict() for each in found.bins]}
