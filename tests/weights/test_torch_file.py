"""Checkpoints of torch's open as any other, and nothing in them is ever executed."""

import json
import pickle

import pytest
import torch
from torch import nn

from merganser import CheckpointError
from merganser.weights import open_checkpoint, save


def tensors(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "a.weight": torch.randn(3, 4, generator=generator),
        "a.bias": torch.randn(3, generator=generator).to(torch.bfloat16),
        "steps": torch.arange(5),
    }


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth"])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_holds_the_same_as_its_safetensors_twin(tmp_path, suffix, legacy):
    path = tmp_path / f"model{suffix}"
    torch.save(tensors(), path, _use_new_zipfile_serialization=not legacy)
    opened, twin = open_checkpoint(path), save(tensors(), tmp_path / "twin.safetensors")
    assert list(opened) == list(twin)
    assert opened.digest == twin.digest
    for name in twin:
        assert torch.equal(opened.read(name), twin.read(name))


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "module"])
def test_tensors_one_level_down_are_found(tmp_path, key):
    torch.save({key: tensors(), "epoch": 3}, tmp_path / "m.pt")
    assert set(open_checkpoint(tmp_path / "m.pt")) == set(tensors())


def test_a_folder_with_one_file_and_one_with_shards_open(tmp_path):
    for name in ("one", "many"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"model_type": "toy"}')
    torch.save(tensors(), tmp_path / "one" / "pytorch_model.bin")
    whole = tensors()
    torch.save({"a.weight": whole["a.weight"]}, tmp_path / "many" / "pytorch_model-00001-of-00002.bin")
    rest = {name: whole[name] for name in ("a.bias", "steps")}
    torch.save(rest, tmp_path / "many" / "pytorch_model-00002-of-00002.bin")
    weight_map = {n: f"pytorch_model-0000{1 if n == 'a.weight' else 2}-of-00002.bin" for n in whole}
    (tmp_path / "many" / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    one, many = open_checkpoint(tmp_path / "one"), open_checkpoint(tmp_path / "many")
    assert one.digest == many.digest
    assert one.config["model_type"] == many.config["model_type"] == "toy"


def test_safetensors_come_first_where_a_folder_has_both(tmp_path):
    torch.save(tensors(1), tmp_path / "pytorch_model.bin")
    twin = save(tensors(0), tmp_path / "model.safetensors")
    assert open_checkpoint(tmp_path).digest == twin.digest


def test_tied_tensors_appear_once(tmp_path):
    model = nn.ModuleDict({"embed_tokens": nn.Embedding(5, 3), "lm_head": nn.Linear(3, 5, bias=False)})
    model["lm_head"].weight = model["embed_tokens"].weight
    torch.save(model.state_dict(), tmp_path / "m.bin")
    opened = open_checkpoint(tmp_path / "m.bin")
    assert list(opened) == ["embed_tokens.weight"]
    assert opened.tied == {"lm_head.weight": "embed_tokens.weight"}


class Hostile:
    """A pickle that would leave a trace if it were executed."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return exec, (f"open({str(self.trace)!r}, 'w').write('executed')",)


@pytest.mark.parametrize("write", ["torch", "legacy", "pickle"])
def test_a_hostile_pickle_is_refused_and_not_executed(tmp_path, write):
    path, content = tmp_path / "bad.bin", {"a": torch.ones(2), "b": Hostile(tmp_path / "trace")}
    if write == "pickle":
        path.write_bytes(pickle.dumps(content["b"]))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=write == "torch")
    with pytest.raises(CheckpointError, match=r"bad\.bin"):
        open_checkpoint(path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": torch.ones(2), "lr": 0.1}, "'lr' is float"),
        ([torch.ones(2)], "holds list"),
        ({}, "holds dict"),
        ({"a": torch.ones(2).to_sparse()}, "densify|refused|sparse"),
    ],
)
def test_anything_but_tensors_by_name_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(tmp_path / "m.pt")


@pytest.mark.parametrize("keep", [0, 3, 100, -200, -1])
def test_a_truncated_file_is_named(tmp_path, keep):
    torch.save(tensors(), tmp_path / "m.pt")
    data = (tmp_path / "m.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(data[:keep])
    with pytest.raises(CheckpointError, match=r"cut\.pt"):
        open_checkpoint(tmp_path / "cut.pt")
