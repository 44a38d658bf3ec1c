r"""Which number of a document is its score, and how it comes to lie in [0, 1].

lm-eval gives each document a value per metric, and joins the values of all documents by an aggregation. Where that
is a mean, the value itself is the score of the document; other values have a natural place in [0, 1]:

| aggregation in lm-eval | value of a document | score |
| --- | --- | --- |
| `mean`, `median`, higher is better | $v \in [0, 1]$ | $v$ |
| `mean`, `median`, lower is better | $v \in [0, 1]$ | $1 - v$ |
| `perplexity` | $\log p$ of the right answer | $p$ |
| `weighted_perplexity`, `bits_per_byte` | $\log p$ of the document, its $n$ words or bytes | $p^{1/n}$ |
| anything else (F1, BLEU, Matthews, …) | a part of a figure for the whole set | none: refused |
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from merganser._errors import TaskError

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask

Kind = Literal["value", "log", "log per unit"]
"""What lm-eval's value of a document is."""

_KINDS: dict[str, Kind] = {
    "mean": "value",
    "median": "value",
    "perplexity": "log",
    "weighted_perplexity": "log per unit",
    "bits_per_byte": "log per unit",
}
_RIGHT_OR_WRONG = frozenset({"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"})
"""Metrics that lm-eval's own code answers with 0 or 1."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric after a filter.

    Attributes:
        name: Of the metric.
        filter: Name of the filter that answers go through before.
        kind: What lm-eval's value of a document is.
        higher_is_better: As the task says.
        binary: Whether every score is 0 or 1.
    """

    name: str
    filter: str
    kind: Kind
    higher_is_better: bool
    binary: bool

    @property
    def label(self) -> str:
        """As lm-eval writes it: `metric,filter`."""
        return f"{self.name},{self.filter}"

    def score(self, value: Any) -> float:
        """Score of a document from lm-eval's value for it.

        Raises:
            TaskError: If the value is no such number.

        Examples:
            >>> Metric("acc", "none", "value", True, True).score(1.0)
            1.0
            >>> round(Metric("word_perplexity", "none", "log per unit", False, False).score((-4.0, 2)), 4)
            0.1353
        """
        number = self._number(value)
        if not 0 <= number <= 1 or (self.binary and number not in (0, 1)):
            expected = "0 or 1" if self.binary else "a number in [0, 1]"
            raise TaskError(f"{self.label} must be {expected} for each document, but one has {value!r}.")
        return number if self.higher_is_better or self.kind != "value" else 1 - number

    def _number(self, value: Any) -> float:
        try:
            if self.kind == "log per unit":
                log, units = value
                return math.exp(min(0.0, float(log) / units))
            return math.exp(min(0.0, float(value))) if self.kind == "log" else float(value)
        except (TypeError, ValueError, ZeroDivisionError):
            return math.nan


def choose_metric(task: ConfigurableTask, asked: str | None) -> Metric:
    """The metric that was asked for, or the task's first one that has a value for each document.

    Args:
        task: lm-eval's task.
        asked: `METRIC` or `METRIC,FILTER`, or None.

    Raises:
        TaskError: If the task has no such metric or filter, or it is a figure of the whole set only.
    """
    name = task.config.task
    filters = [ensemble.name for ensemble in task._filters]
    kinds: dict[str, Kind | None] = {
        metric: _kind(metric, join) for metric, join in task.aggregation().items()
    }
    usable = [metric for metric, kind in kinds.items() if kind is not None]
    labels = [f"{metric},{f}" for metric in usable for f in filters]
    if not usable:
        raise TaskError(
            f"{name} has no metric with a value for each document, only figures of the whole set: {', '.join(kinds)}."
        )
    metric, _, chosen = (asked or usable[0]).partition(",")
    if metric in kinds and kinds[metric] is None:
        raise TaskError(
            f"{metric} of {name} is a figure of the whole set; a document has no value of its own. "
            f"Metrics with one are: {', '.join(labels)}."
        )
    kind = kinds.get(metric)
    if kind is None or chosen not in ("", *filters):
        close = difflib.get_close_matches(asked or "", [*usable, *labels], n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise TaskError(f"{name} has no metric {asked!r}. {hint}It has: {', '.join(labels)}.")
    binary = metric in _RIGHT_OR_WRONG and task.config.process_results is None
    return Metric(metric, chosen or filters[0], kind, bool(task.higher_is_better().get(metric, True)), binary)


def _kind(metric: str, join: Any) -> Kind | None:
    """What a document's value is, told by the function that joins the values."""
    from lm_eval.api.registry import get_aggregation

    if metric == "likelihood":  # joined by a mean in name, but its values are lists
        return None
    return next((kind for name, kind in _KINDS.items() if join is get_aggregation(name)), None)
