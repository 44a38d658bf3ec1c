"""Adapters without a base are recognised by their files, and open on a base that is open already."""

import json

import pytest
import torch

from merganser import CheckpointError
from merganser.weights import AdaptedSource, Checkpoint, is_adapter, open_adapter, open_checkpoint, save

NAME = "layers.0.up.weight"
CONFIG = {"peft_type": "LORA", "lora_alpha": 2, "base_model_name_or_path": "org/base"}


@pytest.fixture
def adapter(tmp_path):
    tensors = {f"layers.0.up.lora_{part}.weight": torch.ones(2, 2) for part in "AB"}
    (tmp_path / "lora").mkdir()
    save(tensors, tmp_path / "lora" / "adapter_model.safetensors")
    (tmp_path / "lora" / "adapter_config.json").write_text(json.dumps(CONFIG))
    return tmp_path / "lora"


@pytest.fixture
def base():
    return Checkpoint.from_tensors({NAME: torch.ones(2, 2), "norm.weight": torch.ones(2)})


def test_on_a_base_in_memory_it_is_added(adapter, base):
    for reference in (adapter, str(adapter)):
        found = open_adapter(base, reference)
        assert found.read(NAME).tolist() == [[3.0, 3.0], [3.0, 3.0]]
        assert isinstance(found.tensors, AdaptedSource)
        assert found.tensors.base is base
        assert found.tensors.adapter.config["base_model_name_or_path"] == "org/base"


def test_what_it_changes_can_be_asked(adapter, base):
    source = open_adapter(base, adapter).tensors
    assert isinstance(source, AdaptedSource)
    placed = source.product(NAME)
    assert placed is not None
    assert (placed.transposed, placed.scaling) == (False, 1.0)
    assert source.product("norm.weight") is None
    again = open_adapter(open_adapter(base, adapter), adapter)
    assert again.read(NAME).tolist() == [[5.0, 5.0], [5.0, 5.0]]


def test_it_is_told_from_a_model_by_its_files(adapter, base, tmp_path):
    model = save(base, tmp_path / "model").path
    assert [is_adapter(each) for each in (adapter, str(adapter), model, f"{model}+{adapter}")] == [
        True,
        True,
        False,
        False,
    ]
    (model / "adapter_config.json").write_text("{}")
    assert not is_adapter(model)
    (adapter / "training_args.bin").touch()
    (adapter / "README.md").touch()
    assert is_adapter(adapter)
    (adapter / "adapter_config.json").unlink()
    assert not is_adapter(adapter)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_alone_it_is_refused_with_what_to_do(adapter, suffix):
    file = adapter / "adapter_model.safetensors"
    if suffix == "bin":
        torch.save({name: torch.ones(2, 2) for name in open_checkpoint(file)}, adapter / "adapter_model.bin")
        file.unlink()
    with pytest.raises(
        CheckpointError, match=r"is an adapter, not a whole model\. Name its base too: 'BASE\+"
    ):
        open_checkpoint(adapter)


def test_a_model_is_no_adapter(base, tmp_path):
    save(base, tmp_path / "model")
    with pytest.raises(CheckpointError, match="is no PEFT adapter"):
        open_adapter(base, tmp_path / "model")
