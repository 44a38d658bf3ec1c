"""Matrices that are stored (in, out) are merged as what they are, transposed, where a method's rows must be outputs."""

import pytest
import torch

from merganser import CheckpointError, merge
from merganser.merging import Engine, explain, plan_merge
from merganser.merging._layout import is_inputs_first
from merganser.weights import Checkpoint, Execution

ROWS = {"h.0.attn.c_attn.weight": 36, "h.0.attn.c_proj.weight": 12, "h.0.mlp.c_fc.weight": 48}
"""Layers with 12 inputs, by their outputs."""

GPT2 = {"model_type": "gpt2"}

METHODS = [
    ("neuromerging", {}),
    ("neuromerging", {"density": 1.0, "count": "thresholded", "lambda_parallel": 0.5}),
    ("neuromerging", {"scope": "tensor", "rescale": "none"}),
    ("wudi", {}),
    ("wudi", {"ridge": 0.5, "alpha": 0.7}),
]


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def upright(seed):
    """A model whose layers are stored (out, in)."""
    layers = {name: normal(7 * seed + i, rows, 12) for i, (name, rows) in enumerate(ROWS.items())}
    return {**layers, "wte.weight": normal(100 + seed, 30, 12), "ln_f.bias": normal(200 + seed, 12)}


def turned(model):
    return {name: value.T.contiguous() if name in ROWS else value for name, value in model.items()}


def in_gpt2(model):
    return Checkpoint.from_tensors(turned(model), config=GPT2)


@pytest.fixture
def models():
    """A base, and three models tuned from it."""
    base = upright(0)
    return base, [{name: base[name] + 0.1 * value for name, value in upright(i).items()} for i in (1, 2, 3)]


@pytest.mark.parametrize(("method", "parameters"), METHODS, ids=str)
def test_the_merge_is_that_of_the_other_layout_transposed(method, parameters, models):
    base, tuned = models
    plain = merge(tuned, method, base=base, **parameters)
    found = merge([in_gpt2(model) for model in tuned], method, base=in_gpt2(base), **parameters)
    for name in base:
        assert torch.equal(found.read(name), plain.read(name).T if name in ROWS else plain.read(name))
    as_stored = merge([turned(model) for model in tuned], "wudi", base=turned(base))
    square = "h.0.attn.c_proj.weight"
    assert not torch.allclose(as_stored.read(square), found.read(square), rtol=1e-2)


@pytest.mark.parametrize("method", ["neuromerging", "wudi"])
def test_chunks_and_workers_change_no_bit(method, models):
    base, tuned = models
    plan = plan_merge([in_gpt2(model) for model in tuned], method, base=in_gpt2(base))
    whole, cut = (Engine(plan, Execution(*how)).in_memory({}) for how in ((1, 1 << 18), (3, 1)))
    assert all(torch.equal(whole.read(name), cut.read(name)) for name in base)


def test_methods_that_do_not_care_are_shown_what_is_stored(models):
    base, tuned = models
    plan = plan_merge([in_gpt2(model) for model in tuned], "ties", base=in_gpt2(base))
    assert not any(target.transposed or target.sources.in_one for target in plan.targets)


def test_an_explanation_splits_neurons_and_not_inputs(models):
    base, tuned = models
    plain = plan_merge(
        [Checkpoint.from_tensors(m) for m in tuned], "neuromerging", base=Checkpoint.from_tensors(base)
    )
    found = plan_merge([in_gpt2(model) for model in tuned], "neuromerging", base=in_gpt2(base))
    pairs = zip(explain(plain).total.values(), explain(found).total.values(), strict=True)
    for expected, fate in pairs:
        assert fate.parallel == pytest.approx(expected.parallel, rel=1e-9)
        assert fate.l2.survived == pytest.approx(expected.l2.survived, rel=1e-9)


def test_a_number_that_is_none_is_found_where_it_is_stored(models):
    base, tuned = models
    tuned[1]["h.0.mlp.c_fc.weight"][2, 1] = torch.nan  # element 1 · 48 + 2 of (12, 48)
    with pytest.raises(CheckpointError, match=r"c_fc\.weight' of .* NaN, at element 50"):
        merge([in_gpt2(model) for model in tuned], "wudi", base=in_gpt2(base))


def test_whole_matrices_are_in_the_estimate_of_memory():
    execution = Execution(1, 4096)

    def memory(side, config):
        names = {"h.0.mlp.c_fc.weight": normal(1, 2 * side, side)}
        base, *others = (
            Checkpoint.from_tensors({n: i * v for n, v in names.items()}, config=config) for i in range(3)
        )
        return plan_merge(others, "neuromerging", base=base).memory(execution)

    assert memory(200, {}) < 1.1 * memory(100, {})
    assert memory(200, GPT2) > 3 * memory(100, GPT2) > memory(100, {})


@pytest.mark.parametrize("config", [{}, {"model_type": "gpt_bigcode"}, {"model_type": "llama"}])
def test_other_models_layers_of_the_same_names_are_taken_as_they_are(config):
    model = Checkpoint.from_tensors(upright(0), config=config)
    assert not any(is_inputs_first(model, name) for name in model)


@pytest.mark.parametrize("settings", [{}, {"add_cross_attention": True}], ids=str)
def test_exactly_the_layers_that_transformers_stores_so_are_found(settings):
    transformers = pytest.importorskip("transformers")
    sizes = {"n_layer": 2, "n_embd": 8, "n_head": 2, "vocab_size": 20, "n_positions": 16}
    config = transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, **settings)
    module = transformers.GPT2LMHeadModel(config)
    model = Checkpoint.from_module(module, config=config.to_dict())
    layers = {name for name, part in module.named_modules() if type(part).__name__ == "Conv1D"}
    assert {name for name in model if is_inputs_first(model, name)} == {f"{name}.weight" for name in layers}
    assert len(layers) == 2 * (7 if settings else 4)
