"""Who solves what: experts scored on tasks, as they would answer requests.

A request is a task's question; what an expert answers within its contract is graded by the task's scorer, and what it
does not answer scores 0. Examples, chat templates and instructions of the task do not count: the contract asks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from merganser._errors import TaskError
from merganser.evaluation import (
    Chosen,
    Evaluation,
    GenerativeTask,
    Prompt,
    SplitName,
    Splits,
    Stage,
    Task,
    choose,
    evaluate,
)
from merganser.models import Continuation, GenerationRequest, LogLikelihood, Response
from merganser.routing.requests._attempt import try_expert
from merganser.routing.requests._contract import Violation
from merganser.routing.requests._data import RoutingData, Row
from merganser.routing.requests._expert import Expert

_MOST_LATE = 3  # in a row; then the rest of the samples is not asked


class Scored(NamedTuple):
    """Experts on tasks.

    Attributes:
        data: Who solved what.
        costs: Mean cost of an ask, by expert.
        notes: Experts that gave nothing, and why.
    """

    data: RoutingData
    costs: dict[str, float]
    notes: tuple[str, ...]


def score_experts(
    experts: Sequence[Expert],
    tasks: Sequence[Splits],
    splits: Sequence[SplitName],
    *,
    limit: int | None = None,
    seed: int = 0,
    watch: Callable[[Stage], None] | None = None,
) -> Scored:
    """Ask experts the questions of tasks.

    An expert that is late three times in a row is not asked any further in that task, and scores 0 there.

    Args:
        experts: Who is asked.
        tasks: What is asked; answers in writing only.
        splits: Which samples.
        limit: At most so many of each split of each task, by the hash of their content.
        seed: Another seed takes others.
        watch: Called as the work goes on.

    Raises:
        TaskError: If a task is of another kind, or has no such split.
    """
    chosen = [_plain(choose(task, split, limit=limit, seed=seed)) for task in tasks for split in splits]
    asked = {expert.name: _Asked(expert) for expert in experts}

    def opened(name: str, _: Task) -> _Asked:
        asked[name].begin()
        return asked[name]

    found = evaluate(list(asked), chosen, opened, watch=watch)
    rows = _rows(found, chosen)
    costs = {name: each.mean_cost for name, each in asked.items()}
    notes = [f"{name} answered nothing: {each.last}" for name, each in asked.items() if not each.kept]
    return Scored(RoutingData.of(rows, list(asked)), costs, tuple(notes))


class _Asked:
    """An expert as a model that answers; a prompt is the request."""

    def __init__(self, expert: Expert) -> None:
        self._expert, self._late, self._costs = expert, 0, list[float]()
        self.kept, self.last = 0, "it was never asked"

    def begin(self) -> None:
        """Another task: whoever sleeps over one may be awake for the next."""
        self._late = 0

    @property
    def mean_cost(self) -> float:
        """Mean cost of an ask; before the first that of the longest answer."""
        longest = self._expert.contract.limits.max_tokens
        return float(np.mean(self._costs)) if self._costs else self._expert.price(longest)

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Response]:
        """Answers that keep the contract; others are empty.

        Raises:
            RuntimeError: If it was late too often.
        """
        return [self._answer(request.prompt) for request in requests]

    def log_likelihoods(self, requests: Sequence[Continuation]) -> list[LogLikelihood]:
        """An expert says nothing of probabilities."""
        raise NotImplementedError

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """An expert has no chat template."""
        raise NotImplementedError

    def _answer(self, text: str) -> Response:
        if self._late >= _MOST_LATE:
            raise RuntimeError(self.last)
        given = self._expert.contract.accept(text)
        if isinstance(given, Violation):
            self.last = given.reason
            return Response("", 0, "end")
        tried = try_expert(self._expert, text)
        self._costs.append(sum(attempt.cost for attempt in tried.attempts))
        if tried.answer is None:
            last = tried.attempts[-1]
            self.last = last.reason
            self._late = self._late + 1 if last.outcome == "late" else 0
            return Response("", 0, "end")
        self.kept, self._late = self.kept + 1, 0
        return Response(self._expert.contract.said(tried.answer), tried.attempts[-1].tokens, "end")


def _plain(chosen: Chosen) -> Chosen:
    return dataclasses.replace(chosen, parts=tuple((_as_requests(task), ids) for task, ids in chosen.parts))


def _as_requests(task: Task) -> GenerativeTask:
    """The task with its bare question as the prompt; a template stays where it names more than the question."""
    if not isinstance(task, GenerativeTask):
        raise TaskError(
            f"{task.name} has no answers in writing, which experts are asked for. Score it with `merganser evaluate "
            "--samples` and give the file as scores."
        )
    more = task.prompt.extra_fields or "{choices}" in task.prompt.template
    template = task.prompt.template if more else "{question}"
    return dataclasses.replace(task, prompt=Prompt(template, is_text=task.prompt.is_text))


def _rows(found: Evaluation, chosen: Sequence[Chosen]) -> list[Row]:
    """Rows of all results, in the order of tasks; of an expert that failed all are 0."""
    rows = []
    count = len(found.results) // len(chosen)
    for place, result in enumerate(found.results):
        part = chosen[place // count]
        texts = [
            task.requests(ids[k : k + 1])[0].prompt
            for task, ids in _generative(part)
            for k in range(len(ids))
        ]
        answered = [bool(g.response.strip()) for g in result.graded] or [False] * len(texts)
        scores = result.scores if not result.failed else np.zeros(len(texts))
        rows += [
            Row(result.model, text, float(score), part.split, ok, part.name)
            for text, score, ok in zip(texts, scores, answered, strict=True)
        ]
    return rows


def _generative(chosen: Chosen) -> list[tuple[GenerativeTask, np.ndarray]]:
    return [(task, ids) for task, ids in chosen.parts if isinstance(task, GenerativeTask)]
