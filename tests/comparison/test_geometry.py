"""Figures of weight space against slow loops in float64; how tensors are read changes no bit."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from merganser import CheckpointError, save
from merganser.comparison import geometry
from merganser.comparison._largest import SHARES, threshold
from merganser.weights import Checkpoint, Execution, open_checkpoint

SHAPES = {
    "model.embed_tokens.weight": (97, 64),
    "model.layers.0.self_attn.q_proj.weight": (64, 64),
    "model.layers.0.mlp.up_proj.weight": (200, 64),
    "model.layers.0.input_layernorm.weight": (64,),
    "model.layers.1.self_attn.q_proj.weight": (64, 64),
    "model.norm.weight": (64,),
    "lm_head.weight": (97, 64),
}


def drawn(seed, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    return {name: spread * torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def added(first, second):
    return {name: first[name] + second[name] for name in first}


@pytest.fixture(scope="module")
def base():
    return drawn(0)


@pytest.fixture(scope="module")
def tuned(base):
    """Three fine-tunes; the second shares a direction with the first, and leaves half of the entries alone."""
    first, second, third = drawn(1, 0.01), drawn(2, 0.02), drawn(3, 0.03)
    second = {
        n: torch.where(torch.arange(t.numel()).view(t.shape) % 2 == 0, t + first[n], 0.0)
        for n, t in second.items()
    }
    return [added(base, task) for task in (first, second, third)]


@pytest.fixture(scope="module")
def opened(base, tuned, tmp_path_factory):
    """The base and the three as files."""
    folder = tmp_path_factory.mktemp("models")
    return [save(tensors, folder / f"{i}.safetensors") for i, tensors in enumerate((base, *tuned))]


def vectors(models, names, base=None):
    """Whole vectors in float64, or their differences from the base's."""
    flat = [np.concatenate([m[n].double().numpy().ravel() for n in names]) for m in models]
    return flat if base is None else [vector - vectors([base], names)[0] for vector in flat]


def check(part, models, names, base, thresholds):
    tasks = vectors(models, names, base)
    assert part.entries == len(tasks[0])
    np.testing.assert_allclose(part.base, np.linalg.norm(vectors([base], names)[0]), rtol=1e-12)
    for i, a in enumerate(tasks):
        assert part.norms[i] == pytest.approx(np.linalg.norm(a), rel=1e-12)
        for j, b in enumerate(tasks):
            assert part.cosines[i, j] == pytest.approx(
                a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-12
            )
            assert part.distances[i, j] == pytest.approx(np.linalg.norm(a - b), rel=1e-9, abs=1e-9)
            both, against = (a != 0) & (b != 0), a * b < 0
            assert part.opposite[i, j] == pytest.approx(against.sum() / both.sum(), abs=1e-15)
            by_weight = np.abs(a * b)[against].sum() / np.abs(a * b).sum()
            assert part.opposite_by_weight[i, j] == pytest.approx(by_weight, abs=1e-12)
            for share in SHARES:
                large, other = (
                    np.abs(v).astype(np.float32) >= thresholds[share, k] for k, v in ((i, a), (j, b))
                )
                union = (large | other).sum()
                expected = (large & other).sum() / union if union else np.nan
                np.testing.assert_allclose(part.overlap[share][i, j], expected, rtol=1e-15)


def test_every_part_equals_slow_sums_in_float64(opened, base, tuned):
    found = geometry(opened[1:], opened[0])
    everything = vectors(tuned, SHAPES, base)
    thresholds = {}
    for share in SHARES:
        for i, task in enumerate(everything):
            counts = np.bincount(np.abs(task).astype(np.float32).view(np.int32) >> 14, minlength=1 << 17)
            edge = thresholds[share, i] = threshold(counts, share)
            exact = np.sort(np.abs(task))[-int(np.ceil(share * len(task)))]
            assert exact * (1 - 2**-9) <= edge <= exact
    check(found.total, tuned, list(SHAPES), base, thresholds)
    inside = [name for name in SHAPES if name.startswith("model.layers.0.")]
    check(found.layers["model.layers.0"], tuned, inside, base, thresholds)
    attention = [name for name in SHAPES if "self_attn" in name]
    check(found.components["attention"], tuned, attention, base, thresholds)
    check(found.cells["model.layers.1", "attention"], tuned, attention[1:], base, thresholds)
    assert list(found.components) == ["embeddings", "attention", "mlp", "norms", "head"]
    assert list(found.layers) == ["embeddings", "model.layers.0", "model.layers.1", "model.norm", "head"]
    assert found.left_out == {}


