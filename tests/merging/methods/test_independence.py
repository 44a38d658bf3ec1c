"""A result depends on the models, the method and the seed; not on chunks, workers, or the tensor's neighbours."""

import pytest
import torch

from merganser.merging import METHODS, _execute
from merganser.merging.methods import bind

SHAPES = {
    "matrix": (301, 1000),
    "vector": (70_001,),
    "narrow": (3_001, 3),
    "kernel": (20, 41, 3, 3),
    "one": (),
}
SMALL = {"matrix": (33, 257), "vector": (12_345,), "narrow": (301, 3)}


def family(case, shapes, dtype):
    """Models that share a base, whether the case has it or not, with some entries exactly equal."""
    generator = torch.Generator().manual_seed(7)

    def drawn(spread):
        return {n: spread * torch.randn(shape, generator=generator) for n, shape in shapes.items()}

    base = drawn(0.02)
    tuned = [{n: base[n] + t for n, t in drawn(2e-3).items()} for _ in range(case.models(2))]
    models = [{n: t.to(dtype) for n, t in model.items()} for model in tuned]
    return models, {n: t.to(dtype) for n, t in base.items()} if case.has_base else None


def test_chunks_and_workers_have_no_effect(pass_case, run):
    models, base = family(pass_case, SHAPES, torch.bfloat16)
    first = run(pass_case.method, models, base, **pass_case.parameters)
    for chunk, workers in [(4096, 1), (5000, 2), (1 << 18, 3)]:
        again = run(pass_case.method, models, base, chunk=chunk, workers=workers, **pass_case.parameters)
        assert all(torch.equal(again[name], first[name]) for name in first), (chunk, workers)


def test_the_stretches_that_workers_take_have_no_effect(pass_case, run, monkeypatch):
    models, base = family(pass_case, SMALL, torch.float32)
    first = run(pass_case.method, models, base, **pass_case.parameters)
    monkeypatch.setattr(_execute, "_UNIT", 4096)
    again = run(pass_case.method, models, base, workers=3, chunk=4096, **pass_case.parameters)
    assert all(torch.equal(again[name], first[name]) for name in first)


def test_other_tensors_have_no_effect_unless_the_method_looks_at_the_whole_model(pass_case, run):
    models, base = family(pass_case, SMALL, torch.float32)
    method = bind(pass_case.method, METHODS[pass_case.method], len(models), pass_case.parameters)
    together = run(pass_case.method, models, base, **pass_case.parameters)
    alone = run(
        pass_case.method,
        [{"narrow": model["narrow"]} for model in models],
        base and {"narrow": base["narrow"]},
        **pass_case.parameters,
    )
    assert method.scope == "model" or torch.equal(alone["narrow"], together["narrow"])


@pytest.mark.parametrize("method", ["ties", "ramplus"])
def test_a_method_that_looks_at_the_whole_model_sees_the_other_tensors(method, run):
    base = {"a": torch.zeros(100), "b": torch.zeros(100)}
    large, small = torch.arange(1.0, 101.0), torch.full((100,), 1e-3)
    models = [{"a": large, "b": small}, {"a": large, "b": -small * (torch.arange(100) < 10)}]
    parameters = {"ties": {"density": 0.5}, "ramplus": {"r": 1.0, "alpha": 100.0}}[method]
    whole = run(method, models, base, scope="model", **parameters)
    apart = run(method, models, base, scope="tensor", **parameters)
    assert not torch.equal(whole["b"], apart["b"])
