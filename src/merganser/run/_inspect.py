"""Looking at runs without running them: list, summarise, compare, export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from merganser._errors import MerganserError, RunError
from merganser.evaluation import Interval, difference_interval
from merganser.merging import MergeRecipe, materialise, read_recipe
from merganser.run._directory import RunDirectory
from merganser.run._expert_file import facts_of, write_expert
from merganser.run._experts import reopened
from merganser.run._front import FrontMember
from merganser.run._outcome import Watched
from merganser.run._savings import NOTHING_SAVED, Savings
from merganser.run._skills import Skill
from merganser.run._subsets import Estimate
from merganser.run._weights import read_weights
from merganser.weights import Checkpoint, open_checkpoint, save


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run on one line.

    Attributes:
        run: The run directory.
        state: `finished`, `unfinished`, or why it cannot be read.
        task: What it evolves on.
        method: How it searches.
        models: What it starts from.
        seed: Its seed.
        created: When, ISO 8601.
        evaluations: Candidates scored so far.
        best: Best mean search score so far.
        validation: Validation score of the winner, or of the best so far.
        test: Test score of the winner with its interval.
        coverage: Share of search samples that some member solves.
        hypervolume: Of several objectives: the share of their space that the members dominate.
        front: Of several objectives: the final members that no other dominates.
        skills: What became of each of several tasks, and of those that were watched.
        seconds: Time spent.
        estimate: What the best search score rests on, of a run that scores children on subsets and is unfinished.
        measured: Sample evaluations made.
        naive: Sample evaluations of a loop that scores every candidate on every search sample.
        savings: Sample evaluations that were not made, by cause.
    """

    run: str
    state: str
    task: str = ""
    method: str = ""
    models: str = ""
    seed: int = 0
    created: str = ""
    evaluations: int = 0
    best: float | None = None
    validation: float | None = None
    test: Interval | None = None
    coverage: float | None = None
    hypervolume: float | None = None
    front: tuple[FrontMember, ...] = ()
    skills: tuple[Skill, ...] = ()
    seconds: float = 0.0
    estimate: Estimate | None = None
    measured: int = 0
    naive: int = 0
    savings: Savings = NOTHING_SAVED

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        tuples = {"test": self.test, "estimate": self.estimate}
        plain = {key: value and value._asdict() for key, value in tuples.items()}
        lists = {
            "front": [member.to_json() for member in self.front],
            "skills": [skill.to_json() for skill in self.skills],
        }
        return {**asdict(self), **plain, **lists}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two finished runs on the same test samples.

    Attributes:
        run: The run.
        other: What it is compared with.
        difference: Mean test score of the run's winner minus that of the other's, paired by sample; None if
            they were tested on other samples, weigh tasks otherwise, or are not finished.
    """

    run: str
    other: str
    difference: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        return {**asdict(self), "difference": None if self.difference is None else self.difference._asdict()}


def summarise(run: str | Path) -> RunSummary:
    """One run on one line.

    Raises:
        RunError: If it is no run, or of another schema.
    """
    directory = RunDirectory(Path(run))
    with directory.journal() as journal:
        meta, outcome, points = journal.meta(), journal.outcome(), journal.progress()
        count, measured, samples = journal.count(), journal.measured(), journal.tasks()[0].samples
    estimate, savings = meta.get("estimate"), Savings(**meta.get("savings", {}))
    settings = directory.settings()
    models = settings.models if isinstance(settings.models, str) else ", ".join(settings.models)
    last = points[-1] if points else None
    summary = {
        "run": str(run),
        "task": " + ".join(t.task for t in settings.weighted_tasks),
        "method": settings.search.method,
        "models": models,
        "seed": settings.seed,
        "created": meta["created"],
        "evaluations": count,
        "seconds": float(meta.get("seconds", 0.0)),
        "best": None if last is None else last.best,
        "coverage": None if last is None else last.coverage,
        "validation": None if last is None else last.validation,
        "measured": measured + savings.rescored,
        "naive": count * samples,
        "savings": savings,
        "hypervolume": None if last is None else last.hypervolume,
    }
    if outcome is None:
        rests = None if estimate is None else Estimate(*estimate)
        return RunSummary(state="unfinished", estimate=rests, **summary)
    test = outcome["test"] and Interval(**outcome["test"])
    front = tuple(map(FrontMember.from_json, outcome.get("front", ())))
    skills = tuple(map(Skill.from_json, outcome.get("skills", ())))
    watched = (Watched.from_json(each).skill for each in outcome.get("watched", ()))
    found = {
        "best": outcome["search"],
        "validation": outcome["validation"],
        "front": front,
        "skills": (*skills, *watched),
    }
    return RunSummary(state="finished", test=test, **{**summary, **found})


def list_runs(folder: str | Path = "runs") -> list[RunSummary]:
    """All runs right below a folder and those that follow them, oldest first; one that cannot be read says why."""
    found = []
    for path in sorted([*Path(folder).glob("*/run.db"), *Path(folder).glob("*/then/run.db")]):
        try:
            found.append(summarise(path.parent))
        except MerganserError as error:
            found.append(RunSummary(str(path.parent), str(error)))
    return sorted(found, key=lambda s: (s.created, s.run))


def compare_runs(runs: Sequence[str | Path]) -> tuple[list[RunSummary], list[Comparison]]:
    """Several runs side by side; each finished one against the first on the same test samples.

    Raises:
        RunError: If one of them is no run.
    """
    summaries = [summarise(run) for run in runs]
    rows = [_test_row(RunDirectory(Path(run))) for run in runs]
    comparisons = []
    for run, row in zip(runs[1:], rows[1:], strict=True):
        first = rows[0]
        difference = None
        if row is not None and first is not None and row.is_like(first):
            difference = difference_interval(row.scores, first.scores, row.weights)
        comparisons.append(Comparison(str(run), str(runs[0]), difference))
    return summaries, comparisons


def export(run: str | Path, out: str | Path, *, recipe: str | None = None) -> Checkpoint:
    """Write a run's winner, or another of its final members, as a checkpoint folder with its recipe.

    Of experts: as an expert's file, if the name of `out` ends in ``.safetensors``, else as the base with the expert in
    its weights.

    Args:
        run: The run directory.
        out: The folder to make, or the expert's file.
        recipe: Digest of the member, or the beginning of it; by default the winner's.

    Raises:
        RunError: If the run is not finished, or there is no such member.
        OutputError: If `out` exists or cannot be written.
        CheckpointError: If a parent cannot be read.
    """
    directory = RunDirectory(Path(run))
    with directory.journal() as journal:
        meta, outcome = journal.meta(), journal.outcome()
    if outcome is None:
        raise RunError(f"{run} is not finished, so it has no winner yet. Go on: merganser runs resume {run}")
    digest = _member(directory, outcome["winner"] if recipe is None else recipe)
    recipe_path = directory.recipe_path(digest)
    config = meta["parents"][0]["config"]
    if meta.get("adapted") is not None:
        settings = directory.settings()
        cache = None if settings.adapt is None else settings.adapt.cache
        facts = facts_of(directory.path, outcome) if digest == outcome["winner"] else {"recipe": digest}
        scales = _scales_of(directory, digest, meta)
        return write_expert(scales, reopened(meta["adapted"], cache), out, facts=facts)
    if not recipe_path.is_file():
        return save(open_checkpoint(directory.tensors_path(digest)), out, config=config)
    return _materialised(recipe_path, directory, meta, out)


def _scales_of(directory: RunDirectory, digest: str, meta: dict[str, Any]) -> Checkpoint:
    """Scales of a final member."""
    recipe = directory.recipe_path(digest)
    return (
        _materialised(recipe, directory, meta)
        if recipe.is_file()
        else open_checkpoint(directory.tensors_path(digest))
    )


def _materialised(
    recipe: Path, directory: RunDirectory, meta: dict[str, Any], out: str | Path | None = None
) -> Checkpoint:
    found, entries = read_recipe(recipe), meta["parents"]
    if isinstance(found, MergeRecipe) and meta["base"] is not None:
        entries = [meta["base"], *entries]
    return materialise(found, [directory.parent(entry).checkpoint for entry in entries], out=out)


def _member(directory: RunDirectory, beginning: str) -> str:
    known = [p.stem for p in directory.recipe_path("x").parent.glob("*.json")]
    known += [p.stem for p in directory.tensors_path("x").parent.glob("*.safetensors") if len(p.stem) == 32]
    matches = [d for d in known if d.startswith(beginning)]
    if len(matches) != 1:
        raise RunError(
            f"Expected the digest of one final member of {directory.path}, but {beginning!r} fits {len(matches)} of "
            f"{', '.join(sorted(known)) or 'none'}."
        )
    return matches[0]


class _TestRow(NamedTuple):
    """A winner's scores on the test samples."""

    task: str
    scores: Float[np.ndarray, " samples"]
    weights: Float[np.ndarray, " samples"] | None

    def is_like(self, other: _TestRow) -> bool:
        """Whether the other's scores are of the same samples, and count the same."""
        if self.task != other.task or (self.weights is None) != (other.weights is None):
            return False
        return self.weights is None or bool((self.weights == other.weights).all())


def _test_row(directory: RunDirectory) -> _TestRow | None:
    with directory.journal() as journal:
        outcome, weights = journal.outcome(), read_weights(journal.meta()).on("test")
        test = next((t for t in journal.tasks() if t.split == "test"), None)
        if outcome is None or test is None:
            return None
        row = journal.row(outcome["winner"], test.digest, test.samples)
    return None if row is None else _TestRow(test.digest, row.scores, weights)
