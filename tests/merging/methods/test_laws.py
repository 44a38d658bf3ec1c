"""The laws that methods claim hold: for every method that claims one, with every choice, in float32 and bfloat16."""

import pytest
import torch

from merganser.merging import METHODS
from merganser.merging.methods import parameters_of

SHAPES = {"matrix": (37, 113), "vector": (4100,), "kernel": (4, 3, 3, 3), "scalar": ()}
DTYPES = [torch.float32, torch.bfloat16]

ONE_HOT = [{"weight": [1.0, 0.0]}, {"weight": [0.0, 1.0]}]
ENDS = {
    "linear": [*ONE_HOT],
    "slerp": [{"t": 0.0}, {"t": 1.0}],
    "nuslerp": [*ONE_HOT],
    "multislerp": [*ONE_HOT],
    "karcher": [*ONE_HOT],
    "task_arithmetic": [*ONE_HOT, {"weight": 0.0}],
    "nearswap": [{"t": 1e3}, {"t": 0.0}],
    "fisher": [*ONE_HOT],
    "passthrough": [{"scale": 1.0}],
}
"""Parameters that give the first model, the second, and, in a method with a base, the base; or model and base."""


def random_model(seed, dtype, spread=0.02, around=None):
    generator = torch.Generator().manual_seed(seed)
    drawn = {name: spread * torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    return {n: (t if around is None else around[n].float() + t).to(dtype) for n, t in drawn.items()}


def family(case, dtype, wanted=3):
    """Models, and the base they were tuned from if the case has one."""
    base = random_model(0, dtype)
    models = [random_model(i, dtype, 2e-3, base) for i in range(1, case.models(wanted) + 1)]
    return models, base if case.has_base else None


def is_as_good_as(merged, expected, dtype):
    """Equal to the last bit in bfloat16; to a few roundings of single numbers in float32."""
    assert merged.keys() == expected.keys()
    for name, tensor in expected.items():
        assert merged[name].dtype == dtype
        if dtype == torch.bfloat16:
            assert torch.equal(merged[name], tensor), name
        else:
            torch.testing.assert_close(merged[name], tensor, rtol=5e-7, atol=1e-8)


@pytest.mark.law("idempotent")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_copies_of_a_model_merge_into_the_model(case, dtype, run):
    [model, *_], base = family(case, dtype)
    for copies in sorted({case.models(count) for count in (1, 2, 3, 5)}):
        is_as_good_as(run(case.method, [model] * copies, base, **case.parameters), model, dtype)


@pytest.mark.law("fixed_base")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_copies_of_the_base_merge_into_the_base(case, dtype, run):
    models, base = family(case, dtype)
    is_as_good_as(run(case.method, [base] * len(models), base, **case.parameters), base, dtype)


@pytest.mark.law("symmetric")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_order_of_the_models_does_not_matter(case, dtype, run):
    models, base = family(case, dtype)
    per_model = {"weight": [0.5, 0.75, 1.5], "density": [0.3, 0.5, 0.8]}
    known = {p.name for p in parameters_of(METHODS[case.method])}
    values = {name: each[: len(models)] for name, each in per_model.items() if name in known}
    order = [1, 2, 0][-len(models) :] if len(models) == 3 else [1, 0]
    moved = {name: [each[i] for i in order] for name, each in values.items()}
    merged = run(case.method, models, base, **case.parameters, **values)
    again = run(case.method, [models[i] for i in order], base, **case.parameters, **moved)
    for name, tensor in merged.items():
        ulp = 2.0**-7 if dtype == torch.bfloat16 else 4e-6
        torch.testing.assert_close(again[name], tensor, rtol=ulp, atol=5e-8)


@pytest.mark.law("endpoints")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_at_an_end_of_its_parameter_the_result_is_one_of_the_models(case, dtype, run):
    models, base = family(case, dtype, wanted=2)
    ends = [*models, *([] if base is None else [base])]
    for values, end in zip(ENDS[case.method], ends, strict=False):
        if case.choices.get("normalize") and values == {"weight": 0.0}:
            continue  # refused
        is_as_good_as(run(case.method, models, base, **{**case.parameters, **values}), end, dtype)


def test_every_claim_of_endpoints_says_where_they_are():
    assert set(ENDS) == {name for name, method in METHODS.items() if "endpoints" in method.rule.laws}
