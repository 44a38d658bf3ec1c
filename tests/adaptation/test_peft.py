"""SVF as a tuner of PEFT: everything PEFT does with an adapter, on a real model."""

import json
import subprocess
import sys

import pytest
import torch

from merganser import CheckpointError, ConfigError
from merganser.adaptation import ExpertVector, attach, expert_from_peft, register_with_peft
from merganser.adaptation._peft import _check_version
from merganser.models import load

from .conftest import STORIES

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")

IDS = torch.tensor([[1, 400, 300, 20, 7], [1, 300, 2, 90, 5]])
MLP = ["gate_proj", "up_proj", "down_proj"]


def base(dtype=None):
    return load(STORIES, dtype=dtype).module


def logits(module):
    with torch.no_grad():
        return module(IDS).logits


def tuned(**options):
    config = register_with_peft()(task_type="CAUSAL_LM", target_modules=MLP, **options)
    return peft.get_peft_model(base(), config)


def shake(model, adapter="default", seed=0):
    """Move an adapter's vectors at random."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if f"svf_z.{adapter}" in name:
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("parametrisation", ["sigmoid", "plain"])
def test_a_new_adapter_changes_nothing_and_trains_vectors_only(parametrisation):
    model = tuned(parametrisation=parametrisation)
    assert torch.equal(logits(model), logits(base()))
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert {tuple(p.shape) for p in trainable.values()} == {(64,)}
    assert len(trainable) == 15
    model(IDS).logits.logsumexp(-1).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in trainable.values())
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


def test_it_computes_what_attach_does(factors):
    model = tuned()
    shake(model)
    found = {
        name.replace("base_model.model.", "").replace(".svf_z.default", ".weight"): p
        for name, p in model.named_parameters()
        if "svf_z" in name
    }
    plain = base()
    adapted = attach(plain, factors)
    adapted.add("one", ExpertVector.from_logits(found, factors))
    adapted.set("one")
    assert torch.allclose(logits(model), logits(plain), atol=1e-5)


def test_saved_adapters_are_small_and_come_back(tmp_path):
    model = tuned(rank=30)
    shake(model)
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    assert (tmp_path / "adapter_model.safetensors").stat().st_size < 10_000
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["peft_type"], config["rank"], len(config["digests"])) == ("SVF", 30, 15)
    again = peft.PeftModel.from_pretrained(base(), tmp_path)
    assert torch.equal(logits(again), logits(model))
    assert not torch.allclose(logits(again), logits(base()), atol=1e-2)


def test_several_adapters_are_set_and_disabled(tmp_path):
    model = tuned()
    shake(model)
    first = logits(model)
    model.add_adapter("second", register_with_peft()(target_modules=MLP, parametrisation="plain", rank=9))
    assert torch.equal(logits(model), first)
    model.set_adapter("second")
    assert torch.equal(logits(model), logits(base()))
    shake(model, "second", seed=1)
    second = logits(model)
    assert not torch.allclose(second, first, atol=1e-2)
    with model.disable_adapter():
        assert torch.equal(logits(model), logits(base()))
    model.set_adapter("default")
    assert torch.equal(logits(model), first)
    model.delete_adapter("second")
    assert "second" not in model.peft_config


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_merging_is_undone_bit_for_bit(dtype):
    config = register_with_peft()(task_type="CAUSAL_LM", target_modules=MLP)
    model = peft.get_peft_model(base(dtype), config)
    shake(model)
    assert {p.dtype for n, p in model.named_parameters() if "svf_z" in n} == {torch.float32}
    before = logits(model)
    model.merge_adapter()
    tolerance = 1e-4 if dtype == "float32" else 0.5
    assert torch.allclose(logits(model), before, atol=tolerance)
    model.unmerge_adapter()
    assert torch.equal(logits(model), before)
    model.merge_adapter()
    with model.disable_adapter():
        assert torch.equal(logits(model), logits(base(dtype)))


def test_merge_and_unload_leaves_a_plain_model():
    model = tuned()
    shake(model)
    before = logits(model)
    plain = model.merge_and_unload(safe_merge=True)
    assert not any("svf" in name for name, _ in plain.named_modules())
    assert torch.allclose(logits(plain), before, atol=1e-4)


def test_layers_stored_in_out(gpt2_folder):
    register_with_peft()
    model = load(gpt2_folder).module
    ids = torch.tensor([[1, 4, 30]])
    config = register_with_peft()(target_modules=["c_fc", "c_proj"])
    model = peft.get_peft_model(model, config)
    shake(model)
    with torch.no_grad():
        before = model(ids).logits
        assert torch.allclose(model.merge_and_unload()(ids).logits, before, atol=1e-5)


def test_an_adapter_of_another_base_is_refused_with_both_digests(tmp_path):
    model = tuned()
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    other = base()
    weight = other.model.layers[0].mlp.gate_proj.weight
    weight.data[0, 0] += 1
    with pytest.raises(
        CheckpointError, match=r"expected '.*gate_proj' with digest [0-9a-f]{64}, found [0-9a-f]{64}"
    ):
        peft.PeftModel.from_pretrained(other, tmp_path)


@pytest.mark.parametrize("parametrisation", ["sigmoid", "plain"])
def test_an_adapter_becomes_an_expert_live_and_saved(parametrisation, factors, tmp_path):
    model = tuned(parametrisation=parametrisation, rank=30)
    shake(model)
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    live = expert_from_peft(model, facts={"task": "noise"})
    saved = expert_from_peft(tmp_path, factors)
    assert dict(live.facts) == {"task": "noise"}
    assert live.base == saved.base == factors.digests
    assert (live.parametrisation, saved.parametrisation) == (parametrisation, parametrisation)
    for name in factors:
        assert torch.equal(live.vectors[name], saved.vectors[name])
        assert torch.allclose(live.gains(name), saved.gains(name), atol=1e-6)
    plain = base()
    adapted = attach(plain, factors)
    for each in (live, saved):
        adapted.add("one", each)
        adapted.set("one")
        assert torch.allclose(logits(plain), logits(model), atol=1e-5)


def test_what_is_no_expert_is_refused(factors, tmp_path):
    with pytest.raises(ValueError, match="no singular values of its base"):
        expert_from_peft(tmp_path)
    with pytest.raises(CheckpointError, match="is none: FileNotFoundError"):
        expert_from_peft(tmp_path, factors)
    lora = peft.get_peft_model(base(), peft.LoraConfig(target_modules=MLP))
    with pytest.raises(ValueError, match="Expected an SVF adapter 'default'; the model's are: none"):
        expert_from_peft(lora)
    model = tuned()
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    config["digests"] = dict.fromkeys(config["digests"], "0" * 64)
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="was made for another base"):
        expert_from_peft(tmp_path, factors)


def test_options_that_make_no_sense_are_refused():
    config = register_with_peft()
    with pytest.raises(ValueError, match="among sigmoid, plain, found 'square'"):
        config(target_modules=MLP, parametrisation="square")
    with pytest.raises(ValueError, match="at least 1 or None, but is 0"):
        config(target_modules=MLP, rank=0)
    with pytest.raises(ValueError, match="is a LlamaRMSNorm"):
        peft.get_peft_model(base(), config(target_modules=["input_layernorm"]))


def test_registering_again_gives_the_same_and_old_versions_are_refused():
    assert register_with_peft() is register_with_peft()
    assert peft.PeftType("SVF") is peft.PeftType["SVF"] is peft.PeftType.SVF
    _check_version("0.21.0"), _check_version("1.0.dev0")
    with pytest.raises(ConfigError, match=r"from version 0\.21 on, found 0\.20\.3"):
        _check_version("0.20.3")


def test_without_peft_the_extra_is_named():
    code = (
        "import sys; sys.modules['peft'] = None\n"
        "from merganser.adaptation import register_with_peft\nregister_with_peft()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigError" in done.stderr
    assert "pip install 'merganser[peft]'" in done.stderr
