"""Merged bfloat16 models hold the numbers that float64 would have given, rounded once."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from merganser.merging.methods import METHODS

SHAPE = (128, 2048)
ENOUGH = 0.999


@pytest.fixture(scope="module")
def fine_tunes():
    """A base as language models have it, and models tuned from it, more or less: 128 by 2,048, in bfloat16."""
    held = {}

    def make(spread):
        if spread not in held:
            generator = torch.Generator().manual_seed(0)
            base = (0.02 * torch.randn(SHAPE, generator=generator)).bfloat16()
            tuned = [base.float() + spread * torch.randn(SHAPE, generator=generator) for _ in range(3)]
            held[spread] = [{"w": base}, *({"w": model.bfloat16()} for model in tuned)]
        return held[spread]

    return make


def share_of_equal(merged, reference, rounded):
    return float(np.mean(merged["w"].double().numpy() == rounded(reference["w"])))


@pytest.mark.parametrize("spread", [2e-3, 3e-4])
def test_merged_bfloat16_is_the_rounded_double_precision_result(case, spread, fine_tunes, run, expected):
    base, *models = fine_tunes(spread)
    if case.method.startswith(("dare", "della")):  # some rows, for their masks cost more merges
        base, *models = ({"w": model["w"][:64]} for model in (base, *models))
    if METHODS[case.method].rule.statistics:  # a corner, for their Gram matrices cost more still
        base, *models = ({"w": model["w"][:96, :96].contiguous()} for model in (base, *models))
    models, base = models[: case.models(3)], base if case.has_base else None
    merged = run(case.method, models, base, **case.parameters)
    reference = expected(case.method, models, base, **case.parameters)
    assert share_of_equal(merged, reference, expected.module.bfloat16) >= ENOUGH


@pytest.mark.parametrize("spread", [2e-3, 3e-4])
@pytest.mark.parametrize(
    "method",
    ["linear", "task_arithmetic", "ties", "breadcrumbs", "breadcrumbs_ties", "dare_linear", "dare_ties"],
)
def test_weights_in_decimals_mean_the_fractions_they_are_written_as(
    method, spread, fine_tunes, run, expected
):
    """Where a sum lies between two numbers, or no sign has a majority, the last bit of 0.3 must not decide."""
    base, *models = fine_tunes(spread)
    base = base if METHODS[method].rule.base == "required" else None
    merged = run(method, models, base, weight=[0.6, 0.3, 0.45], normalize=True)
    reference = expected(method, models, base, weight=[4, 2, 3], normalize=True)
    assert share_of_equal(merged, reference, expected.module.bfloat16) >= ENOUGH


def test_a_vote_that_is_tied_in_decimals_is_tied(run):
    """0.6 · 2 − 0.4 · 3 is 0, also where the nearest float64 to 0.4 makes it −2e-16."""
    base = {"w": torch.zeros(1)}
    models = [{"w": torch.tensor([2.0])}, {"w": torch.tensor([-3.0])}]
    for normalize in (True, False):
        merged = run("ties", models, base, weight=[0.6, 0.4], density=1.0, normalize=normalize)
        assert merged["w"].item() == 0.0


@example(counts=[21, 21, 21], denominator=10)
@given(st.lists(st.integers(-40, 40), min_size=2, max_size=5), st.sampled_from([1, 3, 7, 10, 20, 100]))
def test_sums_of_grid_numbers_with_fractional_weights_are_rounded_once(run, counts, denominator):
    values = [torch.tensor(3.0 + 2 * i) for i in range(len(counts))]
    weight = [count / denominator for count in counts]
    merged = run("linear", [{"w": value} for value in values], weight=weight, normalize=False)
    exact = sum(Fraction(n, denominator) * int(value) for n, value in zip(counts, values, strict=True))
    assert merged["w"].item() == np.float32(float(exact))


def test_the_share_of_a_base_that_weights_of_sum_one_leave_is_exactly_zero(run):
    base, model = {"w": torch.full((9,), 1e30)}, {"w": torch.full((9,), 1e-3)}
    merged = run(
        "task_arithmetic", [model] * 3, base, weight=[0.1, 0.2, 0.7]
    )  # whose sum as floats is 1 − 1e-16
    torch.testing.assert_close(merged["w"], model["w"])


def test_the_reference_rounds_to_the_nearest_bfloat16_and_to_even_in_the_middle(expected):
    rounded = expected.module.bfloat16
    bits = np.arange(0x7F80, dtype=np.uint32)  # all that are finite and not negative, in ascending order
    numbers = (bits << 16).view(np.float32).astype(np.float64)
    middles = (numbers[1:] + numbers[:-1]) / 2
    for sign in (1, -1):
        assert (rounded(sign * numbers) == sign * numbers).all()
        assert (rounded(sign * middles) == sign * np.where(bits[1:] % 2, numbers[:-1], numbers[1:])).all()
        assert (rounded(sign * np.nextafter(middles, np.inf)) == sign * numbers[1:]).all()
        assert (rounded(sign * np.nextafter(middles, 0)) == sign * numbers[:-1]).all()


def test_torch_would_round_a_double_twice(expected):
    """Which is why the reference has a rounding of its own."""
    just_above_the_middle = 1 + 2**-8 + 2**-40
    assert torch.tensor(just_above_the_middle, dtype=torch.float64).bfloat16().item() == 1.0
    assert expected.module.bfloat16(just_above_the_middle) == 1 + 2**-7
