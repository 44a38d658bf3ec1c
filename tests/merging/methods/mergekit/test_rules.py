"""What mergekit's numbers do not show: our random masks, what is refused, and that no cut changes a bit."""

import pytest
import torch

import merganser
from merganser.merging import Engine, parameters_of, plan_merge
from merganser.merging.methods import bind
from merganser.merging.methods.mergekit import MERGEKIT, SIGNATURES
from merganser.weights import Checkpoint, Execution


def models_of(count, shape=(6, 8)):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties", "della", "della_linear"])
def test_random_masks_are_those_of_our_methods(method, merge_tensor):
    base, *models = models_of(3)
    given = {"weight": [0.5, 0.25], "density": 0.5, "normalize": False}
    wide = {"epsilon": 0.25} if method.startswith("della") else {}
    merged = merge_tensor(method, models, base, {**given, **wide, "rescale": False})
    ours = merganser.merge(
        [{"w": model} for model in models], method, base={"w": base}, rescale="none", **given, **wide
    )
    torch.testing.assert_close(merged, ours.read("w"), rtol=0, atol=1e-6)


def test_della_takes_a_width_of_its_own_for_each_model(merge_tensor):
    base, model = torch.zeros(1, 2000), torch.arange(1.0, 2001.0)[None]
    given = {"weight": [1.0, 0.0], "density": 0.5, "rescale": False}
    narrow, wide = (
        merge_tensor("della_linear", [model, model], base, {**given, "epsilon": [epsilon, 0.2]}, length=4096)
        for epsilon in (0.01, 0.49)
    )
    halves = [merged[0, :1000].count_nonzero() / 1000 for merged in (narrow, wide)]
    assert halves[0] == pytest.approx(0.495, abs=0.07)
    assert halves[1] == pytest.approx(0.255, abs=0.07)


@pytest.mark.parametrize(
    ("method", "models", "parameters", "why"),
    [
        ("linear", 2, {"weight": [0.5, -0.5]}, "sum to zero"),
        ("linear", 2, {}, "needs `weight`"),
        ("multislerp", 2, {"weight": [0.5, -0.5]}, "sum to zero"),
        ("della", 1, {"weight": 1.0, "density": 0.9}, "must lie in"),
        ("della", 2, {"weight": 1.0, "density": [0.5, 0.5], "epsilon": [0.1, 0.5]}, "must lie in"),
        ("slerp", 2, {"t": 0.5}, "exactly 1 model beside the base"),
        ("model_stock", 1, {}, "at least 2 models"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(method, models, parameters, why):
    with pytest.raises(ValueError, match=why):
        bind(method, MERGEKIT[method], models, parameters)


def test_more_than_two_directions_that_cancel_have_no_mean(merge_tensor):
    [model] = models_of(1)
    with pytest.raises(ValueError, match="directions of the models cancel"):
        merge_tensor("multislerp", [model, -model, model], None, {"weight": [0.25, 0.5, 0.25]})


def test_quantiles_of_arcee_fusion_are_those_of_all_entries(merge_tensor):
    """Above a million entries mergekit takes a sample, which differs from run to run."""
    base, model = models_of(2, (1001, 1000))
    merged = merge_tensor("arcee_fusion", [model], base, {}, length=1 << 18)
    p, q = (tensor.softmax(dim=1) + 1e-8 for tensor in (model, base))
    importance = (model - base).abs() * (p * (p / q).log()).sum(dim=1, keepdim=True)
    ordered = importance.flatten().sort().values
    first, median, third = (ordered[int(share * (len(ordered) - 1))] for share in (0.25, 0.5, 0.75))
    taken = importance >= median + 1.5 * (third - first)
    torch.testing.assert_close(merged, torch.where(taken, model, base), rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", MERGEKIT)
@pytest.mark.parametrize("shape", [(70, 190), (13, 1000)])
def test_no_cut_changes_a_bit(method, shape):
    has_base, most = SIGNATURES[method].base != "input", SIGNATURES[method].models[1]
    named = [{"w": model.bfloat16()} for model in models_of(1 + (most or 3), shape)]
    base, *models = [Checkpoint.from_tensors(tensors) for tensors in named]
    needed = {p.name: 0.25 for p in parameters_of(MERGEKIT[method]) if p.is_required}
    thinned = {"density": 0.5} if "density" in SIGNATURES[method].per_model else {}
    columns = {"nuslerp_flatten": False, "nuslerp_row_wise": True} if method == "nuslerp" else {}
    plan = plan_merge(
        models,
        method,
        base=base if has_base else None,
        dtype="float32",
        formulas="mergekit",
        parameters={**needed, **thinned, **columns},
    )
    first, *others = (
        Engine(plan, Execution(workers, chunk)).in_memory({}).read("w")
        for workers, chunk in ((1, 1), (2, 8192), (1, 1 << 18))
    )
    assert all(torch.equal(first, other) for other in others)
