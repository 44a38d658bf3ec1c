"""Who should have answered, and who did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from merganser.adaptation.strategies._decision import OTHER, Trace
from merganser.evaluation import Interval, mean_interval


class Confusion(NamedTuple):
    """Requests by whom they were for and who answered.

    Attributes:
        truths: Whom requests were for: rows.
        answered: Who answered: columns.
        counts: How many requests.
    """

    truths: tuple[str, ...]
    answered: tuple[str, ...]
    counts: Int[np.ndarray, "truths answered"]

    @property
    def accuracy(self) -> Interval:
        """Share of requests that came to whom they were for, with its 95 % interval."""
        right = sum(
            int(self.counts[k, self.answered.index(name)])
            for k, name in enumerate(self.truths)
            if name in self.answered
        )
        return mean_interval(np.repeat([1.0, 0.0], [right, int(self.counts.sum()) - right]))


def confusion_of(traces: Mapping[str, Sequence[Trace]], experts: Sequence[str]) -> Confusion:
    """Count who answered requests of which it is known whom they were for.

    Args:
        traces: What became of requests, by the name of the expert that they were for; `other` is the base.
        experts: Those that requests may go to.

    Raises:
        ValueError: If there are no requests.
    """
    if not any(traces.values()):
        raise ValueError("Expected requests whose expert is known, found none.")
    names = [trace.decision.name for each in traces.values() for trace in each]
    answered = tuple(dict.fromkeys([*experts, OTHER, *names]))
    counts = np.zeros((len(traces), len(answered)), dtype=np.int64)
    for row, each in zip(counts, traces.values(), strict=True):
        for trace in each:
            row[answered.index(trace.decision.name)] += 1
    return Confusion(tuple(traces), answered, counts)
