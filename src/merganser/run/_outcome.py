"""The end of a run: choose the winner, score the test once, write what was found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from merganser.evaluation import Interval, ScoreMatrix, Task
from merganser.evolution import (
    CmaEs,
    Member,
    RecipeGenome,
    RecipeSpace,
    coverage,
    entropy,
    weighted_mean,
    weighted_means,
)
from merganser.merging import Combination, Ingredient, LayerPath, MergeRecipe, write_recipe
from merganser.run._answers import Answered, telling_answers
from merganser.run._directory import RunDirectory
from merganser.run._episodes import told_goals
from merganser.run._expert_file import facts_of, write_expert
from merganser.run._front import FrontMember, front_members
from merganser.run._loop import Evolution, MemberScores
from merganser.run._savings import NOTHING_SAVED, Savings
from merganser.run._skills import Skill, skills_of
from merganser.run._subsets import Estimate
from merganser.weights import Checkpoint, fingerprint, save


@dataclass(frozen=True, slots=True)
class ModelScores:
    """What one model scored on each split.

    Attributes:
        name: What people call it.
        digest: Of its recipe.
        search: Mean score on the search samples; of several tasks, here and below, as they are weighted.
        validation: Mean score on the validation samples; None without such a split.
        test: Mean score on the test samples with its interval; None without such a split.
        failed: Why it could not be scored.
    """

    name: str
    digest: str
    search: float
    validation: float | None
    test: Interval | None
    failed: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        test = None if self.test is None else self.test._asdict()
        return {
            "name": self.name,
            "digest": self.digest,
            "search": self.search,
            "validation": self.validation,
            "test": test,
            "failed": self.failed,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ModelScores:
        """Read the plain form."""
        return cls(**{**data, "test": None if data["test"] is None else Interval(**data["test"])})


@dataclass(frozen=True, slots=True)
class Watched:
    """Scores on a task that nothing was selected on: what was gained or lost beside the aim.

    Attributes:
        task: Name of the task.
        winner: The winner's mean score with its interval.
        parents: Those of the parents, by name.
        change: Winner minus the best parent on this task.
    """

    task: str
    winner: Interval
    parents: dict[str, Interval]
    change: Interval

    @property
    def skill(self) -> Skill:
        """The same beside the tasks of the test."""
        best = max(self.parents, key=lambda name: self.parents[name].value)
        return Skill(self.task, self.winner, self.parents, {}, best, self.change, watched=True)

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        parents = {name: interval._asdict() for name, interval in self.parents.items()}
        return {
            "task": self.task,
            "winner": self.winner._asdict(),
            "parents": parents,
            "change": self.change._asdict(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Watched:
        """Read the plain form."""
        parents = {name: Interval(**interval) for name, interval in data["parents"].items()}
        return cls(data["task"], Interval(**data["winner"]), parents, Interval(**data["change"]))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found.

    Attributes:
        run: The run directory.
        finished: Whether the budget was spent; False if the user stopped the run.
        winner: The winner's scores.
        parents: The parents' scores.
        untuned: Of merges by rule: the scores of the merge with the method's defaults; else None.
        baselines: Scores of merges by rule that the settings ask for, with their defaults.
        watched: Scores on the tasks that are watched.
        skills: Of several tasks: what became of each of them on the test samples.
        savings: The sample evaluations saved, by cause.
        estimate: On how few search samples search scores and coverage may rest, while a run that scores children on
            subsets is unfinished; else None: they are known in full.
        answers: Of language models: some questions of the test, with what the parents and the winner answered.
        front: Of several objectives: the members that no other dominates on the search samples, by their index.
        path: Of a search for paths: the winner's.
        gain: Winner minus the best parent (chosen as the winner is) on the test samples.
        coverage: Share of search samples that some member solves.
        entropy: Mean disagreement of the members, bits.
        evaluations: Candidates scored, parents included.
        samples_saved: Sample evaluations that scoring every candidate in full would have cost on top.
        samples_measured: Sample evaluations that were made.
        failures: Candidates that failed.
        seconds: Time spent, over all sittings.
        checkpoint: The winner's weights; None if the run was stopped, and for language models, which `export` writes.
        warnings: What casts doubt on the result.
    """

    run: Path
    finished: bool
    winner: ModelScores | None
    parents: tuple[ModelScores, ...]
    untuned: ModelScores | None
    gain: Interval | None
    coverage: float
    entropy: float
    evaluations: int
    samples_saved: int
    samples_measured: int
    failures: int
    seconds: float
    checkpoint: Checkpoint | None = field(default=None, repr=False)
    warnings: tuple[str, ...] = ()
    baselines: tuple[ModelScores, ...] = ()
    watched: tuple[Watched, ...] = ()
    savings: Savings = NOTHING_SAVED
    estimate: Estimate | None = None
    answers: tuple[Answered, ...] = ()
    front: tuple[FrontMember, ...] = ()
    path: LayerPath | None = None
    skills: tuple[Skill, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """One flat object: the winner's figures at the top, the parents' beside them."""
        winner = None if self.winner is None else self.winner.to_json()
        return {
            "run": str(self.run),
            "finished": self.finished,
            "winner": None if winner is None else winner["digest"],
            "search": None if winner is None else winner["search"],
            "validation": None if winner is None else winner["validation"],
            "test": None if winner is None else winner["test"],
            "gain": None if self.gain is None else self.gain._asdict(),
            "parents": [p.to_json() for p in self.parents],
            "untuned": None if self.untuned is None else self.untuned.to_json(),
            "baselines": [b.to_json() for b in self.baselines],
            "watched": [w.to_json() for w in self.watched],
            "skills": [s.to_json() for s in self.skills],
            "answers": [a.to_json() for a in self.answers],
            "front": [m.to_json() for m in self.front],
            "path": None if self.path is None else self.path.to_json(),
            "coverage": self.coverage,
            "entropy": self.entropy,
            "evaluations": self.evaluations,
            "samples_saved": self.samples_saved,
            "samples_measured": self.samples_measured,
            "savings": self.savings.to_json(),
            "estimate": None if self.estimate is None else self.estimate._asdict(),
            "failures": self.failures,
            "seconds": self.seconds,
            "warnings": list(self.warnings),
        }


def conclude(evolution: Evolution, directory: RunDirectory) -> Outcome:
    """Choose, test and write; doing it twice gives the same.

    Raises:
        OutputError: If the winner cannot be written; the run stays resumable.
    """
    evolution.score_in_full()
    evolution.note_progress()
    winner = _choose(evolution)
    for member in evolution.search.members:
        _write_member(evolution, directory, member)
    outcome = _outcome(evolution, directory, winner)
    plan = evolution.plan
    if plan.adapted is not None:
        facts, place = facts_of(directory.path, outcome.to_json()), directory.expert_path
        write_expert(plan.checkpoint(winner.genome), plan.adapted, place, facts=facts, overwrite=True)
    evolution.save()
    told = told_goals(evolution, winner.genome)
    evolution.journal.commit({"outcome": outcome.to_json(), "episodes": [goal.to_json() for goal in told]})
    return outcome


def interrupted(evolution: Evolution, directory: RunDirectory) -> Outcome:
    """What is known of a run that was stopped."""
    evolution.note_progress()
    evolution.save()
    return _outcome(evolution, directory, None)


def _choose(evolution: Evolution) -> Member:
    """The member with the best validation score; search score decides between equals, then age.

    Where merges by rule are searched it is one of them: the models themselves are there for comparison.
    """
    members = evolution.search.members
    members = [m for m in members if isinstance(m.genome, RecipeGenome)] or members
    means = weighted_means(np.stack([m.scores for m in members]), evolution.plan.weights)
    if evolution.plan.splits.validation is None:
        held_out = [0.0] * len(members)
    else:
        held_out = [evolution.validation_score(m.genome) or 0.0 for m in members]
    best = max(range(len(members)), key=lambda i: (held_out[i], means[i], -members[i].index))
    return members[best]


def _write_member(evolution: Evolution, directory: RunDirectory, member: Member) -> None:
    genome = member.genome
    if isinstance(genome, Combination | LayerPath | RecipeGenome):
        path = directory.recipe_path(genome.digest)
        if not path.exists():
            write_recipe(_recipe(evolution, genome) if isinstance(genome, RecipeGenome) else genome, path)
    else:
        path = directory.tensors_path(genome.digest)
        if not path.exists():
            save(evolution.plan.checkpoint(genome), path)


def _recipe(evolution: Evolution, genome: RecipeGenome) -> MergeRecipe:
    """The recipe of a merge by rule; models are named as the run noted them when it began."""
    meta = evolution.journal.meta()
    entries = [*([] if meta["base"] is None else [meta["base"]]), *meta["parents"]]
    ingredients = (
        Ingredient(entry["path"], fingerprint(model), model.digest)
        for entry, model in zip(entries, evolution.plan.ingredients, strict=True)
    )
    return MergeRecipe(genome.blueprint, tuple(ingredients))


def _outcome(evolution: Evolution, directory: RunDirectory, winner: Member | None) -> Outcome:
    plan, members = evolution.plan, evolution.search.members
    nothing = MemberScores(np.zeros((1, len(evolution.task.samples))), None)
    scores, measured = evolution.member_scores() if members else nothing
    matrix, merges = dict[str, np.ndarray](), dict[str, np.ndarray]()
    parents = tuple(
        _scores_of(evolution, parent.name, genome, matrix, tested=winner is not None)
        for parent, genome in zip(plan.parents, plan.space.seeds, strict=False)
    )
    plain = plan.space.untuned if isinstance(plan.space, RecipeSpace) else None
    untuned = None
    if plain is not None:
        untuned = _scores_of(evolution, "untuned", plain, matrix, tested=winner is not None)
    won = None if winner is None else _scores_of(evolution, "winner", winner.genome, matrix, tested=True)
    baselines = () if winner is None else plan.baselines
    scored = tuple(_scores_of(evolution, *named, merges, tested=True) for named in baselines)
    return Outcome(
        run=directory.path,
        finished=winner is not None,
        winner=won,
        parents=parents,
        untuned=untuned,
        gain=_gain(evolution, parents, won, matrix),
        coverage=coverage(scores, measured),
        entropy=entropy(scores, measured),
        evaluations=evolution.evaluations,
        samples_saved=evolution.samples_saved,
        samples_measured=evolution.measured,
        savings=evolution.savings,
        estimate=None if winner is not None or plan.subsets is None else plan.subsets.least,
        failures=evolution.failures,
        seconds=evolution.seconds,
        checkpoint=None if winner is None or plan.is_spoken else plan.checkpoint(winner.genome),
        warnings=_warnings(evolution),
        baselines=scored,
        watched=() if winner is None else tuple(_watched(evolution, task, winner) for task in plan.watched),
        answers=() if winner is None else _answers(evolution, winner, matrix),
        front=() if winner is None else front_members(evolution),
        path=winner.genome if winner is not None and isinstance(winner.genome, LayerPath) else None,
        skills=() if winner is None else _skills(evolution, matrix, merges),
    )


def _watched(evolution: Evolution, task: Task, winner: Member) -> Watched:
    plan = evolution.plan
    seeds = zip(plan.parents, plan.space.seeds, strict=False)
    rows = {parent.name: evolution.row_on(task, genome).scores for parent, genome in seeds}
    best = max(rows, key=lambda name: float(rows[name].mean()))
    rows["winner"] = evolution.row_on(task, winner.genome).scores
    matrix = ScoreMatrix.of(rows, task.samples.hashes)
    parents = {parent.name: matrix.interval(parent.name) for parent in plan.parents}
    return Watched(task.name, matrix.interval("winner"), parents, matrix.difference("winner", best))


def _skills(
    evolution: Evolution, rows: dict[str, np.ndarray], merges: dict[str, np.ndarray]
) -> tuple[Skill, ...]:
    test = evolution.plan.splits.test
    if test is None:
        return ()
    parents = {parent.name: rows[parent.name] for parent in evolution.plan.parents}
    return skills_of(test, rows["winner"], parents, merges)


def _answers(evolution: Evolution, winner: Member, matrix: dict[str, np.ndarray]) -> tuple[Answered, ...]:
    plan = evolution.plan
    seeds = zip(plan.parents, plan.space.seeds, strict=False)
    genomes = {**{parent.name: genome for parent, genome in seeds}, "winner": winner.genome}
    return telling_answers(plan, plan.splits.test, genomes, matrix)


def _warnings(evolution: Evolution) -> tuple[str, ...]:
    search = evolution.search
    if not isinstance(search, CmaEs) or not search.plateaus:
        return ()
    return (
        f"In {search.plateaus} of {search.generations} generations all candidates scored the same, so the search "
        "learnt nothing from them. Give the task more samples, or one with finer scores than right and wrong.",
    )


def _scores_of(
    evolution: Evolution, name: str, genome: Any, matrix: dict[str, np.ndarray], *, tested: bool
) -> ModelScores:
    splits = evolution.plan.splits
    if tested or evolution.plan.subsets is None:
        search = evolution.row_on(splits.search, genome)
    else:
        search = evolution.row_so_far(genome)
    mean = weighted_mean(search.scores, evolution.plan.weights, search.measured)
    test = None
    if tested and splits.test is not None:
        row = evolution.row_on(splits.test, genome)
        matrix[name] = row.scores
        test = _test_matrix(evolution, splits.test, {name: row.scores}).interval(name)
    return ModelScores(name, genome.digest, mean, evolution.validation_score(genome), test, search.failed)


def _gain(
    evolution: Evolution,
    parents: tuple[ModelScores, ...],
    winner: ModelScores | None,
    matrix: dict[str, np.ndarray],
) -> Interval | None:
    test = evolution.plan.splits.test
    if winner is None or test is None:
        return None
    best = max(parents, key=lambda p: (p.validation or 0.0, p.search))
    return _test_matrix(evolution, test, matrix).difference(winner.name, best.name)


def _test_matrix(evolution: Evolution, test: Task, rows: dict[str, np.ndarray]) -> ScoreMatrix:
    return ScoreMatrix.of(rows, test.samples.hashes, weights=evolution.plan.split_weights.on("test"))
