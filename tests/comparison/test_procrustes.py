"""Procrustes distances: against the definition, invariances, shards, projections."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.comparison import ProcrustesSums

A, B = ("a", "last"), ("b", "last")


def pair(seed, rows=40, d=6):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, d))
    return x, np.tanh(x @ rng.normal(size=(d, d))) + rng.normal(size=(rows, d))


def distance(x, y, **options):
    return ProcrustesSums.of({A: x, B: y}, **options).distances()[0, 1]


def unit(x):
    centred = x - x.mean(axis=0)
    return centred / np.linalg.norm(centred)


@given(st.integers(0, 999))
def test_it_is_what_the_best_rotation_leaves(seed):
    x, y = map(unit, pair(seed))
    u, _, vh = np.linalg.svd(y.T @ x)
    best = np.linalg.norm(x - y @ u @ vh)
    assert distance(x, y) == pytest.approx(best, abs=1e-9)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))[0]
    assert np.linalg.norm(x - y @ rotation) >= best - 1e-12


@given(st.integers(0, 999), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_rotation_scale_and_translation_do_not_matter(seed, scale, offset):
    x, y = pair(seed)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))[0]
    assert distance(scale * x @ rotation + offset, y) == pytest.approx(distance(x, y), abs=1e-8)
    assert distance(scale * x @ rotation, x) < 1e-6


def test_shards_add_up_far_from_zero():
    x, y = (each + 1e3 for each in pair(1, rows=60))
    cuts = [slice(0, 7), slice(7, 40), slice(40, 60)]
    first, second, third = (ProcrustesSums.of({A: x[cut], B: y[cut]}) for cut in cuts)
    found = (third + first) + second
    assert found.rows == 60
    assert found.distances()[0, 1] == pytest.approx(distance(x, y), abs=1e-9)
    assert (first + {A: x[7:], B: y[7:]}).distances()[0, 1] == pytest.approx(distance(x, y), abs=1e-9)


def test_wide_features_are_projected_the_same_way_everywhere():
    x, y = pair(2, rows=200, d=90)
    assert distance(x, x, width=16) < 1e-6
    few, more, whole = (distance(x, y, width=width) for width in (16, 64, 90))
    assert whole == pytest.approx(distance(x, y, width=500))
    assert few != more
    assert abs(more - whole) < abs(few - whole)
    assert ProcrustesSums.of({A: x, B: y}, width=16).products.shape == (32, 32)


def test_misuse_is_told():
    x, y = pair(0)
    with pytest.raises(ValueError, match="same rows"):
        distance(x, y[:-1])
    with pytest.raises(ValueError, match="at most 16384"):
        ProcrustesSums.of({("a", str(i)): np.zeros((2, 64)) for i in range(257)})
    with pytest.raises(ValueError, match="NaN"):
        distance(x, y * np.nan)
    with pytest.raises(ValueError, match="same width and seed"):
        ProcrustesSums.of({A: x}, seed=1) + ProcrustesSums.of({A: x})
    assert np.isnan(distance(x, 0 * y))
