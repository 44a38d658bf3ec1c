"""From a recipe to weights: one pass, one rounding, and only with the seeds it was made from."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merganser import CheckpointError
from merganser.merging import Combination, checkpoint_of, combine_flat, materialise, read_recipe, verify
from merganser.weights import Checkpoint, flat_read


def checkpoint(seed, dtype=torch.float32, shape=(4, 3), **more):
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        "0.weight": torch.randn(shape, generator=generator).to(dtype),
        "0.bias": torch.randn(4, generator=generator).to(dtype),
        "1.weight": torch.randn(2, 4, generator=generator).to(dtype),
        "steps": torch.tensor([seed]),
        "empty": torch.zeros(0, 4, dtype=dtype),
    }
    return Checkpoint.from_tensors({**tensors, **more}, config={"seed": seed})


@given(st.integers(0, 20), st.integers(0, 20), st.sampled_from([np.float32, np.float64]))
def test_any_range_is_that_part_of_the_whole(begin, end, dtype):
    begin, end = sorted((begin, end))
    generator = np.random.default_rng(0)
    values = generator.standard_normal((3, 20)).astype(dtype)
    c = Combination(("a", "b", "c"), [0, 3, 4, 11, 20], generator.standard_normal((4, 3)))
    part = combine_flat(c, values[:, begin:end], begin, end)
    assert part.dtype == dtype
    assert (part == combine_flat(c, values)[begin:end]).all()


def test_every_position_is_the_combination_of_the_seeds():
    generator = np.random.default_rng(1)
    values = generator.standard_normal((2, 9))
    c = Combination(("a", "b"), [0, 2, 9], [[0.25, 0.5], [-1.0, 2.0]])
    expected = [c.coefficients[0 if x < 2 else 1] @ values[:, x] for x in range(9)]
    np.testing.assert_allclose(combine_flat(c, values), expected, rtol=1e-15)


def test_seeds_of_another_shape_are_refused():
    c = Combination(("a", "b"), [0, 9], [[1, 0]])
    with pytest.raises(ValueError, match=r"shape \(2, 9\), but it has \(2, 8\)"):
        combine_flat(c, np.zeros((2, 8)))
    with pytest.raises(ValueError, match=r"Positions \[2, 5\) of 2 seeds"):
        combine_flat(c, np.zeros((1, 3)), 2, 5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_seed_comes_back_bit_for_bit(dtype):
    seeds = [checkpoint(0, dtype), checkpoint(1, dtype)]
    digests = tuple(s.digest for s in seeds)
    size = seeds[0].layout.size
    first = materialise(Combination.seed(digests, 0, size), seeds)
    assert first.digest == seeds[0].digest
    assert dict(first.config) == {"seed": 0}
    second = materialise(Combination.seed(digests, 1, size), seeds)
    for name in ("0.weight", "0.bias", "1.weight"):
        assert torch.equal(second.read(name), seeds[1].read(name))
        assert second.read(name).dtype == dtype
    assert second.read("steps").item() == 0  # what is not floating is the first seed's


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_sums_run_in_float32_and_are_rounded_once(dtype):
    seeds = [checkpoint(k, dtype) for k in range(3)]
    size = seeds[0].layout.size
    c = Combination(tuple(s.digest for s in seeds), [0, 5, size], [[0.3, 0.3, 0.4], [1 / 3, -1.5, 0.7]])
    child = materialise(c, seeds)
    flat = combine_flat(c, np.stack([flat_read(s, dtype=np.float32) for s in seeds]))
    expected = torch.from_numpy(flat).to(dtype).to(torch.float64).numpy()
    assert (flat_read(child) == expected).all()


def test_double_precision_seeds_are_summed_in_double_precision():
    seeds = [checkpoint(k, torch.float64) for k in range(2)]
    c = Combination(tuple(s.digest for s in seeds), [0, seeds[0].layout.size], [[0.3, 0.7]])
    expected = 0.3 * flat_read(seeds[0]) + 0.7 * flat_read(seeds[1])
    np.testing.assert_allclose(flat_read(materialise(c, seeds)), expected, rtol=1e-15)


def test_seeds_are_found_by_their_digests_in_whatever_order():
    seeds = [checkpoint(k) for k in range(3)]
    c = Combination(tuple(s.digest for s in seeds), [0, seeds[0].layout.size], [[0.2, 0.3, 0.5]])
    expected = flat_read(materialise(c, seeds))
    assert (flat_read(materialise(c, seeds[::-1])) == expected).all()


def test_another_model_than_the_recipe_names_is_refused():
    seeds = [checkpoint(k) for k in range(2)]
    c = Combination(tuple(s.digest for s in seeds), [0, seeds[0].layout.size], [[0.5, 0.5]])
    with pytest.raises(ValueError, match=f"needs the seed with digest {seeds[1].digest}"):
        materialise(c, [seeds[0], checkpoint(7)])
    with pytest.raises(ValueError, match="have none"):
        materialise(c, [])


def test_seeds_that_do_not_align_or_have_another_size_are_refused():
    seeds = [checkpoint(0), checkpoint(1, shape=(6, 2))]
    digests = tuple(s.digest for s in seeds)
    with pytest.raises(ValueError, match="one architecture"):
        materialise(Combination(digests, [0, 24], [[0.5, 0.5]]), seeds)
    with pytest.raises(ValueError, match=r"counts 10 parameters, but the seeds have 24"):
        materialise(Combination(digests[:1], [0, 10], [[1.0]]), seeds)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_flat_values_take_the_donors_names_types_and_buffers(dtype):
    donor = checkpoint(3, dtype)
    flat = np.linspace(-1, 1, donor.layout.size, dtype=np.float32)
    model = checkpoint_of(flat, donor)
    assert list(model) == list(donor)
    assert [model.spec(n) for n in model] == [donor.spec(n) for n in donor]
    assert model.read("steps").item() == 3
    assert (flat_read(model) == torch.from_numpy(flat).to(dtype).double().numpy()).all()
    flat[:] = 9.0
    assert flat_read(model).max() <= 1.0
    with pytest.raises(ValueError, match="shape"):
        checkpoint_of(flat[:-1], donor)


def test_parents_are_not_changed():
    seeds = [checkpoint(k) for k in range(2)]
    digests = tuple(s.digest for s in seeds)
    child = materialise(Combination(digests, [0, seeds[0].layout.size], [[0.5, 0.5]]), seeds)
    child.read("0.weight").fill_(7.0)
    assert all(flat_read(s).max() < 7 for s in seeds)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_written_is_what_is_kept_in_memory_and_carries_its_recipe(tmp_path, workers):
    seeds = [checkpoint(k, torch.bfloat16) for k in range(3)]
    digests, size = tuple(s.digest for s in seeds), seeds[0].layout.size
    c = Combination(digests, [0, 3, 14, size], [[0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    written = materialise(c, seeds, out=tmp_path / "child", workers=workers)
    assert written.digest == materialise(c, seeds).digest
    assert dict(written.config) == {"seed": 0}
    assert read_recipe(tmp_path / "child" / "recipe.json") == c
    assert verify(tmp_path / "child", seeds).is_same
    with pytest.raises(ValueError, match="needs the seed"):
        verify(tmp_path / "child")


def test_a_seed_that_holds_no_numbers_is_named():
    seeds = [checkpoint(k) for k in range(2)]
    seeds.append(checkpoint(2, **{"0.bias": torch.tensor([0.0, float("nan"), 0.0, 0.0])}))
    c = Combination(tuple(s.digest for s in seeds), [0, seeds[0].layout.size], [[0.2, 0.3, 0.5]])
    with pytest.raises(CheckpointError, match=r"'0.bias' .* NaN, at element 1"):
        materialise(c, seeds)
