"""Conversations about a candidate: on which samples it is scored, in which order, and when that is enough."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Int

from merganser.evolution import Row, Screening
from merganser.run._runners import Scored, Visit


def visit(
    samples: int,
    ids: Int[np.ndarray, " subset"],
    *,
    screening: Screening | None = None,
    known: Row | None = None,
) -> Visit:
    """Score a candidate block by block, as far as its fate demands; of one met before, only what is unknown.

    Args:
        samples: How many samples the task has.
        ids: Positions of those that it is to be scored on, ascending.
        screening: Early rejection; it speaks of places in `ids`.
        known: What is known of the candidate, on all samples of the task.
    """
    scores = np.zeros(samples) if known is None else known.scores.copy()
    measured = np.zeros(samples, bool) if known is None else mask_of(known).copy()
    count = 0
    for block in _blocks(samples, ids, screening):
        new = block if known is None else block[~measured[block]]
        if len(new):
            scores[new] = yield new
            measured[new] = True
            count += len(new)
        if screening is not None:
            screening.record(scores[block])
    return Scored(Row(scores, None if measured.all() else measured), count)


def mask_of(row: Row) -> Bool[np.ndarray, " samples"]:
    """Which samples were measured, as an array."""
    return np.ones(len(row.scores), bool) if row.measured is None else row.measured


def failed_on(ids: Int[np.ndarray, " subset"], samples: int, known: Row | None) -> Row:
    """What the journal keeps of a candidate that failed on a subset: 0 on what was unknown of it, and what is known."""
    if known is None:
        known = Row(np.zeros(samples), np.zeros(samples, bool))
    measured = mask_of(known).copy()
    measured[ids] = True
    return Row(known.scores, None if measured.all() else measured)


def _blocks(
    samples: int, ids: Int[np.ndarray, " subset"], screening: Screening | None
) -> Iterator[np.ndarray]:
    """The samples to score next; with early rejection as long as the candidate's fate is open."""
    if screening is None:
        yield ids
        return
    whole = len(ids) == samples
    while (places := screening.next_samples()) is not None:
        yield places if whole else ids[places]
