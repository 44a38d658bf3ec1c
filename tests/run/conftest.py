"""What tests of runs share."""

import sqlite3
from pathlib import Path

import pytest

from merganser.run import RunDirectory


@pytest.fixture
def troubled(monkeypatch):
    """Makes the module of that name importable, here and in worker processes."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def contents():
    """Everything a run holds except clocks and the date, as a function of its directory."""

    def read(run):
        """Everything a run holds except clocks and the date."""
        db = sqlite3.connect(run / "run.db")
        children = db.execute(
            "SELECT idx, hex(recipe), kind, first, second, weight, split, accepted, measured, score, failed "
            "FROM children ORDER BY idx"
        ).fetchall()
        scores = db.execute(
            "SELECT hex(recipe), task, hex(row), hex(mask), hex(margins) FROM scores ORDER BY recipe, task"
        ).fetchall()
        progress = db.execute(
            "SELECT evaluations, best, mean, validation, coverage, entropy, members, measured, hypervolume "
            "FROM progress ORDER BY evaluations"
        ).fetchall()
        db.close()
        with RunDirectory(run).journal() as journal:
            outcome = journal.outcome() or {}
        outcome = {k: v for k, v in outcome.items() if k not in ("run", "seconds")}
        files = {p.name: p.read_bytes() for folder in ("recipes", "files") for p in (run / folder).iterdir()}
        return children, scores, progress, outcome, files

    return read
