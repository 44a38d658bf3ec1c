"""A fingerprint tells one model from another at a glance; what it does not promise is said too."""

import json

import pytest
import torch

from merganser import CheckpointError
from merganser.weights import Checkpoint, fingerprint, open_checkpoint, save

TENSORS = {
    "a.weight": torch.linspace(-1, 1, 3000).reshape(30, 100),
    "a.bias": torch.linspace(0, 1, 30).to(torch.bfloat16),
    "scalar": torch.tensor(2.0),
    "none": torch.zeros(0, 4),
    "steps": torch.arange(5),
}


def of(tensors):
    return fingerprint(Checkpoint.from_tensors(tensors))


def changed(name, value):
    return {**TENSORS, name: value}


def with_element(at, value):
    weight = TENSORS["a.weight"].clone()
    weight.view(-1)[at] = value
    return changed("a.weight", weight)


def test_it_is_the_same_wherever_the_model_is(tmp_path):
    whole = save(TENSORS, tmp_path / "whole", config={"x": 1})
    shards = save(TENSORS, tmp_path / "shards", shard_size=100, metadata={"note": "other"})
    torch.save(dict(reversed(TENSORS.items())), tmp_path / "m.bin")
    prints = {fingerprint(model) for model in (whole, shards, open_checkpoint(tmp_path / "m.bin"))}
    assert prints == {of(TENSORS)}
    [found] = prints
    assert len(found) == 32
    assert int(found, 16) >= 0


@pytest.mark.parametrize(
    "other",
    [
        {name: tensor for name, tensor in TENSORS.items() if name != "scalar"},
        {("b.bias" if name == "a.bias" else name): tensor for name, tensor in TENSORS.items()},
        changed("a.weight", TENSORS["a.weight"].reshape(100, 30)),
        changed("a.weight", TENSORS["a.weight"].double()),
        changed("none", torch.zeros(4, 0)),
        changed("steps", torch.arange(6)),
        changed("scalar", torch.tensor(2.0000002)),
        changed("a.bias", TENSORS["a.bias"] * -1),
    ],
    ids=["missing", "renamed", "reshaped", "widened", "empty", "buffer", "scalar", "sign"],
)
def test_names_types_shapes_and_small_tensors_count(other):
    assert of(other) != of(TENSORS)


@pytest.mark.parametrize("at", [0, 255, 1372, 1499, 1627, 2744, 2999])
def test_numbers_at_the_beginning_the_middle_and_the_end_count(at):
    assert of(with_element(at, 7.0)) != of(TENSORS)


@pytest.mark.parametrize("at", [256, 1371, 1628, 2743])
def test_a_single_number_elsewhere_goes_unnoticed_which_a_digest_would_not(at):
    other = Checkpoint.from_tensors(with_element(at, 7.0))
    assert fingerprint(other) == of(TENSORS)
    assert other.digest != Checkpoint.from_tensors(TENSORS).digest


def test_a_base_with_an_adapter_has_another_than_the_base(tmp_path):
    base = save({"model.up.weight": torch.ones(4, 6)}, tmp_path / "base")
    factors = {"up.lora_A.weight": torch.ones(2, 6), "up.lora_B.weight": torch.ones(4, 2)}
    named = {f"base_model.model.model.{name}": tensor for name, tensor in factors.items()}
    save(named, tmp_path / "adapter" / "adapter_model.safetensors")
    (tmp_path / "adapter" / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 2})
    )
    adapted = open_checkpoint(f"{tmp_path / 'base'}+{tmp_path / 'adapter'}")
    assert fingerprint(adapted) != fingerprint(base)
    assert fingerprint(adapted) == of({"model.up.weight": torch.full((4, 6), 3.0)})


def test_numbers_that_are_none_have_a_fingerprint_too():
    broken = changed("a.bias", torch.full((30,), float("nan"), dtype=torch.bfloat16))
    assert of(broken) == of(broken) != of(TENSORS)


def test_a_file_that_changed_after_opening_has_none(tmp_path):
    model = save(TENSORS, tmp_path / "m.safetensors")
    save({"w": torch.ones(3)}, tmp_path / "m.safetensors", overwrite=True)
    with pytest.raises(CheckpointError, match="has changed since it was opened"):
        fingerprint(model)
