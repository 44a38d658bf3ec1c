"""Conversations about a candidate: on which samples it is scored, in which order, and when that is enough."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

from merganser.evolution import Row, Screening
from merganser.run._runners import Scored, Visit


def visit(
    samples: int,
    ids: Int[np.ndarray, " subset"],
    *,
    screening: Screening | None = None,
    known: Row | None = None,
    margins: bool = False,
) -> Visit:
    """Score a candidate block by block, as far as its fate demands; of one met before, only what is unknown.

    Args:
        samples: How many samples the task has.
        ids: Positions of those that it is to be scored on, ascending.
        screening: Early rejection; it speaks of places in `ids`.
        known: What is known of the candidate, on all samples of the task.
        margins: Whether to keep margins, which takes as much room as scores that are not 0 or 1. A candidate of which
            some scores are known without margins, from a journal that kept none, stays without.
    """
    scores = np.zeros(samples) if known is None else known.scores.copy()
    measured = np.zeros(samples, bool) if known is None else mask_of(known).copy()
    kept = _margins_so_far(samples, known) if margins else None
    count = 0
    for block in _blocks(samples, ids, screening):
        new = block if known is None else block[~measured[block]]
        if len(new):
            marks = yield new
            scores[new], measured[new] = marks.scores, True
            if kept is None or marks.margins is None:
                kept = None
            else:
                kept[new] = marks.margins
            count += len(new)
        if screening is not None:
            screening.record(scores[block])
    return Scored(Row(scores, None if measured.all() else measured, margins=kept), count)


def mask_of(row: Row) -> Bool[np.ndarray, " samples"]:
    """Which samples were measured, as an array."""
    return np.ones(len(row.scores), bool) if row.measured is None else row.measured


def failed_on(ids: Int[np.ndarray, " subset"], samples: int, known: Row | None) -> Row:
    """What the journal keeps of a candidate that failed on a subset: 0 on what was unknown of it, and what is known."""
    if known is None:
        known = Row(np.zeros(samples), np.zeros(samples, bool))
    measured = mask_of(known).copy()
    measured[ids] = True
    return Row(known.scores, None if measured.all() else measured, margins=known.margins)


def _margins_so_far(samples: int, known: Row | None) -> Float[np.ndarray, " samples"] | None:
    """What to write margins into; None if scores are known that have none."""
    if known is None or (known.margins is None and not mask_of(known).any()):
        return np.zeros(samples)
    return None if known.margins is None else known.margins.copy()


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
