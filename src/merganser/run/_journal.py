"""The journal of a run: one SQLite file that holds everything the run has learnt.

| table | one row per |
| --- | --- |
| `meta` | setting of the run |
| `tasks` | task and split |
| `children` | candidate, in the order of its index: the event log |
| `scores` | (recipe, task): packed scores, the mask of what was measured, margins where the search heeds them |
| `progress` | point of the progress curve |
| `results` | final figure |

Written by one process (a lock file says so), committed about twice a second: what was lost is recomputed. Columns named
`clock` hold seconds and are the only ones that differ between two undisturbed runs.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from merganser._errors import OutputError, RunError
from merganser.evaluation import Task, pack_mask, pack_scores, unpack_mask, unpack_scores
from merganser.evolution import Proposal, Row

SCHEMA_VERSION = 3
COMMIT_SECONDS = 0.5

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE tasks (
    id INTEGER PRIMARY KEY, digest TEXT UNIQUE, name TEXT, split TEXT, samples INTEGER, binary INTEGER);
CREATE TABLE children (
    idx INTEGER PRIMARY KEY, recipe BLOB NOT NULL, kind TEXT NOT NULL, first INTEGER, second INTEGER,
    weight REAL, split INTEGER, accepted INTEGER NOT NULL, measured INTEGER NOT NULL, score REAL NOT NULL,
    failed TEXT, clock REAL);
CREATE TABLE scores (
    recipe BLOB NOT NULL, task INTEGER NOT NULL, row BLOB NOT NULL, mask BLOB, margins BLOB,
    PRIMARY KEY (recipe, task)) WITHOUT ROWID;
CREATE TABLE progress (
    evaluations INTEGER PRIMARY KEY, best REAL, mean REAL, validation REAL, coverage REAL, entropy REAL,
    members INTEGER, measured INTEGER, clock REAL, hypervolume REAL);
CREATE TABLE results (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

_FROM_OLDER = {
    1: "ALTER TABLE progress ADD COLUMN hypervolume REAL",
    2: "ALTER TABLE scores ADD COLUMN margins BLOB",
}
"""What makes a journal of each older schema one of the next; done when it is opened for writing."""

_CHILD = "INSERT INTO children VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SCORES = "INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?)"
_PROGRESS = "INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Child:
    """One event of the log; `clock` is seconds since the run began."""

    index: int
    recipe: str
    kind: str
    parents: tuple[int, ...]
    weight: float | None
    split: int | None
    accepted: bool
    measured: int
    score: float
    failed: str | None
    clock: float


class Progress(NamedTuple):
    """One point of the progress curve; fractions in [0, 1], entropy in bits, `measured` in sample evaluations.

    `hypervolume` is None where there are no objectives, and in journals of schema 1.
    """

    evaluations: int
    best: float
    mean: float
    validation: float | None
    coverage: float
    entropy: float
    members: int
    measured: int
    clock: float
    hypervolume: float | None = None


class TaskRecord(NamedTuple):
    """A task and split whose scores the journal holds."""

    digest: str
    name: str
    split: str
    samples: int
    binary: bool


class Journal:
    """The open journal of a run.

    Args:
        path: The database file; it must exist.
        write: Whether this process is the one writer.

    Raises:
        RunError: If there is no journal, it is of a newer schema, or another process writes it.
    """

    def __init__(self, path: Path, *, write: bool = False) -> None:
        if not path.is_file():
            raise RunError(f"{path.parent} is no run directory: it has no {path.name}.")
        self.path = path
        self._lock = _lock(path) if write else None
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if write:
                self._db.execute("PRAGMA synchronous=NORMAL")
        except sqlite3.DatabaseError as error:
            raise RunError(f"{path} is no journal: {error}.") from error
        if version != SCHEMA_VERSION and version not in _FROM_OLDER:
            newer = (
                "Use the newer release that wrote it."
                if version > SCHEMA_VERSION
                else "It was never completed."
            )
            raise RunError(
                f"{path} has schema version {version}, this release reads {SCHEMA_VERSION}. {newer}"
            )
        if write and version != SCHEMA_VERSION:
            self._bring_up_to_date(version)
        self._children: list[tuple[Any, ...]] = []
        self._scores: dict[tuple[bytes, int], tuple[bytes, bytes | None, bytes | None]] = {}
        self._progress: list[Progress] = []
        self._meta: dict[str, Any] = {}
        self._task_ids: dict[str, int] = dict(self._db.execute("SELECT digest, id FROM tasks"))
        self._committed = time.monotonic()

    @staticmethod
    def create(path: Path, meta: dict[str, Any], tasks: list[Task]) -> None:
        """Make the database file of a new run.

        Args:
            path: Where; nothing must be there.
            meta: Settings of the run, as plain data.
            tasks: The tasks whose scores it will hold.
        """
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(_SCHEMA)
        db.execute("BEGIN")
        db.executemany("INSERT INTO meta VALUES (?, ?)", [(k, json.dumps(v)) for k, v in meta.items()])
        rows = [(t.digest, t.name, t.samples.split, len(t.samples), int(t.binary)) for t in tasks]
        db.executemany(
            "INSERT INTO tasks (digest, name, split, samples, binary) VALUES (?, ?, ?, ?, ?)", rows
        )
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        db.execute("COMMIT")
        db.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close without committing what waits."""
        self._db.close()
        if self._lock is not None:
            self._lock.close()

    def add_child(
        self, proposal: Proposal, row: Row, *, score: float, accepted: bool, measured: int, clock: float
    ) -> None:
        """Note a scored candidate; its scores are noted by `add_scores`.

        Args:
            proposal: The candidate.
            row: What the search was told of it.
            score: Mean of the row, as tasks are weighted.
            accepted: Whether it became a member.
            measured: On how many samples it was scored now.
            clock: Seconds since the run began.
        """
        cross, parents = proposal.cross, (*proposal.parents, None, None)
        self._children.append(
            (
                proposal.index,
                bytes.fromhex(proposal.digest),
                proposal.kind,
                parents[0],
                parents[1],
                None if cross is None else cross.weight,
                None if cross is None else cross.split,
                int(accepted),
                measured,
                score,
                row.failed,
                clock,
            )
        )

    def add_scores(self, recipe: bytes, task: Task, row: Row) -> None:
        """Note the scores of a recipe on a task, in place of what was known of them."""
        mask = None if row.measured is None else pack_mask(row.measured)
        packed = pack_scores(row.scores, binary=task.binary)
        margins = None if row.margins is None else pack_scores(row.margins, binary=False)
        self._scores[recipe, self._task_ids[task.digest]] = (packed, mask, margins)

    def add_progress(self, point: Progress) -> None:
        """Note a point of the progress curve."""
        self._progress.append(point)

    def set_meta(self, **values: Any) -> None:
        """Note plain data about the state of the run."""
        self._meta.update(values)

    def _bring_up_to_date(self, version: int) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        for older in range(version, SCHEMA_VERSION):
            self._db.execute(_FROM_OLDER[older])
        self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        self._db.execute("COMMIT")

    @property
    def due(self) -> bool:
        """Whether the last commit was half a second ago."""
        return time.monotonic() - self._committed >= COMMIT_SECONDS

    def commit(self, results: dict[str, Any] | None = None) -> None:
        """Write everything that waits, in one transaction.

        Raises:
            OutputError: If the disk is full or the file cannot be written; nothing is half-written.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(_CHILD, self._children)
            self._db.executemany(_SCORES, [(*key, *value) for key, value in self._scores.items()])
            self._db.executemany(_PROGRESS, self._progress)
            for table, values in (("meta", self._meta), ("results", results or {})):
                rows = [(key, json.dumps(value)) for key, value in values.items()]
                self._db.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", rows)  # noqa: S608
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise OutputError(
                f"The journal {self.path} cannot be written: {error}. Everything up to the last half second is safe; "
                f"make room, then: merganser runs resume {self.path.parent}"
            ) from error
        self._children, self._scores, self._progress, self._meta = [], {}, [], {}
        self._committed = time.monotonic()

    def meta(self) -> dict[str, Any]:
        """Settings and state of the run."""
        return {key: json.loads(value) for key, value in self._db.execute("SELECT key, value FROM meta")}

    def tasks(self) -> list[TaskRecord]:
        """The tasks whose scores it holds, the search split first."""
        query = "SELECT digest, name, split, samples, binary FROM tasks ORDER BY id"
        return [
            TaskRecord(digest, name, split, samples, bool(binary))
            for digest, name, split, samples, binary in self._db.execute(query)
        ]

    def outcome(self) -> dict[str, Any] | None:
        """The final figures; None while the run is not finished, or goes on beyond an earlier end."""
        found = self._db.execute("SELECT value FROM results WHERE key = 'outcome'").fetchone()
        outcome = None if found is None else json.loads(found[0])
        return outcome if outcome and outcome["evaluations"] == self.count() else None

    def episodes(self) -> list[dict[str, Any]]:
        """Episodes to read, goal by goal; none while the run is not finished, or where its task has no turns."""
        found = self._db.execute("SELECT value FROM results WHERE key = 'episodes'").fetchone()
        return [] if found is None or self.outcome() is None else json.loads(found[0])

    def children(self, first: int = 0) -> Iterator[Child]:
        """The event log from one index on."""
        query = "SELECT * FROM children WHERE idx >= ? ORDER BY idx"
        for (
            idx,
            recipe,
            kind,
            a,
            b,
            weight,
            split,
            accepted,
            measured,
            score,
            failed,
            clock,
        ) in self._db.execute(query, (first,)):
            parents = tuple(p for p in (a, b) if p is not None)
            yield Child(
                idx,
                recipe.hex(),
                kind,
                parents,
                weight,
                split,
                bool(accepted),
                measured,
                score,
                failed,
                clock,
            )

    def count(self) -> int:
        """Number of candidates in the log."""
        return self._db.execute("SELECT COUNT(*) FROM children").fetchone()[0]

    def measured(self) -> int:
        """Sample evaluations of the candidates in the log."""
        return self._db.execute("SELECT COALESCE(SUM(measured), 0) FROM children").fetchone()[0]

    def progress(self) -> list[Progress]:
        """The progress curve."""
        return [Progress(*row) for row in self._db.execute("SELECT * FROM progress ORDER BY evaluations")]

    def row(self, recipe: str, task_digest: str, samples: int) -> Row | None:
        """What is known of a recipe's scores on a task, written or waiting; None if nothing is."""
        key = (bytes.fromhex(recipe), self._task_ids[task_digest])
        found = self._scores.get(key) or self._written(key)
        if found is None:
            return None
        packed, mask, margins = found
        return Row(
            unpack_scores(packed, samples),
            None if mask is None else unpack_mask(mask, samples),
            margins=None if margins is None else unpack_scores(margins, samples),
        )

    def _written(self, key: tuple[bytes, int]) -> tuple[bytes, bytes | None, bytes | None] | None:
        """Scores, mask and margins as they lie in the file; one of an older schema that is only read has no margins."""
        row = self._db.execute("SELECT * FROM scores WHERE recipe=? AND task=?", key).fetchone()
        if row is None:
            return None
        _, _, packed, mask, *margins = row
        return packed, mask, margins[0] if margins else None


def _lock(path: Path) -> Any:
    """Hold a lock on the run for as long as the file is open; the system releases it when the process dies."""
    file = path.with_name("run.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise RunError(
            f"Another process is working on {path.parent}. Wait for it, or stop it first."
        ) from error
    return file
