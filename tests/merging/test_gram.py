"""Inner products from prefix sums, whatever the block, and angles where float32 would lose them."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

import merganser
from merganser.merging import Combination, Gram, _fused, _gram, _products, combine_flat
from merganser.weights import Checkpoint, Execution, flat_read

BLOCKS = (1, 2, 3, 7, 16, 40, 1000)


def seeds(seed, count=3, size=40):
    return np.random.default_rng(seed).standard_normal((count, size))


def breaks_within(size):
    return st.lists(st.integers(0, size), min_size=2, max_size=9, unique=True).map(sorted).map(np.array)


@given(st.integers(0, 10**6), breaks_within(40), st.sampled_from(BLOCKS))
def test_every_block_gives_the_products_of_every_segment(seed, breaks, block):
    values = seeds(seed)
    expected = [values[:, a:b] @ values[:, a:b].T for a, b in itertools.pairwise(breaks)]
    np.testing.assert_allclose(Gram.of(values, block).segments(breaks), expected, atol=1e-12)


@pytest.mark.parametrize("pieces", [1, 5, 13])
def test_the_first_pass_gives_the_same_however_it_is_cut(monkeypatch, pieces):
    values = seeds(1, size=97)
    monkeypatch.setattr(_gram, "_PASS", pieces)
    for block in (1, 4, 10):
        gram = Gram.of(values, block)
        np.testing.assert_allclose(gram.segments(np.array([0, 97]))[0], values @ values.T)
        np.testing.assert_allclose(
            gram.segments(np.array([33, 41]))[0], values[:, 33:41] @ values[:, 33:41].T
        )


def test_a_break_inside_a_block_is_read_once():
    values, reads = seeds(2, count=1), []

    def read(begin, end):
        reads.append((begin, end))
        return values[0, begin:end]

    gram = Gram([read], 40, block=16)
    reads.clear()
    for _ in range(3):
        gram.segments(np.array([0, 16, 21, 40]))
    assert reads == [(16, 21)]


def test_small_models_store_every_position_and_large_ones_every_64ki():
    assert Gram.of(np.ones((1, 10))).block == 1
    assert Gram.of(np.ones((1, 1_000_001), dtype=np.float32)).block == 65536


@given(st.integers(0, 10**6), st.integers(0, 40), st.integers(0, 40), st.sampled_from(BLOCKS))
def test_the_angle_of_descendants_is_that_of_their_vectors(seed, begin, end, block):
    values, generator = seeds(seed), np.random.default_rng(seed + 1)
    gram = Gram.of(values, block)
    a, b = (
        Combination(("x", "y", "z"), [0, cut, 40], generator.standard_normal((2, 3)))
        for cut in generator.integers(1, 40, 2)
    )
    angle = gram.angle(a, b, begin, end)
    if begin >= end:
        assert angle is None
        return
    x, y = (combine_flat(c, values)[begin:end] for c in (a, b))
    assert np.cos(angle) == pytest.approx(x @ y / np.sqrt((x @ x) * (y @ y)), abs=1e-10)


@pytest.mark.parametrize("block", [1, 64, None])
@pytest.mark.parametrize("noise", [1e-2, 1e-3, 1e-4])
def test_near_parallel_fine_tunes_keep_their_angle(noise, block):
    generator = np.random.default_rng(3)
    base = generator.standard_normal(20_000)
    values = (base + noise * generator.standard_normal((2, 20_000))).astype(np.float32)
    first, second = (Combination.seed(("a", "b"), k, 20_000) for k in range(2))
    x, y = values.astype(np.float64)
    # the angle by a formula that is exact for small angles: 2 atan2(|x/|x| - y/|y||, |x/|x| + y/|y||)
    u, v = x / np.linalg.norm(x), y / np.linalg.norm(y)
    exact = 2 * np.arctan2(np.linalg.norm(u - v), np.linalg.norm(u + v))
    assert np.cos(exact) > 0.9998
    assert Gram.of(values, block).angle(first, second) == pytest.approx(exact, rel=1e-5)


def test_an_angle_with_nothing_is_none():
    values = np.array([[0.0, 0, 0, 1], [1, 2, 3, 4]])
    gram = Gram.of(values)
    first, second = (Combination.seed(("a", "b"), k, 4) for k in range(2))
    assert gram.angle(first, second, 0, 3) is None
    assert gram.angle(second, first, 0, 3) is None
    assert gram.angle(first, second, 2, 2) is None
    assert gram.angle(first, second) is not None


def test_checkpoints_are_read_by_any_number_of_workers_with_the_same_sums(monkeypatch):
    monkeypatch.setattr(_gram, "_PASS", 7)
    generator = np.random.default_rng(3)
    tensors = [
        {"0.weight": generator.standard_normal((5, 4)), "0.bias": generator.standard_normal(5)} for _ in "abc"
    ]
    checkpoints = [Checkpoint.from_tensors(t) for t in tensors]
    values = np.stack([flat_read(c) for c in checkpoints])
    breaks = np.array([0, 3, 17, 25])
    expected = Gram.of(values, 2).segments(breaks)
    for workers in (1, 2):
        gram = Gram.over(checkpoints, 2, Execution(workers))
        assert (gram.segments(breaks) == expected).all()
    with pytest.raises(ValueError, match="one architecture"):
        Gram.over([checkpoints[0], Checkpoint.from_tensors({"0.weight": np.ones((5, 4))})])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("block", [64, 128, 1024])
def test_loops_over_stored_numbers_give_the_same_sums_to_the_last_bit(monkeypatch, tmp_path, dtype, block):
    pytest.importorskip("numba")
    generator = torch.Generator().manual_seed(0)
    shapes = {"a.weight": (37, 29), "b.weight": (1,), "c.weight": (50, 41), "d.bias": (63,)}
    opened = []
    for k in range(3):
        tensors = {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}
        save_file(tensors, tmp_path / f"{k}.safetensors")
        opened.append(merganser.open(tmp_path / f"{k}.safetensors"))
    monkeypatch.setattr(_gram, "_PASS", 1024)
    slow = Gram.over(opened, block)
    monkeypatch.setattr(_fused, "WORTH_LOADING", 0)
    assert _products.stored_sums(opened, block) is not None
    fast = Gram.over(opened, block)
    breaks = np.arange(0, slow.size + 1, block)
    assert np.array_equal(fast.segments(breaks), slow.segments(breaks))
    numbers = np.stack([flat_read(checkpoint) for checkpoint in opened])
    np.testing.assert_allclose(fast.segments(np.array([0, fast.size]))[0], numbers @ numbers.T, rtol=1e-12)


def test_seeds_of_different_types_are_added_up_from_numbers(monkeypatch):
    monkeypatch.setattr(_fused, "WORTH_LOADING", 0)
    one, two = (
        Checkpoint.from_tensors({"w": torch.ones(640, dtype=t)}) for t in (torch.float32, torch.float16)
    )
    assert _products.stored_sums([one, two], 64) is None
    assert Gram.over([one, two], 64).segments(np.array([0, 640]))[0].tolist() == [[640, 640], [640, 640]]
