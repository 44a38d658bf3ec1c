"""A run as a directory.

```
RUN/
  run.db         the journal (SQLite, WAL); run.lock is held by its one writer
  recipes/       final members as recipes, DIGEST.json
  files/         content-addressed tensors, DIGEST.safetensors: seeds made on the spot, final dense members
  report.html    the report, once written
  expert.safetensors   where experts evolve: the winner
  winner/, then/ where another search follows: the winner as a model, and that search's run
```

It appears whole or not at all, and everything in it can be rebuilt from `run.db` and the models it names.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from merganser._errors import ConfigError, RunError
from merganser._version import __version__
from merganser.evaluation import Splits
from merganser.evolution import Objectives
from merganser.run._experts import noted_base, reopened
from merganser.run._journal import Journal
from merganser.run._parents import Parent
from merganser.run._plan import Plan, make_plan
from merganser.run._settings import EvolveSettings, parse_settings
from merganser.weights import Checkpoint, atomic_directory, open_checkpoint, save


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Where things lie in a run.

    Attributes:
        path: The directory.
    """

    path: Path

    @property
    def journal_path(self) -> Path:
        """The database."""
        return self.path / "run.db"

    @property
    def report_path(self) -> Path:
        """The report."""
        return self.path / "report.html"

    def recipe_path(self, digest: str) -> Path:
        """The recipe with this digest."""
        return self.path / "recipes" / f"{digest}.json"

    def tensors_path(self, digest: str) -> Path:
        """The tensors with this digest."""
        return self.path / "files" / f"{digest}.safetensors"

    @property
    def expert_path(self) -> Path:
        """The winner's file, where experts evolve."""
        return self.path / "expert.safetensors"

    @property
    def next(self) -> RunDirectory:
        """The run that follows this one, where the settings ask for a second search."""
        return RunDirectory(self.path / "then")

    @property
    def exists(self) -> bool:
        """Whether there is a run here."""
        return self.journal_path.is_file()

    @property
    def is_finished(self) -> bool:
        """Whether its budget was spent and its winner chosen."""
        with self.journal() as journal:
            return journal.outcome() is not None

    def journal(self, *, write: bool = False) -> Journal:
        """Open the journal.

        Raises:
            RunError: If there is none, it is of another schema, or another process writes it.
        """
        return Journal(self.journal_path, write=write)

    def settings(self) -> EvolveSettings:
        """What the run was asked to do."""
        with self.journal() as journal:
            return parse_settings(journal.meta()["settings"], str(self.path))

    def create(self, plan: Plan) -> None:
        """Make the directory for a plan.

        Raises:
            OutputError: If something is there already, or it cannot be written.
        """
        with atomic_directory(self.path) as folder:
            (folder / "recipes").mkdir()
            (folder / "files").mkdir()
            parents = [_kept(parent, RunDirectory(folder)) for parent in plan.parents]
            meta = {
                "version": __version__,
                "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                "settings": plan.settings.to_json(),
                "parents": parents,
                "base": None if plan.base is None else _kept(plan.base, RunDirectory(folder)),
                "adapted": None if plan.adapted is None else noted_base(plan.adapted),
                "dropped": plan.splits.dropped,
                "size": plan.size,
                "layers": _layer_starts(plan),
                "objectives": _noted_objectives(plan),
                "weights": plan.split_weights.to_json(),
            }
            Journal.create(folder / "run.db", meta, plan.tasks)

    def reopen(self, settings: EvolveSettings, *, splits: Splits | None = None, module: Any = None) -> Plan:
        """The plan of a run that exists, from the very models it was started with.

        Raises:
            RunError: If a model or the data changed since.
        """
        with self.journal() as journal:
            meta = journal.meta()
            known = {task.digest for task in journal.tasks()}
        parents = [self.parent(entry) for entry in meta["parents"]]
        base = self.parent(meta["base"]) if meta.get("base") else None
        adapt, adapted = settings.adapt, None
        if adapt is not None:
            adapted = reopened(meta["adapted"], adapt.cache)
        try:
            plan = make_plan(
                settings, parents=parents, base=base, adapted=adapted, splits=splits, module=module
            )
        except ConfigError as error:
            raise RunError(
                f"{self.path} was started from Python with objects of its own ({error}). Resume it there: "
                f"merganser.evolve(…, run={str(self.path)!r})."
            ) from error
        for task in plan.tasks:
            if task.digest not in known:
                raise RunError(
                    f"The {task.samples.split} samples of `{task.name}` are not those that {self.path} was "
                    "started with. Restore the data, or start a new run."
                )
        return plan

    def sweep(self) -> None:
        """Remove what a killed process left half-written; only for the one writer, who holds the lock."""
        for folder in (self.recipe_path("").parent, self.tensors_path("").parent):
            for left in folder.glob(".*.tmp"):
                left.unlink()

    def parent(self, entry: dict[str, Any]) -> Parent:
        """A parent of the run, checked against the digest it was started with.

        Args:
            entry: What the journal's meta data hold of it.

        Raises:
            RunError: If its file changed since.
            CheckpointError: If it cannot be read.
        """
        kept = self.tensors_path(entry["digest"])
        checkpoint = open_checkpoint(kept if kept.is_file() else entry["path"])
        if checkpoint.digest != entry["digest"]:
            raise RunError(
                f"The parent {entry['name']!r} at {entry['path']} changed: expected digest {entry['digest'][:16]}…, "
                f"found {checkpoint.digest[:16]}…. Restore it, or start a new run."
            )
        if checkpoint.path == kept:
            checkpoint = dataclasses.replace(checkpoint, config=entry["config"])
        return Parent(entry["name"], checkpoint, entry["path"])


def _kept(parent: Parent, directory: RunDirectory) -> dict[str, Any]:
    """What the run notes of a parent; one that lies in no file is written into the run."""
    checkpoint: Checkpoint = parent.checkpoint
    reference = parent.reference if checkpoint.path is None else str(Path(checkpoint.path).resolve())
    if reference is None:
        target = directory.tensors_path(checkpoint.digest)
        if not target.exists():
            save(checkpoint, target)
    return {
        "name": parent.name,
        "digest": checkpoint.digest,
        "path": reference,
        "config": dict(checkpoint.config),
    }


def _noted_objectives(plan: Plan) -> dict[str, Any] | None:
    """Names of the objectives, and to which of them each search sample belongs: a byte each, in hexadecimal digits."""
    found = plan.objectives
    if found is None:
        return None
    return {"names": list(found.names), "owner": found.owner.astype(np.uint8).tobytes().hex()}


def read_objectives(meta: dict[str, Any]) -> Objectives | None:
    """The objectives that a journal's meta data hold; None if the run has none, or began before they were noted."""
    noted = meta.get("objectives")
    if noted is None:
        return None
    return Objectives(tuple(noted["names"]), np.frombuffer(bytes.fromhex(noted["owner"]), np.uint8))


def _layer_starts(plan: Plan) -> list[list[Any]]:
    """Name and first position of each layer in the flat order, for pictures."""
    checkpoint = plan.parents[0].checkpoint
    spans = checkpoint.layout.spans()
    starts = []
    for layer in checkpoint.layers:
        inside = [spans[name][0] for name in layer.tensors if name in spans]
        if inside:
            starts.append([layer.name, min(inside)])
    return starts
