"""DARE and DELLA drop at random: as often as asked, without bias, and the same elements whoever asks."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merganser.merging.methods import Noise
from merganser.merging.methods._della import row_ranks
from merganser.merging.methods._noise import LEVELS, drawn_chance

DARE = ["dare_linear", "dare_ties"]
DELLA = ["della_linear", "della"]


def steps(shape, scale=0.01):
    """A tensor of distinct magnitudes that are never zero, with signs that alternate."""
    count = math.prod(shape)
    return (scale * torch.arange(1, count + 1) * (-1.0) ** torch.arange(count)).reshape(shape)


def zero(model):
    return {name: torch.zeros_like(tensor) for name, tensor in model.items()}


def is_within_five_deviations(kept, count, chance):
    return abs(kept - count * chance) <= 5 * math.sqrt(count * chance * (1 - chance)) + 1


@pytest.mark.parametrize("method", [*DARE, *DELLA])
@pytest.mark.parametrize("density", [0.2, 0.5, 0.73])
def test_as_many_entries_are_kept_as_the_density_says(method, density, masks):
    model = {"w": steps((200, 1001))}
    [mask] = masks(method, [model], zero(model), density=density)["w"]
    assert is_within_five_deviations(mask.sum(), mask.size, density)


@pytest.mark.parametrize("density", [0.9999, 0.01, 1e-3, 1e-4])
def test_extreme_densities_are_drawn_too(density, masks):
    model = {"w": steps((1000, 1001))}
    [mask] = masks("dare_linear", [model], zero(model), density=density)["w"]
    assert is_within_five_deviations(mask.sum(), mask.size, density)


@pytest.mark.parametrize("method", DARE)
@pytest.mark.parametrize("density", [0.5, 0.25, 0.1, 0.9, 1e-3])
def test_dare_scales_what_it_keeps_by_one_over_the_chance(method, density, run):
    model = {"w": steps((50, 101))}
    merged = run(method, [model], zero(model), density=density)["w"]
    ratio = (merged / model["w"])[merged != 0].double().numpy()
    np.testing.assert_allclose(ratio, 1 / drawn_chance(density), rtol=1e-6)
    np.testing.assert_allclose(ratio, 1 / density, rtol=0.5 / (density * LEVELS) + 1e-6)


@pytest.mark.parametrize("method", DARE)
def test_densities_of_a_half_a_quarter_and_one_are_drawn_and_scaled_to_the_bit(method, run):
    model = {"w": steps((50, 101))}
    for density in (0.5, 0.25, 1.0):
        merged = run(method, [model], zero(model), density=density)["w"]
        assert torch.equal(merged, (model["w"] / density) * (merged != 0))


@pytest.mark.parametrize("method", [*DARE, *DELLA])
@pytest.mark.parametrize("density", [0.12, 0.4, 0.5])
def test_the_expectation_is_the_task_vector(method, density, run):
    model = {"w": torch.ones(200, 1000)}
    merged = run(method, [model], zero(model), density=density)["w"].double()
    spread = math.sqrt((1 / (density - 0.1 * method.startswith("della")) - 1) / merged.numel())
    assert abs(merged.mean().item() - 1) <= 5 * spread


@given(st.floats(0, 1))
def test_the_chance_drawn_is_the_nearest_there_is_and_zero_only_for_zero(chance):
    drawn = drawn_chance(chance)
    assert drawn * LEVELS == int(drawn * LEVELS)
    assert abs(drawn - chance) <= 0.5 / LEVELS or drawn == 1 / LEVELS
    assert (drawn == 0) == (chance == 0)
    assert drawn <= 1


@pytest.mark.parametrize("density", [1e-6, 1e-300])
def test_densities_that_cannot_be_drawn_do_not_explode(density, run):
    """The least chance is 1/65,536, and the factor is that chance's, not 1e300."""
    model = {"w": torch.ones(1000, 1000)}
    merged = run("dare_linear", [model], zero(model), density=density)["w"]
    assert set(merged.unique().tolist()) == {0.0, 65_536.0}


@pytest.mark.parametrize("method", [*DARE, *DELLA])
def test_a_density_of_one_keeps_everything(method, run, masks):
    model = {"w": steps((50, 101))}
    merged = run(method, [model], zero(model), density=1.0)
    assert torch.equal(merged["w"], model["w"])


@pytest.mark.parametrize("method", DARE)
def test_a_density_of_zero_leaves_the_base(method, run):
    model, base = {"w": steps((50, 101))}, {"w": steps((50, 101)) / 2}
    assert torch.equal(run(method, [model], base, density=0.0)["w"], base["w"])


@pytest.mark.parametrize("method", [*DARE, *DELLA])
def test_l1_rescaling_restores_the_norm_of_each_task_vector(method, run):
    models = [{"w": steps((50, 101)), "v": steps((777,), 1e-3)}, {"w": steps((50, 101)), "v": steps((777,))}]
    for model, weight in zip(models, ([1.0, 0.0], [0.0, 1.0]), strict=True):
        merged = run(method, models, zero(model), rescale="l1", weight=weight, normalize=False, density=0.4)
        for name in model:
            assert merged[name].abs().sum().item() == pytest.approx(model[name].abs().sum().item(), rel=1e-5)


