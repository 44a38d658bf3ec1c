"""The loop that joins the rooms: ask, materialise, score, tell, journal.

A run is resumed by telling a fresh search what the journal holds. Rejected children are not built again, nothing is
evaluated again, and each proposal must have the digest that the journal noted, so a replay that went astray is
noticed at the first child.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from merganser._errors import RunError
from merganser.evaluation import Task
from merganser.evolution import (
    Genome,
    Proposal,
    Row,
    Screening,
    Search,
    coverage,
    entropy,
    hypervolume,
    weighted_means,
)
from merganser.run._journal import Journal, Progress
from merganser.run._plan import Plan
from merganser.run._runners import Here, Job, Runner, Scored, Visit

_GROWTH = 1.03
_SMALLEST_STEP = 10
_MOST_MEASURED = 6
"""Objectives up to which the hypervolume is noted: of more it takes longer than a child of a small network."""
_ASIDE = -1
"""Number of what is scored beside the children, one at a time: members on other splits."""


@dataclass
class _Pending:
    """A child that was asked for and not told yet, and the state of the search that proposed it."""

    proposal: Proposal
    state: Search
    started: bool = False


class Evolution:
    """A run in progress.

    Args:
        plan: Its parts.
        journal: Its journal, open for writing.
        runner: Who scores the children; this process, if nobody else.

    Raises:
        RunError: If the journal does not fit the plan.
    """

    def __init__(self, plan: Plan, journal: Journal, runner: Runner | None = None) -> None:
        self.plan, self.journal, self.runner = plan, journal, runner or Here(plan)
        self.search: Search = plan.search
        self.task = plan.splits.search
        self.evaluations = self.measured = self.failures = 0
        self.point: Progress | None = None
        self._pending: deque[_Pending] = deque()
        self._ids = np.arange(len(self.task.samples))
        self._validated: dict[str, float | None] = {}
        self._failed: dict[str, str] = {}
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
        return spent or late or (self.search.exhausted and not self._pending)

    @property
    def samples_saved(self) -> int:
        """Sample evaluations that full scoring of every child would have cost on top."""
        return self.evaluations * len(self._ids) - self.measured

    def step(self) -> None:
        """One child: tell the oldest one that was asked for, once it is scored, and note it."""
        child = self._next()
        row, measured = self._settled(child, self.runner.finish(child.proposal.index))
        told = self.search.tell([child.proposal], [row])
        accepted = told.members is not self.search.members
        self.journal.add_child(
            child.proposal, row, self.task, accepted=accepted, measured=measured, clock=self.seconds
        )
        self._advance(told, measured, row, child.proposal.digest)
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
            self._hypervolume(scores),
        )
        self.journal.add_progress(self.point)

    def _hypervolume(self, scores: Float[np.ndarray, "members samples"]) -> float | None:
        objectives = self.plan.objectives
        if objectives is None or len(objectives.names) > _MOST_MEASURED:
            return None
        return hypervolume(objectives.points(scores))

    def validation_score(self, genome: Genome) -> float | None:
        """Mean score on the validation split; None where there is none or the model fails."""
        task = self.plan.splits.validation
        return None if task is None else self._mean_on(task, genome)

    def row_on(self, task: Task, genome: Genome) -> Row:
        """Scores on all samples of any task, from the journal if they are known."""
        if task is self.task and genome.digest in self._failed:
            return Row(np.zeros(len(self._ids)), failed=self._failed[genome.digest])
        known = self.journal.row(genome.digest, task.digest, len(task.samples))
        if known is not None and known.complete:
            return known
        row = self._full_row(task, genome)
        if row.failed is None:  # the journal knows failures of children on the search samples only
            self.journal.add_scores(bytes.fromhex(genome.digest), task, row)
        return row

    def _mean_on(self, task: Task, genome: Genome) -> float | None:
        digest = genome.digest
        if digest not in self._validated:
            row = self.row_on(task, genome)
            self._validated = {digest: None if row.failed else row.mean}
        return self._validated[digest]

    def _full_row(self, task: Task, genome: Genome) -> Row:
        number = next(i for i, mine in enumerate(self.plan.tasks) if mine.digest == task.digest)
        samples = len(task.samples)
        self.runner.start(_ASIDE, Job(genome, number, samples, _full_visit(samples)))
        return self.runner.finish(_ASIDE).row

    def _visit(self, screening: Screening | None, known: Row | None) -> Visit:
        """Score a child block by block, as far as its fate demands; of a recipe met before, only what is unknown."""
        scores = np.zeros(len(self._ids)) if known is None else known.scores.copy()
        measured = np.zeros(len(self._ids), bool) if known is None else _mask(known).copy()
        count = 0
        for ids in self._blocks(screening):
            new = ids if known is None else ids[~measured[ids]]
            if len(new):
                scores[new] = yield new
                measured[new] = True
                count += len(new)
            if screening is not None:
                screening.record(scores[ids])
        return Scored(Row(scores, None if measured.all() else measured), count)

    def _blocks(self, screening: Screening | None) -> Iterator[np.ndarray]:
        """The samples to score next; with early rejection as long as the child's fate is open."""
        if screening is None:
            yield self._ids
            return
        while (ids := screening.next_samples()) is not None:
            yield ids

    def _next(self) -> _Pending:
        """Ask ahead, let the runner begin with what can begin, and take the oldest child."""
        self._ask_ahead()
        for child in self._pending:
            if not child.started and not self._waits(child):
                self._start(child)
        return self._pending.popleft()

    def _ask_ahead(self) -> None:
        """Ask for children until as many are pending as the runner scores at a time.

        So child k sees what was told of the children up to k - width, in the order of their indices, whichever is
        scored first. All seeds are told before the first child is asked for.
        """
        limit = self.plan.settings.budget.evaluations
        while len(self._pending) < self.runner.width:
            index = self.evaluations + len(self._pending)
            is_early = self.evaluations < len(self.plan.space.seeds) <= index
            if is_early or (limit is not None and index >= limit) or self.search.exhausted:
                return
            asked, proposals = self.search.ask(1)
            if not proposals:
                return
            self._pending.append(_Pending(proposals[0], asked))
            self.search = asked

    def _waits(self, child: _Pending) -> bool:
        """Whether an older child that is pending is the same model, so that nothing is evaluated twice."""
        older = itertools.takewhile(lambda other: other is not child, self._pending)
        return any(other.proposal.digest == child.proposal.digest for other in older)

    def _start(self, child: _Pending) -> None:
        known = None
        if not self.plan.space.mutates:  # a mutated child is like no other, so nothing can be known of it
            known = self.journal.row(child.proposal.digest, self.task.digest, len(self._ids))
        screening = None if known is not None and known.complete else child.state.screen(child.proposal)
        self._submit(child.proposal, screening, known)
        child.started = True

    def _submit(self, proposal: Proposal, screening: Screening | None, known: Row | None) -> None:
        visit = self._visit(screening, known)
        self.runner.start(proposal.index, Job(proposal.genome, 0, len(self._ids), visit))

    def _settled(self, child: _Pending, scored: Scored) -> Scored:
        """A child that was rejected, judged again by the archive it now meets; it may have to be scored further."""
        if scored.row.complete or self.runner.width == 1:
            return scored
        self._submit(child.proposal, self.search.screen(child.proposal), scored.row)
        again = self.runner.finish(child.proposal.index)
        return Scored(again.row, scored.measured + again.measured)

    def _advance(self, told: Search, measured: int, row: Row, digest: str) -> None:
        self.search = told
        if row.failed is not None:
            self._failed[digest] = row.failed
        self.evaluations += 1
        self.measured += measured
        self.failures += row.failed is not None

    def _replay(self) -> None:
        """Tell the fresh search everything the journal knows."""
        for child in self.journal.children():
            self._ask_ahead()
            proposal = self._pending.popleft().proposal if self._pending else None
            if proposal is None or proposal.digest != child.recipe or proposal.index != child.index:
                raise RunError(
                    f"Child {child.index} of {self.journal.path.parent} was {child.recipe}, but replaying the journal "
                    "proposes another one. Resume with the release and the numpy that wrote it."
                )
            row = self.journal.row(child.recipe, self.task.digest, len(self._ids))
            assert row is not None
            if child.failed is not None:
                row = Row(row.scores, None, child.failed)
            self._advance(self.search.tell([proposal], [row]), child.measured, row, child.recipe)
        while self._mark <= self.evaluations:
            self._mark = _next_mark(self._mark)


def _next_mark(mark: int) -> int:
    """The next number of evaluations at which progress is noted: early ones dense, later ones 3 % apart."""
    return max(mark + _SMALLEST_STEP, round(mark * _GROWTH))


def _full_visit(samples: int) -> Visit:
    """All samples at once."""
    scores = yield np.arange(samples)
    return Scored(Row(scores), samples)


def _mask(row: Row) -> np.ndarray:
    return np.ones(len(row.scores), bool) if row.measured is None else row.measured
