"""Experts beside each other: scales that fit, merged by any rule, and the base that they are of."""

import pytest
import torch

from merganser import CheckpointError
from merganser.adaptation import (
    ExpertVector,
    adapted_digests,
    identity,
    is_expert,
    save_expert,
    scale_checkpoints,
)
from merganser.weights import open_checkpoint, save

from .conftest import expert_of


def test_what_one_leaves_alone_has_scale_one(factors):
    whole, short = expert_of(factors, 0), expert_of(factors, 1, rank=5)
    first = next(iter(factors))
    one = ExpertVector.from_gains({first: short.gains(first)}, short.base)
    *models, base = scale_checkpoints([whole, one, identity(whole)])
    assert [list(model) for model in models] == [list(base)] * 2
    assert torch.equal(models[1].read(first)[:5], short.gains(first).double() + 1)
    assert (models[1].read(first)[5:] == 1).all()
    others = [name for name in base if name != first]
    assert all((models[1].read(name) == 1).all() and (base.read(name) == 1).all() for name in others)
    assert all(torch.equal(models[0].read(n), whole.gains(n).double() + 1) for n in whole)


def test_experts_of_different_bases_do_not_stand_beside_each_other(factors):
    expert = expert_of(factors)
    other = ExpertVector.from_gains(dict(expert.vectors), dict.fromkeys(expert, "0" * 64))
    with pytest.raises(ValueError, match="experts of one base"):
        scale_checkpoints([expert, other])


def test_digests_are_those_of_the_base_or_an_error(stories, factors, gpt2):
    expert = expert_of(factors)
    assert adapted_digests([expert], stories) == dict(expert.base)
    with pytest.raises(CheckpointError, match="is not among the 0 matrices"):
        adapted_digests([expert], gpt2)


def test_an_experts_file_is_told_from_a_models(tmp_path, factors):
    path = save_expert(expert_of(factors), tmp_path / "expert.safetensors")
    save(expert_of(factors).as_checkpoint(), tmp_path / "scales.safetensors")
    assert is_expert(open_checkpoint(path))
    assert not is_expert(open_checkpoint(tmp_path / "scales.safetensors"))
