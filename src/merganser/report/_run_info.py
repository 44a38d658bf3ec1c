"""The facts of a run, read from its journal: what every section of a report starts from.

A run may be going on while it is read. Final figures are read first and the event log after the list of
members, so whatever is named was written before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from merganser.evaluation import Interval
from merganser.run import (
    Answered,
    Child,
    Estimate,
    EvolveSettings,
    FrontMember,
    Journal,
    ModelScores,
    Progress,
    RunDirectory,
    Savings,
    Skill,
    SplitWeights,
    TaskRecord,
    ToldGoal,
    Watched,
    parse_settings,
    read_weights,
)


class Failure(NamedTuple):
    """Why candidates failed, and how many did for this reason."""

    reason: str
    candidates: int


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a run is and what it found.

    Attributes:
        path: The run directory.
        settings: What it was asked to do.
        created: When it began, ISO 8601.
        version: The release that began it.
        seconds: Time spent so far, over all sittings.
        size: Number of parameters of each model.
        layers: Name and first flat position of each layer.
        dropped: Samples left out because a later split holds the same content.
        splits: The task's splits, the search split first.
        digests: Digest of each parent's checkpoint.
        parents: What each parent scored.
        winner: What the winner scored; None while the run is not finished.
        baselines: What merges by rule scored that the winner is compared with.
        watched: Scores on the tasks that nothing was selected on.
        skills: What became of each of several tasks on the test samples.
        weights: What the samples of several tasks count in means over a split.
        answers: Some questions of the test, with what the parents and the winner answered.
        front: Of several objectives: the final members that no other dominates; empty while the run is not finished.
        gain: Winner minus the best parent on the test samples; None without a test or a winner.
        leader: Index of the winner, or of the best member while there is none; None without members.
        members: Indices of the candidates that the search holds now.
        progress: The progress curve.
        events: The candidates that became a member at some time, and the seeds, by index.
        evaluations: Candidates scored.
        measured: Sample evaluations made.
        failures: Reasons of failures, the most frequent first.
        savings: Sample evaluations that were not made, by cause.
        estimate: What the best search score so far rests on, of a run that scores children on subsets; None in full.
        subset: What search scores of the curve and of the log rest on at least; None if on all samples.
        episodes: What winner and parents did about some test goals, where the task has turns.
    """

    path: Path
    settings: EvolveSettings
    created: str
    version: str
    seconds: float
    size: int
    layers: tuple[tuple[str, int], ...]
    dropped: int
    splits: tuple[TaskRecord, ...]
    digests: tuple[str, ...]
    parents: tuple[ModelScores, ...]
    winner: ModelScores | None
    baselines: tuple[ModelScores, ...]
    watched: tuple[Watched, ...]
    skills: tuple[Skill, ...]
    weights: SplitWeights
    answers: tuple[Answered, ...]
    front: tuple[FrontMember, ...]
    gain: Interval | None
    leader: int | None
    members: tuple[int, ...]
    progress: tuple[Progress, ...]
    events: dict[int, Child]
    evaluations: int
    measured: int
    failures: tuple[Failure, ...]
    savings: Savings
    estimate: Estimate | None
    subset: Estimate | None
    episodes: tuple[ToldGoal, ...]

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.winner is not None

    @property
    def search(self) -> TaskRecord:
        """The split that the search sees."""
        return self.splits[0]

    @property
    def saved(self) -> int:
        """Sample evaluations that scoring every candidate in full would have cost on top."""
        return self.evaluations * self.search.samples - self.measured

    @property
    def best_parent(self) -> ModelScores:
        """The parent that would have been chosen as the winner was."""
        return max(self.parents, key=lambda p: (p.validation or 0.0, p.search))

    @property
    def overfit(self) -> float | None:
        """Search minus validation score, of the winner or the best member so far; None without validation."""
        if self.winner is not None:
            best, held_out = self.winner.search, self.winner.validation
        elif self.progress:
            best, held_out = self.progress[-1].best, self.progress[-1].validation
        else:
            return None
        return None if held_out is None else best - held_out

    def split(self, name: str) -> TaskRecord | None:
        """The split of this name; None if the run has none."""
        return next((s for s in self.splits if s.split == name), None)

    def layer_of(self, position: int) -> str | None:
        """Name of the layer that holds a flat position."""
        return next((name for name, start in reversed(self.layers) if start <= position), None)


