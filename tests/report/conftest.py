import json
import sqlite3

import numpy as np
import pytest
from safetensors.numpy import save_file

import merganser
from merganser.comparison import compare, stop_specialising
from merganser.evaluation import Mixture, Samples, Splits, choose, open_task
from merganser.merging import Hop, LayerPath
from merganser.models import perceptron_size, perceptron_tensors
from merganser.run import Evolution, RunDirectory, evolve, make_plan, parse_settings


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Small finished runs, one per kind, made when first asked for."""
    folder, made = tmp_path_factory.mktemp("runs"), {}

    def run(name, models="specialists", budget=150, **settings):
        if name not in made:
            merganser.evolve(models, "digits", budget=budget, run=folder / name, **settings)
            made[name] = folder / name
        return made[name]

    return run


@pytest.fixture(scope="session")
def combination(runs):
    return runs("combination", budget=300)


@pytest.fixture(scope="session")
def dense(runs):
    return runs("dense", "scratch")


@pytest.fixture(scope="session")
def unfinished(combination, tmp_path_factory):
    """The combination run as it was before its end."""
    path = tmp_path_factory.mktemp("unfinished") / "run"
    path.mkdir()
    with sqlite3.connect(combination / "run.db") as source, sqlite3.connect(path / "run.db") as copy:
        source.backup(copy)
        copy.execute("DELETE FROM results")
        copy.execute("DELETE FROM children WHERE idx >= 200 AND accepted = 0")
    for db in (source, copy):
        db.close()
    return path


@pytest.fixture(scope="session")
def halfway(tmp_path_factory):
    """A run that scores children on subsets, as it is before its end."""
    path = tmp_path_factory.mktemp("halfway") / "run"
    data = {"models": "specialists", "task": "digits", "subset": {"samples": 100, "every": 20}}
    plan = make_plan(parse_settings(data))
    RunDirectory(path).create(plan)
    with RunDirectory(path).journal(write=True) as journal:
        evolution = Evolution(plan, journal)
        while evolution.evaluations < 50:
            evolution.step()
        evolution.note_progress()
        evolution.save()
    return path


@pytest.fixture
def edited(combination, tmp_path):
    """A copy of the combination run, changed by SQL."""

    def edit(*statements):
        path = tmp_path / "run"
        (path / "recipes").mkdir(parents=True)
        for recipe in (combination / "recipes").iterdir():
            (path / "recipes" / recipe.name).write_bytes(recipe.read_bytes())
        with sqlite3.connect(combination / "run.db") as source, sqlite3.connect(path / "run.db") as copy:
            source.backup(copy)
            for statement in statements:
                copy.execute(statement)
        for db in (source, copy):
            db.close()
        return path

    return edit


@pytest.fixture
def of_paths(edited, combination):
    """The combination run as if its winner were a path through its parents, which then have four blocks."""
    with RunDirectory(combination).journal() as journal:
        digests = [entry["digest"] for entry in journal.meta()["parents"]]

    def run(*seeds, **changes):
        hops = tuple(Hop(*hop) for hop in ((0, 0), (1, 1, 0.9), (0, 2), (0, 3)))
        path = {**LayerPath(seeds or tuple(digests), hops).to_json(), **changes}
        return edited(
            f"UPDATE results SET value = json_set(value, '$.path', json('{json.dumps(path)}')) WHERE key = 'outcome'",
            "UPDATE meta SET value = json_set(value, '$[0].config.num_hidden_layers', 4) WHERE key = 'parents'",
        )

    return run


class Graded:
    """A task of continuous scores: how near the answer is to each of many targets."""

    binary = False

    def __init__(self, split, targets):
        self.name, self.targets = "graded <b>task</b>", targets
        self.digest = f"graded-{split}-{len(targets)}"
        self.samples = Samples(tuple(f"{split}{i:08d}" for i in range(len(targets))), None, split)

    def score(self, model, ids):
        answer = model(np.ones((1, 1), dtype=np.float32))[0, 0]
        return np.clip(1 - np.abs(answer - self.targets[ids]), 0, 1)


def module(value):
    """A torch module that multiplies by a number."""
    import torch

    made = torch.nn.Linear(1, 1)
    with torch.no_grad():
        made.weight.fill_(value)
        made.bias.zero_()
    return made


@pytest.fixture(scope="session")
def graded(tmp_path_factory):
    """A run over three torch modules, 2,500 samples of continuous scores, without validation and test."""
    path = tmp_path_factory.mktemp("graded") / "run"
    splits = Splits(Graded("search", np.linspace(0, 1, 2_500)))
    evolve([module(v) for v in (0.1, 0.5, 0.9)], splits, budget=40, run=path)
    return path


class Near:
    """Whether a model's answer is near each of some values: another task for another middle."""

    binary = True

    def __init__(self, name, middle, split):
        self.name, self.digest = name, f"near-{name}-{split}"
        self.values = middle + np.linspace(-0.3, 0.3, 30)
        self.samples = Samples(tuple(f"{name}-{split}-{k}" for k in range(30)), None, split)

    def score(self, model, ids):
        answer = model(np.ones((1, 1), dtype=np.float32))[0, 0]
        return (abs(answer - self.values[ids]) < 0.2).astype(float)


@pytest.fixture(scope="session")
def several(tmp_path_factory):
    """A run over two tasks, one of them named like an element of HTML, between models that know one each."""

    def split(name):
        return Mixture((Near("middle <i>", 0.4, name), Near("high", 1.0, name)))

    path = tmp_path_factory.mktemp("several") / "run"
    splits = Splits(split("search"), split("validation"), split("test"))
    evolve([module(0.1), module(0.95)], splits, budget=40, run=path, baselines=["linear"])
    return path


@pytest.fixture(scope="session")
def noisy_perceptron():
    """Makes perceptrons that differ from one by noise of a strength and a seed."""
    widths = (64, 16, 12, 10)
    start = np.random.default_rng(0).normal(size=perceptron_size(widths))

    def make(noise, seed):
        changed = start + noise * np.random.default_rng(seed).normal(size=len(start))
        return perceptron_tensors(changed.astype(np.float32), widths)

    return make


@pytest.fixture(scope="session")
def measured(small_npz):
    """Samples of digits, and the images among them."""
    chosen = choose(open_task(small_npz), "search")
    return chosen, np.concatenate([task.inputs[ids] for task, ids in chosen.parts])


@pytest.fixture(scope="session")
def compared(noisy_perceptron, measured, tmp_path_factory):
    """What was found on four perceptrons, one of them named like an element of HTML, and where it was saved."""
    folder = tmp_path_factory.mktemp("compared")
    for seed, name in enumerate(("base", "one", "<i>two", "three", "four")):
        save_file(noisy_perceptron(0.1 * seed, seed), folder / f"{name}.safetensors")
    base, *models = (folder / f"{name}.safetensors" for name in ("base", "one", "<i>two", "three", "four"))
    found = compare(models, base, with_spectra=True, chosen=measured[0], data=measured[1])
    return found, found.save(folder).parent


@pytest.fixture(scope="session")
def series(noisy_perceptron, measured, tmp_path_factory):
    """What was found at four steps, the first of them 0, and where it was saved."""
    steps = (0, 10, 100, 1000)
    sides = ({step: noisy_perceptron(0.02 * step**0.5, seed) for step in steps} for seed in (1, 2))
    found = stop_specialising(*sides, noisy_perceptron(1e-3, 3), chosen=measured[0], data=measured[1])
    return found, found.save(tmp_path_factory.mktemp("series")).parent
