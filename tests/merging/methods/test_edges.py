"""Where an equation has several answers or none: ties, opposite vectors, vectors of one number, nothing at all."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

DTYPES = [torch.float32, torch.bfloat16, torch.float64]


def model(*numbers, dtype=torch.float32):
    return {"w": torch.tensor(numbers, dtype=dtype)}


def grid(seed, size, levels=6):
    """A task vector as between bfloat16 models: few magnitudes, many times each, on a base of zero."""
    drawn = torch.randint(-levels, levels + 1, (size,), generator=torch.Generator().manual_seed(seed))
    return {"w": (drawn * 2.0**-10).bfloat16()}


# trimming


@given(st.integers(0, 99), st.integers(1, 300), st.floats(0, 1), st.sampled_from(["model", "tensor"]))
def test_ties_keeps_everything_that_is_as_large_as_the_last_one_kept(run, seed, size, density, scope):
    vector = grid(seed, size)
    base = {"w": torch.zeros_like(vector["w"])}
    merged = run("ties", [vector], base, density=density, scope=scope)["w"]
    magnitudes = vector["w"].abs().float()
    count = size if density == 1 else max(1, int(density * size)) if density > 0 else 0
    kept = merged != 0
    if count:
        least = magnitudes.sort(descending=True)[0][count - 1]
        assert torch.equal(kept, (magnitudes >= least) & (magnitudes > 0))
        assert (magnitudes >= least).sum() >= count
    else:
        assert not kept.any()
    assert torch.equal(merged[kept], vector["w"][kept])


@pytest.mark.parametrize("scope", ["model", "tensor"])
def test_ties_with_a_density_of_one_trims_nothing_and_of_zero_everything(scope, run):
    vector, base = grid(1, 5000), grid(2, 5000)
    tuned = {"w": base["w"] + vector["w"]}
    assert torch.equal(run("ties", [tuned], base, density=1.0, scope=scope)["w"], tuned["w"])
    assert torch.equal(run("ties", [tuned], base, density=0.0, scope=scope)["w"], base["w"])


@pytest.mark.parametrize("scope", ["model", "tensor"])
def test_a_density_that_keeps_less_than_one_entry_keeps_one(scope, run):
    vector, base = model(0.1, -0.4, 0.2), model(0.0, 0.0, 0.0)
    merged = run("ties", [vector], base, density=1e-9, scope=scope)
    assert torch.equal(merged["w"], torch.tensor([0.0, -0.4, 0.0]))


def test_a_threshold_from_a_wide_tensor_holds_in_a_narrow_one(run):
    """1.00000001 is no float32, and the nearest one, 1, is below it."""
    vector = {
        "wide": torch.tensor([1.00000001, 0.5], dtype=torch.float64),
        "narrow": torch.tensor([1.0, 0.25]),
    }
    base = {name: torch.zeros_like(tensor) for name, tensor in vector.items()}
    merged = run("ties", [vector], base, density=0.25)
    assert merged["wide"].tolist() == [1.00000001, 0.0]
    assert merged["narrow"].tolist() == [0.0, 0.0]


def test_each_model_has_a_density_of_its_own(run):
    vector, base = model(1.0, 2.0, 3.0, 4.0), model(0.0, 0.0, 0.0, 0.0)
    merged = run("ties", [vector, vector], base, density=[0.25, 0.75], normalize=False)
    assert merged["w"].tolist() == [0.0, 2.0, 3.0, 8.0]


def test_breadcrumbs_drops_what_equals_the_upper_limit_and_keeps_what_equals_the_lower(run):
    vector = model(*[1.0] * 2, *[2.0] * 4, *[3.0] * 2, *[4.0] * 2)
    base = {"w": torch.zeros(10)}
    merged = run("breadcrumbs", [vector], base, density=0.4, gamma=0.1)["w"]
    assert merged.tolist() == [0, 0, 2, 2, 2, 2, 3, 3, 0, 0]


@pytest.mark.parametrize("method", ["breadcrumbs", "breadcrumbs_ties"])
def test_breadcrumbs_drops_less_at_the_top_rather_than_keep_less_than_asked(method, run):
    vector, base = model(1.0, 2.0, 3.0, 4.0), {"w": torch.zeros(4)}
    assert run(method, [vector], base, density=1.0, gamma=0.5)["w"].tolist() == [1, 2, 3, 4]
    assert run(method, [vector], base, density=0.75, gamma=0.5)["w"].tolist() == [1, 2, 3, 0]
    assert run(method, [vector], base, density=0.0, gamma=1.0)["w"].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("count", [2, 3, 5, 7])
def test_sce_selects_nothing_where_all_models_moved_together(count, run):
    """Whatever the rounding of a mean of equal numbers: entries without variance do not count."""
    generator = torch.Generator().manual_seed(0)
    together = torch.randn(5000, generator=generator)
    models = [{"w": together.clone()} for _ in range(count)]
    models[0]["w"][17] += 1.0
    merged = run("sce", models, {"w": torch.zeros(5000)}, select_topk=0.99)["w"]
    assert not merged.any()  # one entry varies, and 0.99 of one is none
    models[0]["w"][18] += 1.0
    merged = run("sce", models, {"w": torch.zeros(5000)}, select_topk=0.5)["w"]
    assert merged.nonzero().tolist() in ([[17]], [[18]], [[17], [18]])


# elections


def test_where_no_sign_has_a_majority_nothing_is_added(run):
    base = model(5.0, 5.0, 5.0)
    models = [model(6.0, 7.0, 6.0), model(4.0, 4.0, 4.5)]
    for method in ("ties", "breadcrumbs_ties"):
        parameters = {"density": 1.0} | ({"gamma": 0.0} if method.startswith("b") else {})
        merged = run(method, models, base, **parameters, normalize=False)
        assert merged["w"].tolist() == [5.0, 7.0, 6.0]


def test_weights_that_cancel_among_those_that_agree_leave_the_sum_undivided(run):
    base = model(0.0)
    models = [model(1.0), model(-2.0), model(-4.0)]
    for unit in (1.0, 0.1):
        merged = run("ties", models, base, weight=[2 * unit, -unit, -unit], density=1.0)
        assert merged["w"].item() == pytest.approx(8 * unit)


# vectors of one number, or opposite ones: an arc between them could be any


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("method", "parameters"),
    [("slerp", {}), ("nuslerp", {}), ("nuslerp", {"along": "rows"}), ("multislerp", {})],
)
def test_between_opposite_numbers_the_line_is_taken(method, parameters, dtype, run):
    """A float32 product that is rounded up would make an angle that is not there, and a merge a thousand times off."""
    for first, second in [(1.37, -0.9), (-0.1, 0.7), (3e-3, -1e4)]:
        merged = run(method, [model(first, dtype=dtype), model(second, dtype=dtype)], **parameters)
        one, other = (torch.tensor(number, dtype=dtype).double() for number in (first, second))
        torch.testing.assert_close(merged["w"], ((one + other) / 2).to(dtype).reshape(1))


@pytest.mark.parametrize("factor", [-1.0, -3.0, -1.7])
@pytest.mark.parametrize("method", ["slerp", "nuslerp", "multislerp"])
def test_between_opposite_vectors_the_line_is_taken(method, factor, run):
    vector = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    merged = run(method, [{"w": vector}, {"w": factor * vector}])
    torch.testing.assert_close(merged["w"], (1 + factor) / 2 * vector, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_karcher_mean_of_opposite_numbers_has_the_mean_length(dtype, run):
    """Numbers on the other side count with their length; on a line there is no way to turn towards them."""
    merged = run("karcher", [model(1.5, dtype=dtype), model(0.75, dtype=dtype), model(-0.75, dtype=dtype)])
    assert merged["w"].item() == pytest.approx(1.0, rel=2**-8)
    merged = run("karcher", [model(0.25, dtype=dtype), model(-0.75, dtype=dtype)])
    assert abs(merged["w"].item()) == pytest.approx(0.5, rel=2**-8)


def test_a_model_without_weight_does_not_turn_the_karcher_mean(run):
    merged = run("karcher", [model(0.0, 0.0), model(3.0, 4.0)], weight=[1, 0])
    assert merged["w"].tolist() == [0.0, 0.0]
    merged = run("karcher", [model(0.0, 0.0), model(3.0, 4.0)], weight=[1, 3])
    np.testing.assert_allclose(merged["w"], [2.25, 3.0], rtol=1e-6)


def test_where_the_directions_of_models_cancel_the_line_is_taken(run):
    merged = run("multislerp", [model(1.0, 0.0), model(-3.0, 0.0), model(0.0, 1.0)], weight=[1, 1, 0])
    assert merged["w"].tolist() == [-1.0, 0.0]


def test_model_stock_keeps_the_base_between_opposite_task_vectors(run):
    merged = run("model_stock", [model(2.0, 1.0), model(0.0, 1.0)], model(1.0, 1.0))
    assert merged["w"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("spread", [1e-2, 1e-3, 1e-4])
def test_light_fine_tunes_are_merged_on_their_arc_and_not_on_the_line(spread, run, expected):
    """A cosine of 0.9995, from which others take the line, is a spread of three percent."""
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(20_000, generator=generator)
    models = [{"w": base * (1 + 9 * i) + spread * torch.randn(20_000, generator=generator)} for i in range(2)]
    merged, exact = run("slerp", models, t=0.3)["w"].double(), expected("slerp", models, t=0.3)["w"]
    assert np.abs(merged.numpy() - exact).max() < 1e-5 * spread + 2e-6


# changes counted as changes


def test_ram_counts_a_change_only_above_its_threshold(run):
    base, models = {"w": torch.zeros(4)}, [model(1.0, 0.25, 0.5, 0.0), model(1.0, 1.0, 0.25, 0.25)]
    assert run("ram", models, base, epsilon=0.25)["w"].tolist() == [1.0, 1.0, 0.5, 0.0]
    assert run("ram", models, base, epsilon=0.0)["w"].tolist() == [1.0, 0.625, 0.375, 0.25]


def test_nearswap_moves_every_weight_by_at_most_t(run):
    base, other = model(0.0, 1.0, 2.0, 3.0, -1.0), model(0.1, 1.0, 3.0, -3.0, -1.3)
    merged = run("nearswap", [other], base, t=0.25)["w"]
    torch.testing.assert_close(merged, torch.tensor([0.1, 1.0, 2.25, 2.75, -1.25]))


def test_arcee_fusion_moves_the_outliers_whole(run):
    base = torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    other = base + 1e-4 * torch.randn(20, 50, generator=torch.Generator().manual_seed(1))
    other[3, 7] += 2.0
    merged = run("arcee_fusion", [{"w": other}], {"w": base})["w"]
    assert merged[3, 7] == other[3, 7]
    assert 0 < (merged != base).sum() < 200
