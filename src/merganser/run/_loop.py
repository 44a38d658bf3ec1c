"""The loop that joins the rooms: ask, materialise, score, tell, journal.

A run is resumed by telling a fresh search what the journal holds. Rejected children are not built again, nothing is
evaluated again, and each proposal must have the digest that the journal noted, so a replay that went astray is
noticed at the first child.

Where children are scored on subsets of the search samples, the search knows the subset of the turn only: rows are cut
down to it before the search is told, while the journal keeps all that is known of a recipe. A turn begins once all
children of the turn before are told; rivals are scored on the new samples first. At the end the search is moved to all
samples, which scores its members in full.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from merganser._errors import RunError
from merganser.evaluation import Task
from merganser.evolution import (
    Genome,
    Member,
    Proposal,
    Row,
    Screening,
    Search,
    SubsetSearch,
    coverage,
    entropy,
    hypervolume,
    weighted_means,
)
from merganser.run._journal import Journal, Progress
from merganser.run._plan import Plan
from merganser.run._runners import Here, Job, Runner, Scored
from merganser.run._savings import Savings
from merganser.run._subsets import Estimate
from merganser.run._visits import failed_on, mask_of, visit

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
    known: Row | None = None


class MemberScores(NamedTuple):
    """What is known of the members' scores.

    Args:
        scores: On every search sample; 0 where not measured.
        measured: What was measured; None if everything was.
    """

    scores: Float[np.ndarray, "members samples"]
    measured: Bool[np.ndarray, "members samples"] | None


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
        self._all = self._ids = np.arange(len(self.task.samples))
        self._turn = -1
        self._validated: dict[str, float | None] = {}
        self._failed: dict[str, str] = {}
        self._mark = _next_mark(0)
        meta = journal.meta()
        self._saved = Savings(**meta.get("savings", {})).to_json()
        self.estimate = Estimate(*meta["estimate"]) if meta.get("estimate") else None
        self._earlier, self._since = float(meta.get("seconds", 0.0)), time.monotonic()
        self._replay()
        self.measured += self._saved["rescored"]

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
        return self.evaluations * len(self._all) - self.measured

    @property
    def savings(self) -> Savings:
        """The same, told apart by cause."""
        return Savings(**self._saved)

    def step(self) -> None:
        """One child: tell the oldest one that was asked for, once it is scored, and note it."""
        child = self._next()
        proposal = child.proposal
        found, measured = self._settled(child, self.runner.finish(proposal.index))
        row = self._on_turn(found)
        told = self.search.tell([proposal], [row])
        accepted = told.members is not self.search.members
        score, clock = self.plan.split_weights.mean(row, "search", self._ids), self.seconds
        self.journal.add_child(proposal, row, score=score, accepted=accepted, measured=measured, clock=clock)
        if found.failed is not None and self.plan.subsets is not None:
            found = failed_on(self._ids, len(self._all), child.known)
        self.journal.add_scores(bytes.fromhex(proposal.digest), self.task, found)
        self._count(child, row, measured)
        self._advance(told, measured, row, proposal.digest)
        if self.evaluations == self._mark:
            self.note_progress()
            self._mark = _next_mark(self._mark)

    def save(self) -> None:
        """Commit everything, with what a resumed run and a report of an unfinished one need."""
        members = [m.index for m in self.search.members]
        self.journal.set_meta(
            seconds=self.seconds, members=members, savings=self._saved, estimate=self.estimate
        )
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
        scores, measured = self.member_scores()
        means = weighted_means(scores, self.plan.weights, measured)
        best = int(means.argmax())
        if self.plan.subsets is not None:
            known = len(self._all) if measured is None else int(np.count_nonzero(measured[best]))
            self.estimate = self.plan.subsets.estimate(known)
        self.point = Progress(
            self.evaluations,
            float(means[best]),
            float(means.mean()),
            self.validation_score(members[best].genome),
            coverage(scores, measured),
            entropy(scores, measured),
            len(members),
            self.measured,
            self.seconds,
            None if measured is not None else self._hypervolume(scores),
        )
        self.journal.add_progress(self.point)

    def member_scores(self) -> MemberScores:
        """What is known of the members, of which there must be some, on the search samples."""
        members = self.search.members
        if len(self._ids) == len(self._all):
            return MemberScores(np.stack([m.scores for m in members]), None)
        rows = [self.row_so_far(m.genome) for m in members]
        measured = np.stack([mask_of(row) for row in rows])
        return MemberScores(np.stack([row.scores for row in rows]), None if measured.all() else measured)

    def score_in_full(self) -> None:
        """Score members and parents on all search samples, where that was not done before."""
        if self.plan.subsets is not None:
            self._known_on(self.plan.space.seeds, self._all)
            self._move(self._all, self.search.members)

    def _hypervolume(self, scores: Float[np.ndarray, "members samples"]) -> float | None:
        objectives = self.plan.objectives
        if objectives is None or len(objectives.names) > _MOST_MEASURED:
            return None
        return hypervolume(objectives.points(scores))

    def validation_score(self, genome: Genome) -> float | None:
        """Mean score on the validation split, as tasks are weighted; None where there is none or the model fails."""
        task, digest = self.plan.splits.validation, genome.digest
        if task is None:
            return None
        if digest not in self._validated:
            row = self.row_on(task, genome)
            mean = None if row.failed else self.plan.split_weights.mean(row, "validation")
            self._validated = {digest: mean}
        return self._validated[digest]

    def row_on(self, task: Task, genome: Genome) -> Row:
        """Scores on all samples of any task, from the journal if they are known."""
        if task is self.task and genome.digest in self._failed:
            return self.row_so_far(genome)
        known = self.journal.row(genome.digest, task.digest, len(task.samples))
        if known is not None and known.complete:
            return known
        row = self._full_row(task, genome)
        if row.failed is None:  # the journal knows failures of children on the search samples only
            self.journal.add_scores(bytes.fromhex(genome.digest), task, row)
        return row

    def row_so_far(self, genome: Genome) -> Row:
        """What is known of a recipe's scores on the search samples; one that failed as a child scores 0 on all."""
        if genome.digest in self._failed:
            return Row(np.zeros(len(self._all)), failed=self._failed[genome.digest])
        known = self.journal.row(genome.digest, self.task.digest, len(self._all))
        nothing = Row(np.zeros(len(self._all)), np.zeros(len(self._all), bool))
        return nothing if known is None else known

    def _full_row(self, task: Task, genome: Genome) -> Row:
        number = next(i for i, mine in enumerate(self.plan.tasks) if mine.digest == task.digest)
        samples = len(task.samples)
        margins = task is self.task and self.plan.heeds_margins
        visiting = visit(samples, np.arange(samples), margins=margins)
        self.runner.start(_ASIDE, Job(genome, number, samples, visiting))
        return self.runner.finish(_ASIDE).row

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
        scored first. All seeds are told before the first child is asked for, and all children of a turn before
        the first of the next one.
        """
        limit = self.plan.settings.budget.evaluations
        while len(self._pending) < self.runner.width:
            index = self.evaluations + len(self._pending)
            is_early = self.evaluations < len(self.plan.space.seeds) <= index
            if is_early or (limit is not None and index >= limit) or self.search.exhausted:
                return
            if not self._knows_turn_of(index):
                return
            asked, proposals = self.search.ask(1)
            if not proposals:
                return
            self._pending.append(_Pending(proposals[0], asked))
            self.search = asked

    def _knows_turn_of(self, index: int) -> bool:
        """Whether the search knows the samples of a candidate's turn; it is moved to them once nobody is pending."""
        subsets = self.plan.subsets
        if subsets is None or subsets.turn_of(index) == self._turn:
            return True
        if self._pending:
            return False
        assert isinstance(self.search, SubsetSearch)
        self._turn = subsets.turn_of(index)
        self._move(subsets.ids(self._turn), self.search.rivals)
        return True

    def _move(self, ids: Int[np.ndarray, " subset"], members: Sequence[Member]) -> None:
        """Have the search go on with these samples, and these members known there."""
        assert isinstance(self.search, SubsetSearch)
        rows = self._known_on([m.genome for m in members], ids)
        scores = {m.index: rows[m.genome.digest].scores[ids] for m in members}
        self._ids, self.search = ids, self.search.on(self.plan.weights[ids], scores)

    def _known_on(self, genomes: Iterable[Genome], ids: Int[np.ndarray, " subset"]) -> dict[str, Row]:
        """Rows of recipes, by digest, that are known on these search samples; what is not known is measured.

        One that fails now scores 0 on those that were not known of it.
        """
        samples, rows, asked = len(self._all), dict[str, Row](), dict[str, tuple[int, Row]]()
        for genome in {genome.digest: genome for genome in genomes}.values():
            known = self.row_so_far(genome)
            if known.on(ids).complete:
                rows[genome.digest] = known
            else:
                key = _ASIDE - len(asked)
                visiting = visit(samples, ids, known=known, margins=self.plan.heeds_margins)
                self.runner.start(key, Job(genome, 0, samples, visiting))
                asked[genome.digest] = key, known
        for digest, (key, known) in asked.items():
            found, measured = self.runner.finish(key)
            rows[digest] = found if found.failed is None else failed_on(ids, samples, known)
            self.journal.add_scores(bytes.fromhex(digest), self.task, rows[digest])
            self.measured += measured
            self._saved["rescored"] += measured
        return rows

    def _on_turn(self, row: Row) -> Row:
        """What the search is told of a row: what is known on the samples of the turn."""
        return row if self.plan.subsets is None else row.on(self._ids)

    def _waits(self, child: _Pending) -> bool:
        """Whether an older child that is pending is the same model, so that nothing is evaluated twice."""
        older = itertools.takewhile(lambda other: other is not child, self._pending)
        return any(other.proposal.digest == child.proposal.digest for other in older)

    def _start(self, child: _Pending) -> None:
        known = None
        if not self.plan.space.mutates:  # a mutated child is like no other, so nothing can be known of it
            known = self.journal.row(child.proposal.digest, self.task.digest, len(self._all))
        is_known = known is not None and self._on_turn(known).complete
        screening = None if is_known else child.state.screen(child.proposal)
        self._submit(child.proposal, screening, known)
        child.started, child.known = True, known

    def _submit(self, proposal: Proposal, screening: Screening | None, known: Row | None) -> None:
        samples = len(self._all)
        visiting = visit(
            samples, self._ids, screening=screening, known=known, margins=self.plan.heeds_margins
        )
        self.runner.start(proposal.index, Job(proposal.genome, 0, samples, visiting))

    def _settled(self, child: _Pending, scored: Scored) -> Scored:
        """A child that was rejected, judged again by the archive it now meets; it may have to be scored further."""
        if self.runner.width == 1 or self._on_turn(scored.row).complete:
            return scored
        self._submit(child.proposal, self.search.screen(child.proposal), scored.row)
        again = self.runner.finish(child.proposal.index)
        return Scored(again.row, scored.measured + again.measured)

    def _count(self, child: _Pending, row: Row, measured: int) -> None:
        """Note why a child was not scored on every search sample."""
        known = 0 if child.known is None else int(np.count_nonzero(mask_of(child.known)[self._ids]))
        missing = len(self._ids) - known - measured
        self._saved["cache"] += known
        self._saved["rejection" if row.failed is None else "failures"] += missing
        self._saved["subsets"] += len(self._all) - len(self._ids)

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
            known = self.journal.row(child.recipe, self.task.digest, len(self._all))
            assert known is not None
            row = self._on_turn(known)
            if child.failed is not None:
                row = Row(np.zeros(len(self._ids)), None, child.failed)
            self._advance(self.search.tell([proposal], [row]), child.measured, row, child.recipe)
        while self._mark <= self.evaluations:
            self._mark = _next_mark(self._mark)


def _next_mark(mark: int) -> int:
    """The next number of evaluations at which progress is noted: early ones dense, later ones 3 % apart."""
    return max(mark + _SMALLEST_STEP, round(mark * _GROWTH))