def test_a_mask_is_the_same_whatever_else_is_in_the_model(masks):
    alone = {"w": steps((50, 101))}
    among = {"a": steps((9,)), "w": steps((50, 101)), "z": steps((5000,))}
    for method in (*DARE, *DELLA):
        [first] = masks(method, [alone], zero(alone), density=0.5)["w"]
        [again] = masks(method, [among], zero(among), density=0.5)["w"]
        assert (first == again).all()


def test_a_dare_mask_does_not_depend_on_what_it_masks(masks):
    small, large = {"w": steps((50, 101), 1e-6)}, {"w": steps((50, 101), 3.0).flip(0)}
    [first] = masks("dare_linear", [small], zero(small), density=0.5)["w"]
    [again] = masks("dare_ties", [large], zero(large), density=0.5)["w"]
    assert (first == again).all()


@pytest.mark.parametrize("method", [*DARE, *DELLA])
def test_seeds_tensors_and_models_have_masks_of_their_own(method, masks):
    model = {"v": steps((100, 101)), "w": steps((100, 101))}
    drawn = [masks(method, [model, model], zero(model), density=0.5, seed=seed) for seed in (0, 1)]
    flat = [mask for by_name in drawn for name in ("v", "w") for mask in by_name[name]]
    assert len(flat) == 8
    for i, one in enumerate(flat):
        for other in flat[:i]:
            assert is_within_five_deviations((one == other).sum(), one.size, 0.5)


def test_a_model_of_more_keeps_what_a_model_of_less_keeps(masks):
    """One random number an element: with a higher density more is kept, and never something else."""
    model = {"w": steps((50, 101))}
    few, more = (masks("dare_linear", [model], zero(model), density=p)["w"][0] for p in (0.3, 0.6))
    assert (more | ~few).all()


@pytest.mark.parametrize("density", [0.3, 0.5])
def test_della_keeps_entries_by_their_rank_in_the_row(density, masks, run):
    columns, rows, epsilon = 6, 20_000, 0.15
    generator = torch.Generator().manual_seed(0)
    order = torch.rand(rows, columns, generator=generator).argsort(dim=1)
    model = {"w": (order + 1).float()}
    [mask] = masks("della_linear", [model], zero(model), density=density, epsilon=epsilon)["w"]
    merged = run("della_linear", [model], zero(model), density=density, epsilon=epsilon)["w"]
    for rank in range(columns):
        here, chance = (order == rank).numpy(), density - epsilon + 2 * epsilon * rank / (columns - 1)
        assert is_within_five_deviations(mask[here].sum(), rows, chance)
        kept = merged[torch.from_numpy(here & mask)]
        np.testing.assert_allclose(kept.numpy(), (rank + 1) / drawn_chance(chance), rtol=1e-5)


def slow_ranks(row):
    return [sum((x < y) or (x == y and i < j) for i, x in enumerate(row)) for j, y in enumerate(row)]


@given(
    st.integers(1, 5), st.integers(1, 9), st.integers(0, 99), st.sampled_from([torch.float32, torch.float64])
)
def test_row_ranks_count_what_is_smaller_or_equal_and_earlier(rows, columns, seed, dtype):
    generator = np.random.default_rng(seed)
    drawn = generator.choice([0.0, 1e-45, 1e-8, 0.5, 1.0, 3e38], (rows, columns))
    magnitude = torch.from_numpy(drawn).to(dtype).abs()
    assert row_ranks(magnitude).tolist() == [slow_ranks(row) for row in magnitude.tolist()]


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 3))
def test_any_stretch_of_the_noise_is_that_stretch_of_the_whole(begin, count, model):
    noise = Noise(3, "w")
    assert (noise.levels(model, begin, count) == noise.levels(model, 0, 600)[begin : begin + count]).all()


def test_the_noise_is_uniform_and_its_neighbours_and_streams_are_unrelated():
    count = 1 << 18
    streams = [
        Noise(seed, name).levels(model, 0, count).astype(float)
        for seed, name, model in [(0, "w", 0), (0, "w", 1), (0, "v", 0), (1, "w", 0)]
    ]
    for i, stream in enumerate(streams):
        counts = np.bincount((stream // 256).astype(int), minlength=256)
        chi_square = float(((counts - count / 256) ** 2 / (count / 256)).sum())
        assert abs(chi_square - 255) < 6 * math.sqrt(2 * 255)
        for lag in (1, 2, 3, 4, 8):
            assert abs(np.corrcoef(stream[:-lag], stream[lag:])[0, 1]) < 5 / math.sqrt(count)
        for other in streams[:i]:
            assert abs(np.corrcoef(stream, other)[0, 1]) < 5 / math.sqrt(count)


def test_the_noise_is_the_same_on_every_machine():
    assert Noise(7, "lm_head.weight").levels(2, 5, 4).tolist() == [52089, 38349, 59355, 31504]
