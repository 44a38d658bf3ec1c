"""An adaptive model as a folder: what comes out is what went in, or a refusal that says why."""

import json
import shutil

import pytest

from merganser import CheckpointError, ConfigError, OutputError
from merganser.adaptation.strategies import (
    AdaptiveModel,
    ByExpert,
    ByPrompt,
    DispatchPrompt,
    Fixed,
    Mixture,
    is_adaptive,
    open_adaptive,
    save_adaptive,
)
from merganser.models import GenerationRequest
from merganser.weights import Checkpoint

from .conftest import NAMES, STORIES

REQUESTS = [GenerationRequest(prompt, (), 8) for prompt in ("Once upon a time", "The dog", "A bird")]


@pytest.mark.parametrize(
    "strategy",
    [
        Fixed("cats"),
        Fixed(),
        ByPrompt(DispatchPrompt("{request}?", other=None, calibrate=True)),
        ByExpert("birds", DispatchPrompt(read="boxed", max_tokens=3)),
        Mixture(NAMES, (0.5, 0.25, 0.0)),
    ],
    ids=lambda s: type(s).__name__,
)
def test_it_answers_as_before(model, tmp_path, strategy):
    model.strategy = strategy
    save_adaptive(model, tmp_path / "saved")
    again = open_adaptive(tmp_path / "saved")
    assert again.strategy == strategy
    assert again.descriptions == model.descriptions
    assert again.generate(REQUESTS) == model.generate(REQUESTS)


def test_weights_per_matrix_and_the_decomposition_are_kept(model, experts, tmp_path):
    model.strategy = Mixture(NAMES, {matrix: (0.1 * k, 0.0, 1.0) for k, matrix in enumerate(experts["cats"])})
    place = save_adaptive(model, tmp_path / "saved", keep_factors=True)
    assert len(list((place / "factors").iterdir())) == len(experts["cats"])
    again = open_adaptive(place)
    assert again.strategy == model.strategy
    assert again.generate(REQUESTS) == model.generate(REQUESTS)


def test_only_its_folder_is_one(model, tmp_path):
    assert not is_adaptive(tmp_path)
    assert not is_adaptive(None)
    save_adaptive(model, tmp_path / "saved")
    assert is_adaptive(str(tmp_path / "saved"))


def test_what_is_there_is_not_replaced_unless_asked(model, tmp_path):
    save_adaptive(model, tmp_path / "saved")
    with pytest.raises(OutputError, match="exists already"):
        save_adaptive(model, tmp_path / "saved")
    model.strategy = Fixed("dogs")
    save_adaptive(model, tmp_path / "saved", overwrite=True)
    assert open_adaptive(tmp_path / "saved").strategy == Fixed("dogs")
    (tmp_path / "mine").mkdir()
    with pytest.raises(OutputError, match="is no adaptive model"):
        save_adaptive(model, tmp_path / "mine", overwrite=True)


def test_a_base_in_memory_cannot_be_named(stories, experts, tmp_path):
    copy = Checkpoint.from_tensors({n: stories.read(n) for n in stories}, config=stories.config)
    with pytest.raises(ValueError, match="is in memory"):
        save_adaptive(AdaptiveModel.of(copy, experts), tmp_path / "saved")


def test_another_base_in_its_place_is_refused_with_both_digests(experts, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    base = tmp_path / "base"
    shutil.copytree(STORIES, base)
    save_adaptive(AdaptiveModel.of(base, experts), tmp_path / "saved")
    expected = json.loads((tmp_path / "saved" / "adaptive.json").read_text())["base"]["digest"]
    changed = {n: t + torch.ones_like(t) for n, t in load_file(base / "model.safetensors").items()}
    save_file(changed, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="is not the base") as error:
        open_adaptive(tmp_path / "saved")
    assert expected[:16] in str(error.value)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"version": 2}, CheckpointError, "is of version 2"),
        ({"base": {}}, CheckpointError, "does not describe an adaptive model"),
        ({"experts": {"cats": 3}}, CheckpointError, "does not describe an adaptive model"),
        ({"strategy": {"kind": "luck"}}, ConfigError, "does not describe a strategy"),
        ({"strategy": {"kind": "prompt", "prompt": {"templte": "x"}}}, ConfigError, "templte"),
    ],
)
def test_a_damaged_folder_is_refused(model, tmp_path, change, error, message):
    file = save_adaptive(model, tmp_path / "saved") / "adaptive.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(error, match=message):
        open_adaptive(tmp_path / "saved")
