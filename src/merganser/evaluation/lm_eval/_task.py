"""A task of lm-evaluation-harness as a task of this house."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from merganser.evaluation._marks import Marks
from merganser.evaluation._samples import Samples
from merganser.evaluation.lm_eval._answers import answer
from merganser.evaluation.lm_eval._documents import Documents
from merganser.evaluation.lm_eval._library import lm_eval_conditions, lm_eval_version
from merganser.evaluation.lm_eval._margin import choice_margin
from merganser.evaluation.lm_eval._metric import Metric
from merganser.models import TextModel

_SCORER = "lm-eval task 1"
_PLACES = frozenset({"dataset_path", "dataset_name", "dataset_kwargs"})
"""Where data lie; the digest covers what they are."""


@dataclass(frozen=True)
class LmEvalTask:
    """Some documents of an lm-eval task; the score of each is what lm-eval reports for it.

    Attributes:
        documents: All documents of their kind, and how they are asked.
        positions: Those of this split.
        metric: What is scored.
        split: `search`, `validation` or `test`.
        notices: What the user should know about the division.
    """

    documents: Documents
    positions: Int[np.ndarray, " samples"]
    metric: Metric
    split: str
    notices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """lm-eval's name of the task."""
        return str(self.documents.task.config.task)

    @property
    def binary(self) -> bool:
        """Whether every score is 0 or 1."""
        return self.metric.binary

    @property
    def samples(self) -> Samples:
        """The documents, without labels."""
        return self._samples

    @cached_property
    def _samples(self) -> Samples:
        return Samples(tuple(self.documents.hashes[i] for i in self.positions), None, self.split)

    @property
    def digest(self) -> str:
        """Hash over documents, examples, the task's settings and code, metric, and the version of lm-eval."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        task, settings = self.documents.task, self.documents.settings
        config = {k: v for k, v in _plain(task.config).items() if k not in _PLACES}
        config["metadata"] = {k: v for k, v in (config.get("metadata") or {}).items() if k != "config_source"}
        content = [
            *(_SCORER, lm_eval_version(), self.metric.label, self.samples.digest),
            [self.documents.example_hashes[i] for i in self.positions],
            [settings.chat_template, settings.multiturn, settings.system_prompt],
            *(config, _plain(type(task))),
        ]
        written = json.dumps(content, sort_keys=True, default=str)
        return hashlib.blake2b(written.encode(), digest_size=16).hexdigest()

    def score(self, model: TextModel, ids: Int[np.ndarray, " ids"]) -> Float[np.ndarray, " ids"]:
        """Score of the model on the documents at these positions of the split, each in [0, 1].

        Raises:
            TypeError: If the model does not answer texts.
            NonFiniteOutputError: If a log-probability is NaN or infinite.
            TaskError: If a value of the metric is no score.
        """
        return self.mark(model, ids).scores

    def mark(self, model: TextModel, ids: Int[np.ndarray, " ids"]) -> Marks:
        """The same with margins, of multiple choice.

        Raises:
            TypeError: If the model does not answer texts.
            NonFiniteOutputError: If a log-probability is NaN or infinite.
            TaskError: If a value of the metric is no score.
        """
        if not isinstance(model, TextModel):
            raise TypeError(
                f"{self.name} asks a model texts, but {type(model).__name__} does not answer texts."
            )
        if not len(ids):
            return Marks(np.empty(0))
        positions = [int(self.positions[i]) for i in ids]
        task = self.documents.task
        with lm_eval_conditions(trust=self.documents.settings.trust):
            asked = [self.documents.requests(position, model) for position in positions]
            requests = [request for group in asked for request in group]
            answer(model, requests)
            for ensemble in task._filters:
                if ensemble.name == self.metric.filter:
                    ensemble.apply(requests)
            graded = [self._graded(p, group) for p, group in zip(positions, asked, strict=True)]
        margins = [margin for _, margin in graded if margin is not None]
        scores = np.array([score for score, _ in graded])
        return Marks(scores, np.array(margins) if len(margins) == len(graded) else None)

    def _graded(self, position: int, requests: list[Any]) -> tuple[float, float | None]:
        """Score and margin of a document."""
        given = [r.filtered_resps[self.metric.filter] for r in sorted(requests, key=lambda r: r.idx)]
        task, document = self.documents.task, self.documents.documents[position]
        values = task.process_results(document, given)
        return self.metric.score(values.get(self.metric.name)), choice_margin(
            task, document, self.metric, given
        )


def _plain(value: Any) -> Any:
    """A task's settings as plain data; of functions, their name and the content of the file they are from."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if callable(value):
        return [
            getattr(value, "__qualname__", ""),
            hashlib.blake2b(_source(value), digest_size=16).hexdigest(),
        ]
    return value


def _source(function: Any) -> bytes:
    try:
        file = inspect.getsourcefile(function)
    except TypeError:  # it is not written in Python
        return b""
    return b"" if file is None else Path(file).read_bytes()
