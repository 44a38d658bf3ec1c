r"""How nearly a model was right in a multiple choice of lm-eval: the probability of the right choice among the choices.

| metric | a choice of log-probability $\ell$ is worth |
| --- | --- |
| `acc` | $\ell$ |
| `acc_norm` | $\ell$ divided by its characters |
| `acc_bytes` | $\ell$ divided by its bytes |

The margin is $\sum_{r} e^{v_r} / \sum_k e^{v_k}$ over the right choices $r$. Tasks name these in several ways; a choice
is right here if lm-eval gives 1 to a model that is sure of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from merganser.evaluation.lm_eval._metric import Metric

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask

_LENGTHS: dict[str, Callable[[str], int]] = {
    "acc": lambda _: 1,
    "acc_norm": len,
    "acc_bytes": lambda choice: len(choice.encode()),
}
_IMPOSSIBLE = -1e9
"""The log-probability of every other choice, to a model that is sure of one."""


def choice_margin(
    task: ConfigurableTask, document: Any, metric: Metric, given: Sequence[Any]
) -> float | None:
    """The margin of a document, in [0, 1]; None where the task is no multiple choice that lm-eval itself grades.

    Args:
        task: lm-eval's task.
        document: What was asked.
        metric: What is scored.
        given: Log-probability of each choice and whether it is greedy, as lm-eval gets them.
    """
    if task.OUTPUT_TYPE != "multiple_choice" or metric.name not in _LENGTHS or not metric.binary:
        return None
    choices = task.doc_to_choice(document)
    lengths = np.array([max(_LENGTHS[metric.name](choice), 1) for choice in choices])
    values = np.array([log for log, _ in given[: len(choices)]]) / lengths
    weights = np.exp(values - values.max())
    right = [_is_right(task, document, metric, k, len(given)) for k in range(len(choices))]
    return float(weights[right].sum() / weights.sum())


def _is_right(task: ConfigurableTask, document: Any, metric: Metric, choice: int, count: int) -> bool:
    """Whether lm-eval gives 1 to who is sure of a choice; `count` is the number of its requests."""
    sure = [(0.0 if k == choice else _IMPOSSIBLE, k == choice) for k in range(count)]
    return metric.score(task.process_results(document, sure).get(metric.name)) == 1.0
