"""RegMean++: what is measured on the way through the merge leads to the model that the walk ends with."""

import copy

import pytest
import torch
from torch import nn

from merganser.merging import merge
from merganser.models import collect, collect_merged
from merganser.weights import Checkpoint


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def chain():
    torch.manual_seed(0)
    block = [nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)) for _ in range(3)]
    return nn.Sequential(nn.Linear(4, 6), *block, nn.Linear(6, 2))


def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=50)).eval()


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=50, n_positions=32)).eval()


def tuned(make, count=2, spread=0.1):
    """Models around one, each moved in another direction."""
    models = [make() for _ in range(count)]
    for i, model in enumerate(models):
        generator = torch.Generator().manual_seed(i + 1)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(spread * torch.randn(p.shape, generator=generator))
    return models


def tokens(seed):
    return torch.randint(0, 50, (4, 12), generator=torch.Generator().manual_seed(seed))


DATA = {"chain": lambda i: [normal(i, 40, 4)], "llama": lambda i: [{"input_ids": tokens(i)}] * 2}
DATA["gpt2"] = DATA["llama"]
MAKERS = {"chain": chain, "llama": llama, "gpt2": gpt2}


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_the_modules_end_as_what_the_files_merge_into(kind):
    models = tuned(MAKERS[kind])
    checkpoints = [Checkpoint.from_module(model) for model in models]
    data = [DATA[kind](i) for i in range(2)]
    statistics = collect_merged(models, data, blocks=["1", "2", "3"] if kind == "chain" else None)
    merged = merge(checkpoints, "regmean_plus_plus", statistics=statistics)
    for model in models:
        ended = Checkpoint.from_module(model)
        for name in merged:
            torch.testing.assert_close(ended.read(name), merged.read(name), rtol=1e-4, atol=1e-6, msg=name)
    alone = [collect(model, each) for model, each in zip(tuned(MAKERS[kind]), data, strict=True)]
    own = merge(checkpoints, "regmean", statistics=alone)
    assert any(not torch.allclose(own.read(name), merged.read(name), rtol=1e-3) for name in merged)


def test_every_block_is_measured_behind_the_merged_ones():
    """By hand: a model whose blocks before this one are the merged model's, run whole."""
    models, data = tuned(llama), [DATA["llama"](i) for i in range(2)]
    own = copy.deepcopy(models)
    statistics = collect_merged(models, data)
    merged = models[0]
    for number in range(3):
        for model, measured, batches in zip(own, statistics, data, strict=True):
            mixed = copy.deepcopy(model)
            mixed.model.embed_tokens = merged.model.embed_tokens
            for i in range(number):
                mixed.model.layers[i] = merged.model.layers[i]
            expected = collect(mixed, batches)
            for part in ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj"):
                name = f"model.layers.{number}.{part}.weight"
                found, wanted = (s.tensors.read(s.name_of(name)) for s in (measured, expected))
                torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5, msg=name)


def test_one_model_is_left_as_it_is_and_measured_as_alone():
    [model] = tuned(llama, 1)
    before = Checkpoint.from_module(model)
    alone = collect(model, DATA["llama"](0))
    [found] = collect_merged([model], [DATA["llama"](0)])
    after = Checkpoint.from_module(model)
    for name in before:
        torch.testing.assert_close(after.read(name), before.read(name), rtol=0, atol=0)
    for name in alone.tensors:
        torch.testing.assert_close(found.tensors.read(found.name_of(name)), alone.tensors.read(name))


def test_what_is_no_single_stack_must_be_named():
    two = nn.ModuleDict({"a": nn.Sequential(nn.Linear(2, 2)), "b": nn.Sequential(nn.Linear(2, 2))})
    with pytest.raises(ValueError, match=r"found 'a', 'b'. Name the blocks"):
        collect_merged([two], [[normal(0, 3, 2)]])
    with pytest.raises(ValueError, match="found none"):
        collect_merged([nn.Linear(2, 2)], [[normal(0, 3, 2)]])


def test_every_model_needs_data():
    with pytest.raises(ValueError, match="for 2 models there are 1"):
        collect_merged(tuned(chain), [[normal(0, 3, 4)]])
    with pytest.raises(ValueError, match="no data for one of the models"):
        collect_merged(tuned(chain), [[normal(0, 3, 4)], []], blocks=["1"])


def test_hooks_and_replaced_functions_are_removed_even_after_an_error():
    models = tuned(llama)
    wrong = [{"input_ids": tokens(0)}, {"input_ids": torch.full((1, 3), 99)}]
    with pytest.raises(IndexError):
        collect_merged(models, [wrong, wrong])
    collect_merged(models, [DATA["llama"](0), DATA["llama"](1)])
    for model in models:
        for part in model.modules():
            assert "forward" not in vars(part)
            assert not part._forward_pre_hooks
            assert not part._forward_hooks
