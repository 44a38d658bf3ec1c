"""The router: predicted score of every expert on a request, and the rule that decides."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from merganser.routing.requests._calibration import calibration_of
from merganser.routing.requests._data import RoutingData
from merganser.routing.requests._embedding import Embedding, Hashed, Hidden
from merganser.routing.requests._experts_file import RouterSettings
from merganser.routing.requests._predictors import Predictor, fit_by_task, fit_classifier, fit_nearest
from merganser.routing.requests._rule import Decision, Rule, price_within, threshold_for


@dataclass(frozen=True, eq=False)
class RequestRouter:
    """Knows who is good at what.

    Attributes:
        experts: Names, in the order of all arrays.
        costs: Expected cost of a request, for each.
        embedding: From texts to rows.
        predictor: From rows to scores.
        rule: From scores to a decision.
        data: What it was fitted and validated on.
        settings: How.
        notes: What somebody who uses it should know.
    """

    experts: tuple[str, ...]
    costs: Float[np.ndarray, " experts"]
    embedding: Embedding
    predictor: Predictor
    rule: Rule
    data: RoutingData
    settings: RouterSettings
    notes: tuple[str, ...] = ()

    def predict(self, texts: Sequence[str]) -> Float[np.ndarray, "requests experts"]:
        """Predicted score of every expert on every text, in [0, 1]."""
        if not texts:
            return np.zeros((0, len(self.experts)))
        return self.predictor(self.embedding(texts))

    def decide(self, text: str, refused: Mapping[str, str] | None = None) -> Decision:
        """Who is asked about a request.

        Args:
            text: The request.
            refused: Experts that cannot take it, with the reason.
        """
        out: dict[str, str] = dict(refused or {})
        predicted = self.predict([text])
        able = [name for name in self._by_utility(predicted) if name not in out]
        best = max((predicted[0, self.experts.index(name)] for name in able), default=0.0)
        said = dict(zip(self.experts, map(float, predicted[0]), strict=True))
        return Decision(said, tuple(able), bool(best < self.rule.threshold), out)

    def _by_utility(self, predicted: Float[np.ndarray, "1 experts"]) -> Collection[str]:
        return [self.experts[e] for e in self.rule.order(predicted, self.costs)[0]]


def fit_router(
    data: RoutingData,
    settings: RouterSettings = RouterSettings(),
    *,
    costs: Mapping[str, float] | None = None,
) -> RequestRouter:
    """Learn who is good at what: on search samples; what is chosen is chosen on validation, test is not looked at.

    The same data give the same router, in whatever order they come.

    Args:
        data: Who solved what. Samples of the split `all`, or of search where there is no validation, are divided.
        settings: How.
        costs: Expected cost of a request, by expert; 0 where nothing is said.

    Raises:
        TaskError: If search or validation is empty.
        CheckpointError: If the embedding's model cannot be opened.

    Examples:
        >>> from merganser.routing.requests import Row
        >>> asked = [(f"{a} plus {b}", f"say {a} in {b} words") for a in range(8) for b in range(8)]
        >>> rows = [Row("sums", sum, 1.0) for sum, _ in asked] + [Row("words", sum, 0.0) for sum, _ in asked]
        >>> rows += [Row("sums", say, 0.0) for _, say in asked] + [Row("words", say, 1.0) for _, say in asked]
        >>> router = fit_router(RoutingData.of(rows, ["sums", "words"]))
        >>> router.decide("12 plus 30").order[0], router.decide("say 9 in 9 words").order[0]
        ('sums', 'words')
    """
    used = data.part("search", "validation", "all").divided(seed=settings.seed)
    search, validation = used.part("search"), used.part("validation")
    embedding = _embedding(search.texts, settings.embedding)
    predictor, settings, said = _fitted(embedding, search, validation, settings)
    experts = data.matrix.models
    prices = np.array([(costs or {}).get(name, 0.0) for name in experts], dtype=np.float64)
    predicted = predictor(embedding(validation.texts))
    rule, notes = _rule(predicted, prices, validation, settings)
    return RequestRouter(experts, prices, embedding, predictor, rule, used, settings, (*said, *notes))


def _embedding(texts: Sequence[str], wanted: str) -> Embedding:
    return Hashed.fit(texts) if wanted == "hashed" else Hidden.fit(texts, wanted)


def _fitted(
    embedding: Embedding, search: RoutingData, validation: RoutingData, settings: RouterSettings
) -> tuple[Predictor, RouterSettings, tuple[str, ...]]:
    """The predictor, the settings with its kind, and what to say about how the kind was chosen."""
    if settings.kind != "auto":
        return _predictor(embedding, search, validation, settings), settings, ()
    rows, known = embedding(validation.texts), validation.matrix.measured.T
    found: list[tuple[float, Predictor, RouterSettings]] = []
    for kind in (
        ("classifier", "nearest", "tasks") if len(set(search.tasks)) > 1 else ("classifier", "nearest")
    ):
        wanted = replace(settings, kind=kind)
        predictor = _predictor(embedding, search, validation, wanted)
        error = calibration_of(predictor(rows)[known], validation.matrix.scores.T[known]).brier
        found.append((error, predictor, wanted))
    _, predictor, chosen = min(found, key=lambda each: each[0])
    errors = ", ".join(f"{each.kind} {error:.4f}" for error, _, each in found)
    return (
        predictor,
        chosen,
        (f"Of the kinds {chosen.kind} predicts validation scores best; Brier scores: {errors}.",),
    )


def _predictor(
    embedding: Embedding, search: RoutingData, validation: RoutingData, settings: RouterSettings
) -> Predictor:
    rows: Any = embedding(search.texts)
    scores, measured = search.matrix.scores, search.matrix.measured
    if settings.kind == "classifier":
        return fit_classifier(rows, scores, measured, calibration=settings.calibration)
    if settings.kind == "tasks":
        return fit_by_task(rows, scores, measured, search.tasks)
    held_out = (embedding(validation.texts), validation.matrix.scores, validation.matrix.measured)
    return fit_nearest(rows, scores, measured, validation=held_out, neighbours=settings.neighbours)


def _rule(
    predicted: Float[np.ndarray, "requests experts"],
    costs: Float[np.ndarray, " experts"],
    validation: RoutingData,
    settings: RouterSettings,
) -> tuple[Rule, tuple[str, ...]]:
    price, threshold, notes = settings.price, settings.threshold, []
    if settings.budget is not None:
        price, cost = price_within(settings.budget, predicted, costs)
        if cost > settings.budget:
            notes.append(
                f"No price keeps a mean cost of {settings.budget:g}: the least on validation is {cost:g}."
            )
    if settings.accuracy is not None:
        chosen = Rule(price).choose(predicted, costs)
        each = np.arange(len(chosen))
        known = validation.matrix.measured[chosen, each]
        threshold, mean = threshold_for(
            settings.accuracy, predicted[known], validation.matrix.scores[chosen, each][known]
        )
        if mean < settings.accuracy:
            notes.append(
                f"No threshold keeps a mean score of {settings.accuracy:g}: the best on validation is {mean:.3f}."
            )
    return Rule(price, threshold), tuple(notes)
