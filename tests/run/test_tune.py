"""Tuning a merge finds what is known to be best, and leaves a run like any other."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn

from merganser import RunError, merge, save
from merganser.evaluation import Samples, content_hashes
from merganser.run import RunDirectory, tune

BEST = 1.7


def network(*weights):
    module = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.tensor(weights).reshape(2, 3))
    return module


BASE, STEP = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.3, -0.2, 0.5, -0.4, 0.1, 0.2]


def away(scale):
    """The network at this multiple of the step from the base."""
    return network(*(b + scale * s for b, s in zip(BASE, STEP, strict=True)))


@dataclass
class Near:
    """How close a network is to the one at 1.7 steps from the base."""

    name: str = "near"
    digest: str = "near 1"
    binary: bool = False
    x: np.ndarray = field(default_factory=lambda: np.eye(3, dtype=np.float32))

    @property
    def samples(self):
        return Samples(content_hashes(row.tobytes() for row in self.x), split="search")

    def score(self, model, ids):
        with torch.no_grad():
            wanted = away(BEST)(torch.from_numpy(self.x[ids])).numpy()
        return np.exp(-np.abs(model(self.x[ids]) - wanted).sum(1))


@pytest.fixture
def base(tmp_path):
    return save(network(*BASE).state_dict(), tmp_path / "base.safetensors").path


def test_it_finds_the_scale_that_is_known_to_be_best(base, tmp_path):
    found = tune(
        [away(1.0)], "task_arithmetic", {"lambda": None}, Near(), base=base, budget=203, run=tmp_path / "run"
    )
    assert found.values["lambda"] == pytest.approx(BEST, abs=2 / 200)
    assert found.defaults == {"lambda": 1.0}
    assert found.outcome.winner.search > 0.99 > found.outcome.untuned.search
    assert found.outcome.evaluations == 203


def test_weights_of_several_models_are_not_normalised(base, tmp_path):
    """The best merge has weights that sum to 1.7: halves of the step from two models, each in full and more."""
    models = [away(1.0), away(1.0 + 1e-3)]
    found = tune(
        models, "ties", {"weight": None}, Near(), base=base, each=["weight"], budget=150,
        parameters={"density": 1.0}, run=tmp_path / "run",
    )  # fmt: skip
    assert sum(found.values["weight"]) == pytest.approx(BEST, abs=0.02)
    assert all(0 <= weight <= 1 for weight in found.values["weight"])
    assert found.parameters["normalize"] is False
    assert found.parameters["density"] == 1.0


def test_the_merge_with_the_tuned_parameters_is_the_winner(base, tmp_path):
    genes = {"lambda": (0.0, 3.0), "density": None, "scope": None}
    found = tune([away(1.0)], "ties", genes, Near(), base=base, budget=60, run=tmp_path / "run")
    merged = merge([away(1.0)], "ties", base=base, **found.parameters)
    assert merged.digest == found.outcome.checkpoint.digest
    assert isinstance(found.values["density"], float)
    assert found.values["scope"] in ("model", "tensor")


def test_words_and_flags_are_tried_with_every_value(base, tmp_path):
    genes = {"scope": None, "normalize": None}
    tune([away(1.0)], "ties", genes, Near(), base=base, run=tmp_path / "run")
    with RunDirectory(tmp_path / "run").journal() as journal:
        assert journal.count() == 2 + 4
        assert journal.meta()["settings"]["search"]["method"] == "brute-force"


def test_a_run_that_is_finished_is_not_run_again(base, tmp_path):
    options = {"base": base, "budget": 10, "run": tmp_path / "run"}
    tune([away(1.0)], "task_arithmetic", {"lambda": None}, Near(), **options)
    with pytest.raises(RunError, match="holds this very run, finished"):
        tune([away(1.0)], "task_arithmetic", {"lambda": None}, Near(), **options)


@pytest.mark.parametrize(
    ("genes", "each", "message"),
    [
        ({"lamda": None}, (), "no parameter `lamda`. Did you mean `lambda`"),
        (
            {"lambda": None},
            ["lambda"],
            "`lambda` of `ties` has one value for all models, so there is none for",
        ),
        ({"scope": (0.0, 1.0)}, (), "`scope` is no number, so it has no bounds"),
        ({}, (), "Nothing of `ties` is to be searched"),
    ],
)
def test_misuse_is_told(base, tmp_path, genes, each, message):
    with pytest.raises(ValueError, match=message):
        tune([away(1.0)], "ties", genes, Near(), base=base, each=each, run=tmp_path / "run")