def test_without_a_base_models_themselves_are_compared(opened, tuned):
    found = geometry(opened[1:])
    flat = vectors(tuned, SHAPES)
    lengths = np.array([np.linalg.norm(v) for v in flat])
    np.testing.assert_allclose(found.total.norms, lengths, rtol=1e-12)
    np.testing.assert_allclose(
        found.total.cosines, np.array(flat) @ np.array(flat).T / np.outer(lengths, lengths), rtol=1e-12
    )
    np.testing.assert_allclose(found.total.distances[0, 1], np.linalg.norm(flat[0] - flat[1]), rtol=1e-12)
    assert found.total.opposite is None
    assert found.total.relative is None
    assert found.total.overlap == {}


def test_neither_blocks_nor_threads_change_a_bit(opened):
    def bits(execution):
        found = geometry(opened[1:], opened[0], execution=execution)
        sums = [getattr(m, f.name) for m in found.tensors.values() for f in fields(m)]
        return [np.asarray(each).tobytes() for each in (*sums, *found.largest.values())]

    usual = bits(Execution())
    assert bits(Execution(chunk=4096)) == usual
    assert bits(Execution(chunk=8192, workers=3)) == usual


def test_distances_of_nearly_equal_models_are_exact():
    first = torch.full((512,), 1000.0, dtype=torch.float64)
    second = first + 1e-9 * torch.arange(512)
    models = [Checkpoint.from_tensors({"w": tensor}) for tensor in (first, second)]
    expected = torch.linalg.vector_norm(second - first).item()
    assert geometry(models).total.distances[0, 1] == pytest.approx(expected, rel=1e-12)


def test_a_model_that_is_the_base_has_no_direction(opened, base):
    found = geometry([opened[0], opened[1]], opened[0]).total
    assert found.norms[0] == 0
    assert np.isnan(found.cosines[0, 1])
    assert np.isnan(found.opposite[0, 1])
    assert found.overlap[0.1][0, 1] == 0
    assert geometry([opened[0], opened[1]], opened[0]).to_json()["total"]["cosines"] == [
        [None, None],
        [None, 1.0],
    ]


def test_tensors_that_do_not_fit_are_left_out_with_the_reason(base, tuned):
    longer = {**tuned[0], "model.embed_tokens.weight": torch.zeros(99, 64)}
    found = geometry([Checkpoint.from_tensors(longer), Checkpoint.from_tensors(tuned[1])])
    assert list(found.left_out) == ["model.embed_tokens.weight"]
    assert "vocabularies differ" in found.left_out["model.embed_tokens.weight"]
    assert "embeddings" not in found.components
    strangers = [Checkpoint.from_tensors({name: torch.ones(2)}) for name in ("a", "b")]
    with pytest.raises(ValueError, match="none in common"):
        geometry(strangers)
    with pytest.raises(ValueError, match="two or more"):
        geometry(strangers[:1])


def test_nan_is_a_damaged_model_that_is_named(tuned, tmp_path):
    damaged = {**tuned[0], "lm_head.weight": torch.full((97, 64), torch.nan)}
    place = save(damaged, tmp_path / "damaged.safetensors").source
    with pytest.raises(CheckpointError, match=r"lm_head.weight' of .*damaged.safetensors holds NaN"):
        geometry([Checkpoint.from_tensors(tuned[1]), open_checkpoint(place)])
