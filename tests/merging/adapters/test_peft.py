"""PEFT itself loads what was merged, and gets the logits of the whole merged model."""

import json

import pytest
import torch

from merganser import merge

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

Q, V, DOWN = "self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A small Llama with two layers, and three adapters that PEFT wrote, with random factors."""
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("peft")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=False,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder / "base")
    kinds = {
        "a": {"r": 3, "target_modules": ["q_proj", "v_proj"], "lora_alpha": 5},
        "b": {
            "r": 4,
            "target_modules": ["q_proj", "down_proj"],
            "use_rslora": True,
            "rank_pattern": {DOWN: 2},
        },
        "c": {"r": 2, "target_modules": ["v_proj", "embed_tokens"], "modules_to_save": ["lm_head"]},
    }
    for name, settings in kinds.items():
        model = transformers.LlamaForCausalLM.from_pretrained(folder / "base")
        adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **settings))
        with torch.no_grad():
            for parameter_name, parameter in adapted.named_parameters():
                if "lora_" in parameter_name or "modules_to_save" in parameter_name:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        adapted.save_pretrained(folder / name, save_embedding_layers=False)
    return folder


def logits(model):
    with torch.no_grad():
        return model.eval()(torch.arange(2, 90, 7)[None]).logits


def loaded_by_peft(place, adapter):
    import peft
    import transformers

    model = transformers.LlamaForCausalLM.from_pretrained(place / "base")
    found = peft.PeftModel.from_pretrained(model, adapter)
    return logits(found), found


@pytest.mark.parametrize("method", ["linear", "tsv_m"])
@pytest.mark.parametrize("names", ["ab", "abc"])
def test_logits_are_those_of_the_whole_merge(place, tmp_path, method, names):
    import transformers

    adapters, base = [place / name for name in names], place / "base"
    merge(adapters, method, base=base, out=tmp_path / "adapter", as_adapter=True)
    merge([f"{base}+{adapter}" for adapter in adapters], method, out=tmp_path / "whole", space="full")
    found, model = loaded_by_peft(place, tmp_path / "adapter")
    expected = logits(transformers.LlamaForCausalLM.from_pretrained(tmp_path / "whole"))
    alone = logits(transformers.LlamaForCausalLM.from_pretrained(base))
    assert (expected - alone).abs().max() > 0.05
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    expected_ranks = {Q: 7, V: 5 if "c" in names else 3, DOWN: 2}
    for end, rank in expected_ranks.items():
        layer = model.get_submodule(f"base_model.model.model.layers.1.{end}")
        assert (layer.r["default"], layer.scaling["default"]) == (rank, 1.0)


def test_every_tensor_that_is_written_finds_its_place(place, tmp_path):
    """PEFT says nothing of keys that it does not know when it loads a model; its function for state does."""
    import peft
    import transformers
    from safetensors.torch import load_file

    merge([place / name for name in "abc"], "tsv_m", base=place / "base", out=tmp_path / "m", as_adapter=True)
    model = transformers.LlamaForCausalLM.from_pretrained(place / "base")
    adapted = peft.get_peft_model(model, peft.LoraConfig.from_pretrained(tmp_path / "m"))
    result = peft.set_peft_model_state_dict(adapted, load_file(tmp_path / "m" / "adapter_model.safetensors"))
    assert result.unexpected_keys == []
    assert not [key for key in result.missing_keys if "lora_" in key or "modules_to_save" in key]


def test_a_cut_adapter_loads_too(place, tmp_path):
    merge(
        [place / "a", place / "b"], "tsv_m", base=place / "base", out=tmp_path / "m", as_adapter=True, rank=1
    )
    _, model = loaded_by_peft(place, tmp_path / "m")
    assert set(json.loads((tmp_path / "m" / "adapter_config.json").read_text())["rank_pattern"]) == set()
    layer = model.get_submodule(f"base_model.model.model.layers.0.{Q}")
    assert layer.r["default"] == 1