def run_info(run: str | Path) -> RunInfo:
    """Read the facts of a run, finished or not.

    Args:
        run: The run directory.

    Raises:
        RunError: If it is no run directory, or one of another schema.
    """
    directory = RunDirectory(Path(run))
    with directory.journal() as journal:
        outcome: dict[str, Any] = journal.outcome() or {}
        meta = journal.meta()
        splits = tuple(journal.tasks())
        episodes = tuple(map(ToldGoal.from_json, journal.episodes()))
        log = _Log.of(journal.children())
        progress = tuple(journal.progress())
        names = tuple(entry["name"] for entry in meta["parents"])
        weights = read_weights(meta)
        parents = _parents_so_far(journal, log, splits, names, weights)
        if outcome:
            parents = tuple(map(ModelScores.from_json, outcome["parents"]))
    winner = _winner(outcome) if outcome else None
    members = tuple(meta.get("members", ()))
    settings = parse_settings(meta["settings"], str(directory.path))
    savings, rests = Savings(**meta.get("savings", {})), meta.get("estimate")
    return RunInfo(
        path=directory.path,
        settings=settings,
        created=meta["created"],
        version=meta["version"],
        seconds=outcome.get("seconds", meta.get("seconds", 0.0)),
        size=meta["size"],
        layers=tuple((name, start) for name, start in meta["layers"]),
        dropped=meta["dropped"],
        splits=splits,
        digests=tuple(entry["digest"] for entry in meta["parents"]),
        parents=parents,
        winner=winner,
        baselines=tuple(map(ModelScores.from_json, outcome.get("baselines", ()))),
        watched=tuple(map(Watched.from_json, outcome.get("watched", ()))),
        skills=tuple(map(Skill.from_json, outcome.get("skills", ()))),
        weights=weights,
        answers=tuple(map(Answered.from_json, outcome.get("answers", ()))),
        front=tuple(map(FrontMember.from_json, outcome.get("front", ()))),
        gain=None if not outcome.get("gain") else Interval(**outcome["gain"]),
        leader=_leader(log.events, members, winner),
        members=members,
        progress=progress,
        events=log.events,
        evaluations=log.count,
        measured=log.measured + savings.rescored,
        failures=tuple(Failure(*pair) for pair in log.reasons.most_common()),
        savings=savings,
        estimate=None if outcome or rests is None else Estimate(*rests),
        subset=_subset(settings, splits[0].samples),
        episodes=episodes,
    )


@dataclass(frozen=True, slots=True)
class _Log:
    """One pass over the event log; candidates that were turned down leave only their counts."""

    events: dict[int, Child]
    count: int
    measured: int
    reasons: Counter[str]

    @classmethod
    def of(cls, children: Iterable[Child]) -> _Log:
        events: dict[int, Child] = {}
        reasons: Counter[str] = Counter()
        count = measured = 0
        for child in children:
            count, measured = count + 1, measured + child.measured
            if child.failed is not None:
                reasons[child.failed] += 1
            if child.accepted or child.kind == "seed":
                events[child.index] = child
        return cls(events, count, measured, reasons)


def _subset(settings: EvolveSettings, samples: int) -> Estimate | None:
    """The smallest number of search samples that a candidate is scored on."""
    if settings.subset is None or settings.subset.samples >= samples:
        return None
    return Estimate(samples // -(-samples // settings.subset.samples), samples)


def _winner(outcome: dict[str, Any]) -> ModelScores:
    test = None if outcome["test"] is None else Interval(**outcome["test"])
    return ModelScores("winner", outcome["winner"], outcome["search"], outcome["validation"], test)


def _parents_so_far(
    journal: Journal,
    log: _Log,
    splits: tuple[TaskRecord, ...],
    names: tuple[str, ...],
    weights: SplitWeights,
) -> tuple[ModelScores, ...]:
    """What is known of the parents before the end: they are the first candidates."""
    known = [(name, log.events[k]) for k, name in enumerate(names) if k in log.events]
    held_out = next((s for s in splits if s.split == "validation"), None)
    parents = []
    for name, seed in known:
        row = None if held_out is None else journal.row(seed.recipe, held_out.digest, held_out.samples)
        validation = None if row is None else weights.mean(row, "validation")
        parents.append(ModelScores(name, seed.recipe, seed.score, validation, None, seed.failed))
    return tuple(parents)


def _leader(events: dict[int, Child], members: tuple[int, ...], winner: ModelScores | None) -> int | None:
    """Index of the winner among the members; while there is none, of the one with the best search score."""
    if winner is not None:
        same = [i for i in members if i in events and events[i].recipe == winner.digest]
        if same:
            return same[0]
    return max((i for i in members if i in events), key=lambda i: events[i].score, default=None)
