"""What goes into every method, and what it must leave alone: types, shapes, bytes, and numbers that are none."""

import math
import re

import numpy as np
import pytest
import torch

from merganser._errors import CheckpointError
from merganser.merging.methods import METHODS, parameters_of

FAULTS = {"NaN": math.nan, "infinite": math.inf, "minus infinite": -math.inf}


def normal(seed, shape, dtype=torch.float32, scale=0.02):
    drawn = scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.to(dtype)


def family(case, shapes, dtype=torch.float32, wanted=2):
    """Models with tensors of these shapes, and a base if the case has one."""
    named = {f"t{i}": shape for i, shape in enumerate(shapes)}
    seeds = range(case.models(wanted) + 1)
    drawn = [
        {n: normal(100 * seed + i, s, dtype) for i, (n, s) in enumerate(named.items())} for seed in seeds
    ]
    return drawn[1:], drawn[0] if case.has_base else None


def contents(models):
    return [{n: t.reshape(-1).view(torch.uint8).clone() for n, t in m.items() if t.numel()} for m in models]


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn], ids=str
)
def test_types_and_shapes_are_kept_and_the_models_left_alone(plain_case, dtype, run, shapes):
    models, base = family(plain_case, shapes, dtype, wanted=3)
    everything = [*models, *([base] if base else [])]
    before = contents(everything)
    merged = run(plain_case.method, models, base, **plain_case.parameters)
    for name, tensor in models[0].items():
        assert (merged[name].dtype, merged[name].shape) == (dtype, tensor.shape)
        assert torch.isfinite(merged[name].float()).all()
    for was, model in zip(before, contents(everything), strict=True):
        assert all(torch.equal(was[name], model[name]) for name in was)


def test_all_zero_tensors_merge_into_zero(case, run, shapes):
    models, base = family(case, shapes, wanted=3)
    zero = {name: torch.zeros_like(tensor) for name, tensor in models[0].items()}
    merged = run(case.method, [zero] * len(models), base and zero, **case.parameters)
    assert all(torch.equal(merged[name], zero[name]) for name in zero)


def test_a_tensor_that_is_zero_in_one_model_merges_too(case, run, expected, shapes):
    models, base = family(case, shapes, torch.float64, wanted=2)
    models[0] = {name: torch.zeros_like(tensor) for name, tensor in models[0].items()}
    merged = run(case.method, models, base, **case.parameters)
    for name, values in expected(case.method, models, base, **case.parameters).items():
        torch.testing.assert_close(merged[name], torch.from_numpy(np.asarray(values)))


@pytest.mark.parametrize("fault", sorted(FAULTS))
@pytest.mark.parametrize("at", [0, 12_288 + 7])
def test_a_number_that_is_none_is_refused_in_whichever_model_it_is(pass_case, fault, at, run):
    models, base = family(pass_case, [(64,), (3 * 4096 + 9,), (5, 41)])
    inputs = {f"model {i}": model for i, model in enumerate(models, start=1)}
    for title, model in [*inputs.items(), *([("the base", base)] if base else [])]:
        sound = model["t1"][at].item()
        model["t1"][at] = FAULTS[fault]
        words = f"Tensor 't1' of {title} holds a number that is {fault.removeprefix('minus ')}, at element {at:,}."
        with pytest.raises(CheckpointError, match=re.escape(words)):
            run(pass_case.method, models, base, **pass_case.parameters)
        model["t1"][at] = sound


NEXT_TO_NOTHING = {"weight": 0.0, "density": 0.0, "t": 0.0, "scale": 0.0, "lambda": 0.0, "select_topk": 1e-9}


def test_a_number_that_is_none_is_refused_even_where_nothing_is_taken_of_it(case, run):
    known = {p.name for p in parameters_of(METHODS[case.method])}
    for name in sorted(known & set(NEXT_TO_NOTHING)):
        models, base = family(case, [(3 * 4096 + 9,), (5, 41)])
        value = NEXT_TO_NOTHING[name]
        if name == "weight" and len(models) > 1:
            value = [*[1.0] * (len(models) - 1), 0.0]
        if name == "density" and case.method.startswith("della"):
            continue  # which does not take zero
        models[-1]["t0"][5000] = math.nan
        with pytest.raises(
            CheckpointError, match=f"'t0' of model {len(models)} holds a number that is NaN, at"
        ):
            run(case.method, models, base, **{**case.parameters, name: value})


def test_a_base_is_looked_at_even_where_its_share_is_zero(run):
    model, base = {"w": torch.ones(5)}, {"w": torch.tensor([0.0, 1.0, math.inf, 1.0, 1.0])}
    with pytest.raises(
        CheckpointError, match="'w' of the base holds a number that is infinite, at element 2"
    ):
        run("task_arithmetic", [model, model], base, weight=0.5)


@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float16, 65504.0), (torch.float8_e4m3fn, 448.0)], ids=str
)
def test_what_does_not_fit_the_stored_type_is_refused(dtype, limit, run):
    model = {"w": torch.full((7,), limit).to(dtype)}
    with pytest.raises(ValueError, match=r"Tensor 'w': the merged numbers do not fit float(16|8_e4m3fn)"):
        run("linear", [model, model], normalize=False)
    merged = run("linear", [model, model], normalize=False, dtype="bfloat16")
    assert merged["w"].float().tolist() == [2 * limit] * 7 or dtype == torch.float16


@pytest.mark.parametrize("dtype", [torch.float16, torch.float8_e4m3fn], ids=str)
@pytest.mark.parametrize("copies", [3, 7, 10])
def test_copies_of_the_greatest_number_still_fit(dtype, copies, run):
    model = {"w": torch.full((7,), torch.finfo(dtype).max).to(dtype)}
    assert torch.equal(run("linear", [model] * copies)["w"], model["w"])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_double_that_does_not_fit_the_stored_type_is_refused(dtype, run):
    with pytest.raises(ValueError, match=f"do not fit {dtype}"):
        run("passthrough", [{"w": torch.tensor([1e300, 1.0, -1.0], dtype=torch.float64)}], dtype=dtype)


def test_numbers_near_the_end_of_float32_are_merged_or_refused_as_too_large(case, run):
    models, base = family(case, [(6000,)])
    for model in [*models, *([base] if base else [])]:
        model["t0"].mul_(1e19).mul_(1e19)  # numbers and their differences fit, their sums and squares do not
    squares = case.method in {"slerp", "nuslerp", "multislerp", "karcher", "model_stock", "sce"}
    sums = case.choices.get("rescale") == "l1" and case.method != "neuromerging"  # which sums in float64
    if squares or sums:
        with pytest.raises(ValueError, match=r"Tensor 't0': .*(too large to be squared|do not fit float32)"):
            run(case.method, models, base, **case.parameters)
    else:
        assert torch.isfinite(run(case.method, models, base, **case.parameters)["t0"]).all()


@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_element_types_may_differ_between_models_and_from_the_results(case, stored, run):
    models, base = family(case, [(5, 7)])
    mixed = [{"t0": m["t0"].to(t)} for m, t in zip(models, [torch.bfloat16, torch.float16], strict=False)]
    as_floats = [{"t0": m["t0"].float()} for m in mixed]
    merged = run(case.method, mixed, base, dtype=stored, **case.parameters)
    again = run(case.method, as_floats, base, dtype=stored, **case.parameters)
    assert str(merged["t0"].dtype) == f"torch.{stored}"
    assert torch.equal(merged["t0"], again["t0"])
