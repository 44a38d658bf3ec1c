"""Several seeds: each as if it were alone, done ones left alone, failures shown."""

import statistics
from dataclasses import dataclass, replace

import pytest
import torch

from merganser import ConfigError, RunError
from merganser.thinking import CTMConfig, matched
from merganser.thinking.training import (
    Parity,
    Samples,
    ThinkingTraining,
    open_thinking,
    spread,
    spreads,
    train_seeds,
    train_thinking,
)

TASK = Parity(3)
TINY = TASK.config(
    ticks=2, neurons=16, width=8, heads=2, memory=3, hidden=2, output_neurons=8, action_neurons=8
)
SETTINGS = ThinkingTraining(steps=4, batch=8, warm_up=2, every=2)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds") / "s"
    return folder, train_seeds(TASK, TINY, folder, SETTINGS, seeds=(4, 0))


def weights(trained):
    return (trained.path / "model.safetensors").read_bytes()


def test_each_seed_is_the_training_that_it_would_be_alone(two, tmp_path):
    folder, found = two
    assert [(each.seed, each.folder, each.failure) for each in found] == [
        (4, folder / "seed-4", None),
        (0, folder / "seed-0", None),
    ]
    alone = train_thinking(TASK, replace(TINY, seed=4), tmp_path / "t", replace(SETTINGS, seed=4))
    assert weights(found[0].trained) == weights(alone) != weights(found[1].trained)
    assert open_thinking(folder / "seed-0") == found[1].trained


def test_seeds_that_are_over_are_not_trained_again(two):
    folder, found = two
    steps = []
    again = train_seeds(
        TASK, TINY, folder, SETTINGS, seeds=(0, 4, 7), watch=lambda seed, row: steps.append((seed, row.step))
    )
    assert steps == [(7, step) for step in range(5)]
    assert [each.trained for each in again[:2]] == [found[1].trained, found[0].trained]


def test_a_baseline_has_seeds_too(tmp_path):
    found = train_seeds(TASK, matched(TINY, "lstm"), tmp_path / "s", SETTINGS, seeds=(0, 1))
    assert weights(found[0].trained) != weights(found[1].trained)


def test_figures_over_seeds_are_mean_deviation_and_ends(two):
    _, found = two
    tests = [each.trained.test for each in found]
    over = spreads(found)
    assert over["test"] == spread(tests)
    assert over["test"].mean == pytest.approx(sum(tests) / 2)
    assert over["test"].deviation == pytest.approx(statistics.stdev(tests))
    assert (over["steps"].least, over["steps"].most) == (4, 4)
    assert spread([0.25]).deviation is None


@dataclass(frozen=True)
class Broken:
    """A task of somebody's own; one seed of it gives numbers that are none."""

    name, positions, classes, look_ahead = "broken", 1, 2, None

    def config(self, **changes):
        parts = {"outputs": 2, "ticks": 2, "neurons": 8, "width": 4, "memory": 2, "heads": 2, "hidden": 0}
        return CTMConfig(**{**parts, "output_neurons": 4, "action_neurons": 4, **changes})

    def batch(self, size, *, seed, step):
        inputs = torch.randn(size, 3, 2, generator=torch.Generator().manual_seed(step))
        targets = (inputs.sum((1, 2)) > 0).long()[:, None]
        return Samples(inputs / (0.0 if (seed, step) == (1, 3) else 1.0), targets)

    def validation(self):
        return self.batch(16, seed=0, step=0)

    test = validation


def test_a_seed_that_fails_does_not_stop_the_others(tmp_path):
    found = train_seeds(Broken(), None, tmp_path / "s", SETTINGS, seeds=(0, 1, 2))
    assert [each.trained is None for each in found] == [False, True, False]
    assert "The loss of step 3 is nan" in found[1].failure
    assert found[1].figures is None
    good = [each.trained.test for each in (found[0], found[2])]
    assert spreads(found)["test"] == spread(good)
    assert spreads([found[1]]) == {}


def test_seeds_that_cannot_be_are_refused(two, tmp_path):
    folder, _ = two
    for seeds in ((), (1, 1)):
        with pytest.raises(ConfigError, match="at least one seed, each once"):
            train_seeds(TASK, TINY, tmp_path / "s", SETTINGS, seeds=seeds)
    with pytest.raises(RunError, match="holds a training with one seed"):
        train_seeds(TASK, TINY, folder / "seed-0", SETTINGS)
