"""A router of requests as one of the ways: what it learns from, whom it chooses, how its experts are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from merganser.decision._scores import Asked, Row, Split
from merganser.evaluation import GenerativeTask
from merganser.routing.requests import ExpertsFile, RequestRouter, RoutingData, parse_experts_file
from merganser.routing.requests import Row as RoutedRow


def routing_data(alone: Mapping[str, Mapping[Split, Row]], asked: Mapping[Split, Asked]) -> RoutingData:
    """Scores of models on search and validation samples, as a router learns from them."""
    rows = [
        RoutedRow(name, text, float(value), split, task=each.names[t])
        for split, each in asked.items()
        if split != "test"
        for name, scores in alone.items()
        for text, value, t in zip(each.texts or (), scores[split], each.tasks, strict=True)
    ]
    return RoutingData.of(rows, list(alone))


def choices_of(router: RequestRouter, texts: Sequence[str]) -> Int[np.ndarray, " texts"]:
    """Which expert is asked first about each text."""
    return router.rule.order(router.predict(texts), router.costs)[:, 0]


def experts_file(names: Sequence[str], references: Mapping[str, str], asked: Asked) -> ExpertsFile:
    """How experts are asked: as the tasks ask, if all ask in one way; else the bare question.

    Args:
        names: The experts.
        references: Their models.
        asked: Samples of the tasks.
    """
    prompts = {
        task.prompt.template if isinstance(task, GenerativeTask) else "{question}"
        for part in asked.parts
        for task, _ in part.parts
    }
    contract: dict[str, Any] = {"kind": "question_answering"}
    if len(prompts) == 1 and (only := prompts.pop()).count("{") == only.count("{question}"):
        contract["prompt"] = only
    experts = [{"name": name, "model": references[name], "contract": "answer", "cost": 1} for name in names]
    return parse_experts_file({"experts": experts, "contracts": {"answer": contract}})
