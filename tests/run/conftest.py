"""What tests of runs share."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from merganser import save
from merganser.evolution import random_start
from merganser.models import perceptron_size, perceptron_tensors, train_perceptron
from merganser.run import RunDirectory, evolve_settings, parse_settings
from merganser.weights import Checkpoint


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


@pytest.fixture(scope="session")
def two_tasks(tmp_path_factory):
    """The small digits as two tasks: lower and higher ones; and the two parents that know one each."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("tasks")
    images, labels = load_digits(return_X_y=True)
    images, widths = images.astype(np.float32), (64, 32, 10)
    for name, mine in (("low", labels < 5), ("high", labels >= 5)):
        x, y = images[mine], labels[mine]
        np.savez(
            folder / f"{name}.npz", x_train=x[:250], y_train=y[:250], x_test=x[250:350], y_test=y[250:350]
        )
        start = random_start(0, 0, perceptron_size(widths))
        flat = train_perceptron(start, widths, x[:250], y[:250])
        config = {"model_type": "perceptron", "widths": list(widths), "activation": "relu"}
        model = Checkpoint.from_tensors(perceptron_tensors(flat, widths), config=config)
        save(model, folder / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="session")
def uneven(two_tasks):
    """Settings of runs on all of the lower digits and a few of the higher ones, with the linear merge beside."""
    few = two_tasks / "few.npz"
    np.savez(few, **{key: value[:60] for key, value in np.load(two_tasks / "high.npz").items()})

    def settings(weights=(3, 1), **changes):
        tasks = zip((two_tasks / "low.npz", few), weights, strict=True)
        return parse_settings(
            {
                "models": [str(two_tasks / f"{name}.safetensors") for name in ("low", "high")],
                "tasks": [{"task": str(path), "weight": weight} for path, weight in tasks],
                "budget": {"evaluations": 60},
                "baselines": ["linear"],
                **changes,
            }
        )

    return settings


@pytest.fixture(scope="session")
def weighted(uneven, two_tasks, tmp_path_factory):
    """A finished run of these, with a watched task."""
    run = tmp_path_factory.mktemp("weighted") / "run"
    return evolve_settings(uneven(watch=[str(two_tasks / "high.npz")]), run=run)
