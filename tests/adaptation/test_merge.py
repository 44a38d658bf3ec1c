"""Experts merged by the methods that merge models."""

import numpy as np
import pytest
import torch

from merganser.adaptation import ExpertVector, merge_experts, mix

from .conftest import expert_of


def test_a_linear_merge_is_a_mixture(factors):
    experts = [expert_of(factors, seed) for seed in range(2)]
    merged, mixed = merge_experts(experts, "linear", weight=[0.3, 0.7]), mix(experts, [0.3, 0.7])
    for name in mixed:
        torch.testing.assert_close(merged.gains(name), mixed.gains(name), atol=1e-6, rtol=1e-5)
    assert merged.base == mixed.base


def test_slerp_follows_its_formula_on_scales(factors):
    one, two = (expert_of(factors, seed) for seed in range(2))
    merged = merge_experts([one, two], "slerp", t=0.25)
    for name in one:
        a, b = ((e.gains(name).double() + 1).numpy() for e in (one, two))
        angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        wanted = (np.sin(0.75 * angle) * a + np.sin(0.25 * angle) * b) / np.sin(angle)
        assert merged.gains(name).numpy() + 1 == pytest.approx(wanted, abs=1e-5)


def test_methods_that_need_a_base_have_that_of_ones(factors):
    experts = [expert_of(factors, seed) for seed in range(2)]
    merged = merge_experts(experts, "task_arithmetic", weight=[0.5, 0.25])
    mixed = mix(experts, [0.5, 0.25])
    for name in mixed:
        torch.testing.assert_close(merged.gains(name), mixed.gains(name), atol=1e-6, rtol=1e-5)


def test_experts_that_do_not_belong_together_are_refused(factors):
    one = expert_of(factors)
    with pytest.raises(ValueError, match="experts of one base"):
        merge_experts([one, ExpertVector.from_gains(one.vectors, dict.fromkeys(one, "other"))], "linear")
    with pytest.raises(ValueError, match=r"no merge method `tise`\. Did you mean `ties`"):
        merge_experts([one, one], "tise")


def test_where_an_expert_has_no_direction_it_is_the_base(factors):
    whole, short = expert_of(factors), expert_of(factors, seed=1, rank=5)
    merged = merge_experts([whole, short], "linear")
    for name in merged:
        wanted = whole.gains(name).clone() / 2
        wanted[:5] += short.gains(name) / 2
        torch.testing.assert_close(merged.gains(name), wanted, atol=1e-6, rtol=1e-5)
