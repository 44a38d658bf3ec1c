"""Spectra of task vectors against singular value decompositions of numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from merganser.comparison import compare, geometry, spectra
from merganser.weights import Checkpoint, Execution

SHAPES = {
    "embed_tokens.weight": (30, 24),
    "layers.0.mlp.weight": (40, 24),
    "layers.1.mlp.weight": (20, 24),
    "layers.1.conv.weight": (6, 5, 3, 3),
    "layers.1.norm.weight": (24,),
}


@pytest.fixture(scope="module")
def models():
    """A base; two models that share a direction; a third that is the base but for one matrix."""
    generator = torch.Generator().manual_seed(0)
    base, first, second = (
        {n: torch.randn(s, generator=generator) for n, s in SHAPES.items()} for _ in range(3)
    )
    first, second = ({n: base[n] + 0.1 * task[n] for n in base} for task in (first, second))
    direction = torch.outer(*(torch.randn(n, generator=generator) for n in (40, 24)))
    for model in (first, second):
        model["layers.0.mlp.weight"] += 5 * direction
    third = {**base, "layers.1.mlp.weight": first["layers.1.mlp.weight"]}
    return [base, first, second, third]


@pytest.fixture(scope="module")
def opened(models):
    return [Checkpoint.from_tensors(tensors) for tensors in models]


def test_values_and_directions_are_those_of_numpy(models, opened):
    base, *tuned = opened
    found = spectra(tuned, base, geometry(tuned, base, overlap=False), top=3)
    assert list(found) == ["layers.0.mlp.weight", "layers.1.conv.weight", "layers.1.mlp.weight"]
    for name, spectrum in found.items():
        rows = SHAPES[name][0]
        tasks = [(m[name].double() - models[0][name].double()).numpy().reshape(rows, -1) for m in models[1:3]]
        parts = [np.linalg.svd(task, full_matrices=False) for task in tasks]
        k = spectrum.top
        assert k == {"layers.1.conv.weight": 1}.get(name, 3)
        for i, (_, values, _) in enumerate(parts):
            np.testing.assert_allclose(spectrum.values[i], values, rtol=1e-9, atol=1e-7)
            assert spectrum.stable_ranks[i] == pytest.approx((values**2).sum() / values[0] ** 2)
        (u, s, vt), (w, z, xt) = parts
        assert spectrum.cosines[0, 1] == pytest.approx(s @ z / np.linalg.norm(s) / np.linalg.norm(z))
        assert spectrum.outputs[0, 1] == pytest.approx(((u[:, :k].T @ w[:, :k]) ** 2).sum() / k, abs=1e-9)
        assert spectrum.inputs[0, 1] == pytest.approx(((vt[:k] @ xt[:k].T) ** 2).sum() / k, abs=1e-9)
        assert spectrum.outputs[0, 0] == pytest.approx(1)
    assert found["layers.0.mlp.weight"].outputs[0, 1] > 1 / 3
    assert np.isnan(found["layers.0.mlp.weight"].inputs[0, 2])
    assert found["layers.0.mlp.weight"].values[2].max() == 0
    assert found["layers.1.mlp.weight"].outputs[0, 2] == pytest.approx(1)


def test_threads_change_no_bit_and_misuse_is_refused(opened):
    base, *tuned = opened
    measured = geometry(tuned, base, overlap=False)
    one, two = (spectra(tuned, base, measured, execution=Execution(workers=n)) for n in (1, 2))
    assert all(one[n].values.tobytes() == two[n].values.tobytes() for n in one)
    with pytest.raises(ValueError, match="at least one direction"):
        spectra(tuned, base, measured, top=0)


def test_compare_decomposes_on_demand(models):
    base, first, second, _ = models
    known = compare([first, second], base, with_spectra=True).to_json()
    [layers] = known["spectra"]
    assert layers["layers.0"]["matrices"] == 1
    assert layers["layers.0"]["stable_rank"][0] < 2 < layers["layers.1"]["stable_rank"][0]
    assert layers["layers.0"]["cosine"][0][1] > layers["layers.1"]["cosine"][0][1]
    assert compare([first, second], base).to_json()["spectra"] == []
    with pytest.raises(ValueError, match="name the base"):
        compare([first, second], with_spectra=True)
