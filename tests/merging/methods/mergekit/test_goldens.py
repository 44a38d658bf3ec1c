"""mergekit's formulas, tensor by tensor, against mergekit 0.1.5 itself; see `goldens/README.md`."""

import numpy as np
import pytest

from merganser.merging.methods.mergekit import MERGEKIT, SIGNATURES

RANDOM = ("dare_linear", "dare_ties", "della", "della_linear")


def drawn_masks(case, number, tensors):
    """The masks that were drawn; mergekit draws none for models whose density says what is kept."""
    density = case["parameters"].get("density", 1.0)
    listed = density if isinstance(density, list) else [density] * case["models"]
    drawn = iter(tensors[name] for name in sorted(tensors) if name.startswith(f"mask/{number}/"))
    is_dare = case["method"].startswith("dare")
    return [next(drawn) if p < 1 and (is_dare or p > 0) else None for p in listed]


def least_divergence(base, model):
    """The smallest Kullback-Leibler divergence of two tensors' rows, in double precision."""
    p, q = (rows.double().reshape(-1, rows.shape[-1]).softmax(dim=1) for rows in (model, base))
    return float((p * (p / q).log()).sum(dim=1).min())


@pytest.mark.parametrize("length", [7, 4096])
@pytest.mark.parametrize("method", MERGEKIT)
def test_every_method_gives_mergekits_numbers(method, length, goldens, merge_tensor, given_masks):
    tried = 0
    for number, case in enumerate(goldens.cases):
        if case["method"] != method:
            continue
        base, *models = goldens.inputs(case)
        noise = given_masks(drawn_masks(case, number, goldens.tensors)) if method in RANDOM else None
        has_base = case["base"]
        merged = merge_tensor(
            method, models, base if has_base else None, case["parameters"], noise=noise, length=length
        )
        expected = goldens.tensors[f"merged/{number}"]
        scale = max(float(tensor.abs().max()) for tensor in [base, *models, expected])
        assert merged.dtype == expected.dtype
        tried += 1
        if method == "arcee_fusion" and least_divergence(base, models[0]) < 1e-6:
            # of single precision's rounding: which entries move is up to each processor's exponential
            moved = np.isclose(merged, models[0], rtol=0, atol=1e-6 * scale)
            assert (moved | np.isclose(merged, base, rtol=0, atol=1e-6 * scale)).all()
            continue
        np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6 * scale, err_msg=str(case))
    assert tried >= 10


@pytest.mark.parametrize("method", MERGEKIT)
def test_every_signature_is_mergekits(method, goldens):
    ours, theirs = SIGNATURES[method], goldens.signatures[method]
    by_scope = {
        "shared": {name for name, p in theirs["parameters"].items() if p["scope"] == "shared"},
        "models": {name for name, p in theirs["parameters"].items() if p["scope"] != "shared"},
    }
    assert (set(ours.shared), set(ours.per_model)) == (by_scope["shared"], by_scope["models"])
    for name, p in {**ours.shared, **ours.per_model}.items():
        said = theirs["parameters"][name]
        kinds = {"bool": "flag", "int": "count"}
        assert p.kind == kinds.get(said["type"], "number" if name in ours.shared else "numbers")
        no_scale = said["default"] is None  # of passthrough, which then multiplies with nothing
        assert (
            p.is_required
            if said["default"] == "required"
            else p.default == (1.0 if no_scale else said["default"])
        )


@pytest.mark.parametrize("method", MERGEKIT)
def test_every_method_takes_mergekits_numbers_of_models(method, goldens):
    ours, theirs = SIGNATURES[method], goldens.signatures[method]
    assert ours.base == {"ignored": "input"}.get(theirs["base"], theirs["base"])
    least, most = theirs["inputs"] if theirs["non_base"] == [None, None] else theirs["non_base"]
    counted = int(theirs["base"] == "required" and theirs["non_base"] == [None, None])
    assert ours.models == (max(least - counted, 1), most if most is None else most - counted)


def test_no_method_is_left_out(goldens):
    assert set(MERGEKIT) == set(goldens.signatures)
