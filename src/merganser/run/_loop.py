"""The loop that joins the rooms: ask, materialise, score, tell, journal.

A run is resumed by telling a fresh search what the journal holds. Rejected children are not built again, nothing is
evaluated again, and each proposal must have the digest that the journal noted, so a replay that went astray is
noticed at the first child.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from merganser._errors import RunError
from merganser.evaluation import Task
from merganser.evolution import Genome, Proposal, Row, Screening, Search, coverage, entropy, weighted_means
from merganser.run._journal import Journal, Progress
from merganser.run._plan import Plan

_GROWTH = 1.03
_SMALLEST_STEP = 10


class Evolution:
    """A run in progress.

    Args:
        plan: Its parts.
        journal: Its journal, open for writing.

    Raises:
        RunError: If the journal does not fit the plan.
    """

    def __init__(self, plan: Plan, journal: Journal) -> None:
        self.plan, self.journal = plan, journal
        self.search: Search = plan.search
        self.task = plan.splits.search
        self.evaluations = self.measured = self.failures = 0
        self.point: Progress | None = None
        self._ids = np.arange(len(self.task.samples))
        self._validated: dict[str, float | None] = {}
        self._mark = _next_mark(0)
        meta = journal.meta()
        self._earlier, self._since = float(meta.get("seconds", 0.0)), time.monotonic()
        self._replay()

    @property
    def seconds(self) -> float:
        """Time spent on the run, over all its sittings."""
        return self._earlier + time.monotonic() - self._since

    @property
    def done(self) -> bool:
        """Whether the budget is spent or the search has nothing more to propose."""
        budget = self.plan.settings.budget
        spent = budget.evaluations is not None and self.evaluations >= budget.evaluations
        late = budget.seconds is not None and self.seconds >= budget.seconds
        return spent or late or self.search.exhausted

    @property
    def samples_saved(self) -> int:
        """Sample evaluations that full scoring of every child would have cost on top."""
        return self.evaluations * len(self._ids) - self.measured

    def step(self) -> None:
        """One child: propose, score, tell, note."""
        asked, (proposal,) = self.search.ask(1)
        row, measured = self._score(asked, proposal)
        told = asked.tell([proposal], [row])
        accepted = told.members is not asked.members
        self.journal.add_child(
            proposal, row, self.task, accepted=accepted, measured=measured, clock=self.seconds
        )
        self._advance(told, measured, row)
        if self.evaluations == self._mark:
            self.note_progress()
            self._mark = _next_mark(self._mark)

    def save(self) -> None:
        """Commit everything, with what a resumed run and a report of an unfinished one need."""
        self.journal.set_meta(seconds=self.seconds, members=[m.index for m in self.search.members])
        self.journal.commit()

    def save_if_due(self) -> bool:
        """Commit if half a second has passed since the last time; True if it did."""
        if not self.journal.due:
            return False
        self.save()
        return True

    def note_progress(self) -> None:
        """Add a point to the progress curve."""
        members = self.search.members
        if not members:
            return
        scores = np.stack([m.scores for m in members])
        means = weighted_means(scores, self.plan.weights)
        best = int(means.argmax())
        self.point = Progress(
            self.evaluations,
            float(means[best]),
            float(means.mean()),
            self.validation_score(members[best].genome),
            coverage(scores),
            entropy(scores),
            len(members),
            self.measured,
            self.seconds,
        )
        self.journal.add_progress(self.point)

    def validation_score(self, genome: Genome) -> float | None:
        """Mean score on the validation split; None where there is none or the model fails."""
        task = self.plan.splits.validation
        return None if task is None else self._mean_on(task, genome)

    def row_on(self, task: Task, genome: Genome) -> Row:
        """Scores on all samples of any task, from the journal if they are known."""
        known = self.journal.row(genome.digest, task.digest, len(task.samples))
        if known is not None and known.complete:
            return known
        row = self._full_row(task, genome)
        self.journal.add_scores(bytes.fromhex(genome.digest), task, row)
        return row

    def _mean_on(self, task: Task, genome: Genome) -> float | None:
        digest = genome.digest
        if digest not in self._validated:
            row = self.row_on(task, genome)
            self._validated = {digest: None if row.failed else row.mean}
        return self._validated[digest]

    def _full_row(self, task: Task, genome: Genome) -> Row:
        ids = np.arange(len(task.samples))
        try:
            self.plan.bring_to_life(genome)
            return Row(_checked_scores(task, self.plan.model, ids))
        except Exception as error:  # noqa: BLE001 - a failed candidate costs one candidate
            return Row(np.zeros(len(ids)), failed=_reason(error))

    def _score(self, search: Search, proposal: Proposal) -> tuple[Row, int]:
        """Score a child as far as its fate demands; also how many samples that took."""
        known = None
        if not self.plan.space.mutates:  # a mutated child is like no other, so nothing can be known of it
            known = self.journal.row(proposal.digest, self.task.digest, len(self._ids))
        if known is not None and known.complete:
            return known, 0
        try:
            self.plan.bring_to_life(proposal.genome)
            return self._visit(search.screen(proposal), known)
        except Exception as error:  # noqa: BLE001 - a failed candidate costs one candidate
            return Row(np.zeros(len(self._ids)), failed=_reason(error)), 0

    def _visit(self, screening: Screening | None, known: Row | None) -> tuple[Row, int]:
        """Score the model that is alive block by block; of a recipe met before, only what is still unknown."""
        scores = np.zeros(len(self._ids)) if known is None else known.scores.copy()
        measured = np.zeros(len(self._ids), bool) if known is None else _mask(known).copy()
        count = 0
        for ids in self._blocks(screening):
            new = ids if known is None else ids[~measured[ids]]
            if len(new):
                scores[new] = _checked_scores(self.task, self.plan.model, new)
                measured[new] = True
                count += len(new)
            if screening is not None:
                screening.record(scores[ids])
        return Row(scores, None if measured.all() else measured), count

    def _blocks(self, screening: Screening | None) -> Iterator[np.ndarray]:
        """The samples to score next; with early rejection as long as the child's fate is open."""
        if screening is None:
            yield self._ids
            return
        while (ids := screening.next_samples()) is not None:
            yield ids

    def _advance(self, told: Search, measured: int, row: Row) -> None:
        self.search = told
        self.evaluations += 1
        self.measured += measured
        self.failures += row.failed is not None

    def _replay(self) -> None:
        """Tell the fresh search everything the journal knows."""
        for child in self.journal.children():
            asked, proposals = self.search.ask(1)
            if not proposals or proposals[0].digest != child.recipe or proposals[0].index != child.index:
                raise RunError(
                    f"Child {child.index} of {self.journal.path.parent} was {child.recipe}, but replaying the journal "
                    "proposes another one. Resume with the release and the numpy that wrote it."
                )
            row = self.journal.row(child.recipe, self.task.digest, len(self._ids))
            assert row is not None
            if child.failed is not None:
                row = Row(row.scores, None, child.failed)
            self._advance(asked.tell(proposals, [row]), child.measured, row)
        while self._mark <= self.evaluations:
            self._mark = _next_mark(self._mark)


def _next_mark(mark: int) -> int:
    """The next number of evaluations at which progress is noted: early ones dense, later ones 3 % apart."""
    return max(mark + _SMALLEST_STEP, round(mark * _GROWTH))


def _mask(row: Row) -> np.ndarray:
    return np.ones(len(row.scores), bool) if row.measured is None else row.measured


def _checked_scores(task: Task, model: object, ids: np.ndarray) -> np.ndarray:
    scores = np.asarray(task.score(model, ids), dtype=np.float64)
    if scores.shape != ids.shape:
        raise ValueError(f"the task answered with scores of shape {scores.shape} for {len(ids)} samples")
    if not (scores.min() >= 0 and scores.max() <= 1):
        raise ValueError(
            f"the task answered with scores from {scores.min():g} to {scores.max():g}, not in [0, 1]"
        )
    # what the journal will hold, so that a resumed run decides by the very same numbers
    return scores if task.binary else scores.astype(np.float32).astype(np.float64)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
