"""Experts: both parametrisations, the file, mixing, and as checkpoints for the house's own tools."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merganser import CheckpointError
from merganser.adaptation import ExpertVector, gains_of, identity, mix, open_expert, save_expert, scales
from merganser.adaptation._factors import Factors
from merganser.merging import merge
from merganser.weights import open_checkpoint, save

from .conftest import expert_of


def spectrum(seed, directions):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(directions, generator=generator).add(0.01).sort(descending=True).values


@given(st.integers(0, 99), st.integers(1, 40), st.floats(-20, 20))
def test_constant_logits_give_exactly_no_gain(seed, directions, value):
    logits = torch.full((directions,), value)
    assert not gains_of(logits, spectrum(seed, directions), "sigmoid").any()


@given(st.integers(0, 99), st.integers(1, 40), st.floats(0.05, 2))
def test_the_nuclear_norm_stays_and_scales_are_those_of_the_published_code(seed, directions, spread):
    sigma = spectrum(seed, directions).double()
    logits = spread * torch.randn(directions, generator=torch.Generator().manual_seed(seed)).double()
    e = 1 + gains_of(logits, sigma, "sigmoid")
    m = torch.sigmoid(logits)
    assert torch.allclose(e, m * sigma.sum() / (sigma * m).sum(), rtol=1e-12)
    assert (sigma * e).sum().item() == pytest.approx(sigma.sum().item(), rel=1e-12)


def test_a_matrix_of_zeros_has_gains_too():
    assert not gains_of(torch.ones(3), torch.zeros(3), "sigmoid").any()


@given(st.integers(0, 99), st.integers(1, 12))
def test_gradients_are_the_closed_form(seed, directions):
    """dL/dm_i = c (a_i - sigma_i sum(a m) / sum(sigma m)), dL/dp_i = dL/dm_i m_i (1 - m_i)."""
    generator = torch.Generator().manual_seed(seed)
    sigma = spectrum(seed, directions).double()
    logits = torch.randn(directions, generator=generator, dtype=torch.float64, requires_grad=True)
    a = torch.randn(directions, generator=generator, dtype=torch.float64)
    (a * gains_of(logits, sigma, "sigmoid")).sum().backward()
    m = torch.sigmoid(logits.detach())
    c = sigma.sum() / (sigma * m).sum()
    expected = c * (a - sigma * (a * m).sum() / (sigma * m).sum()) * m * (1 - m)
    assert logits.grad is not None
    assert torch.allclose(logits.grad, expected, atol=1e-10)


def test_an_expert_comes_back_from_its_file_as_it_was(factors, tmp_path):
    expert = expert_of(factors)
    place = save_expert(expert, tmp_path / "maths.safetensors")
    found = open_expert(place)
    assert found.parametrisation == "sigmoid"
    assert found.facts == {"seed": 0}
    assert found.base == factors.digests
    for name in expert:
        assert torch.equal(found.vectors[name], expert.vectors[name])
        assert torch.equal(found.gains(name), expert.gains(name))
    assert place.stat().st_size < 20_000
    assert expert.gains(name).std() > 0.1


def test_gains_of_an_expert_are_those_of_training(factors):
    expert = expert_of(factors)
    for name in expert:
        assert torch.equal(expert.gains(name), gains_of(expert.vectors[name], factors[name].sigma, "sigmoid"))


def test_files_that_are_no_experts_are_refused(factors, tmp_path, stories):
    with pytest.raises(CheckpointError, match="no `merganser_expert` in its header"):
        open_expert(save({"w": torch.ones(2)}, tmp_path / "other.safetensors").path)
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        open_expert(tmp_path / "nothing.safetensors")
    good = {
        "merganser_expert": "1",
        "parametrisation": "plain",
        "base": json.dumps({"w": "digest"}),
        "means": "{}",
        "facts": "{}",
    }
    cases = [
        ({"merganser_expert": "2"}, {}, "it has version 2"),
        ({"parametrisation": "square"}, {}, "found 'square'"),
        ({"base": "[]"}, {}, "must be an object"),
        ({"base": "{"}, {}, "is no JSON"),
        ({"base": "{}"}, {}, "'w' lacks one of them"),
        ({"parametrisation": "sigmoid"}, {}, r"mean mask of 'w' in \(0, 1\], found None"),
        ({}, {"w": torch.ones(2, 2)}, r"of shape \(2, 2\)"),
        ({}, {"w": torch.tensor([float("inf")])}, "NaN or infinity"),
    ]
    for number, (header, tensors, message) in enumerate(cases):
        path = tmp_path / f"{number}.safetensors"
        save({"w": torch.ones(2)} | tensors, path, metadata=good | header)
        with pytest.raises(CheckpointError, match=message):
            open_expert(path)


def test_saving_refuses_what_it_cannot_keep(factors, tmp_path):
    expert = expert_of(factors)
    with pytest.raises(ValueError, match=r"ends in \.safetensors"):
        save_expert(expert, tmp_path / "maths")
    odd = ExpertVector(expert.vectors, "sigmoid", expert.base, expert.means, {"loss": float("nan")})
    with pytest.raises(ValueError, match="Facts must be"):
        save_expert(odd, tmp_path / "maths.safetensors")


def test_logits_that_leave_nothing_are_refused(factors):
    name = next(iter(factors))
    with pytest.raises(ValueError, match="mean mask"):
        ExpertVector.from_logits({name: torch.full((64,), -200.0)}, factors)
    with pytest.raises(ValueError, match="at most 64 numbers"):
        ExpertVector.from_logits({name: torch.zeros(65)}, factors)
    with pytest.raises(ValueError, match="was not decomposed"):
        ExpertVector.from_logits({"head": torch.zeros(5)}, factors)


def test_an_expert_mixed_alone_is_that_expert(factors):
    expert = expert_of(factors)
    for mixed in (
        mix([expert], [1.0]),
        mix([expert, expert_of(factors, 1)], [1, 0]),
        mix([expert], [1], normalise=True),
    ):
        assert all(torch.equal(mixed.gains(name), expert.gains(name)) for name in expert)


@given(st.lists(st.floats(0.1, 2), min_size=2, max_size=3))
def test_the_normalised_mixture_is_the_published_rule(alphas):
    """Scales m summed with weights, then the factor that keeps the nuclear norm; experts have that norm already."""
    sigma = spectrum(0, 9)
    factors = {"w": Factors(torch.eye(9), sigma, torch.eye(9), "digest")}
    experts = [expert_of(factors, seed) for seed in range(len(alphas))]
    e = sum(alpha * scales(expert)["w"] for alpha, expert in zip(alphas, experts, strict=True))
    expected = e * sigma.double().sum() / (sigma.double() * e).sum()
    found = scales(mix(experts, alphas, normalise=True))["w"]
    assert torch.allclose(found, expected, atol=1e-6)


def test_weights_matrix_by_matrix(factors):
    one, two = expert_of(factors), expert_of(factors, 1)
    first = next(iter(factors))
    weights = {name: [0.25, 0.5] if name == first else [0.0, 0.0] for name in factors}
    mixed = mix([one, two], weights)
    assert torch.allclose(mixed.gains(first), 0.25 * one.gains(first) + 0.5 * two.gains(first), atol=1e-7)
    assert not any(mixed.gains(name).any() for name in factors if name != first)


def test_experts_of_other_matrices_and_ranks_mix(factors):
    first, second, *_ = factors
    one = ExpertVector.from_gains({first: torch.ones(64)}, factors.digests)
    two = ExpertVector.from_gains({first: torch.ones(3), second: torch.ones(5)}, factors.digests)
    mixed = mix([one, two], [0.5, 0.5])
    assert mixed.gains(first).tolist() == [1.0] * 3 + [0.5] * 61
    assert mixed.gains(second).tolist() == [0.5] * 5


def test_mixing_says_what_is_wrong(factors):
    expert = expert_of(factors)
    first = next(iter(factors))
    other = ExpertVector.from_gains({first: torch.ones(3)}, {first: "another"})
    with pytest.raises(ValueError, match=f"digest another, one before it for {factors[first].digest}"):
        mix([expert, other], [1, 1])
    with pytest.raises(ValueError, match="Expected 1 weights"):
        mix([expert], [1, 1])
    with pytest.raises(ValueError, match="add up to 0"):
        mix([expert, expert], [1, -1], normalise=True)
    with pytest.raises(ValueError, match="at least one expert"):
        mix([], [])
    with pytest.raises(ValueError, match="has none"):
        mix([expert], {first: [1.0]})


def test_scales_survive_being_a_checkpoint(factors):
    expert = expert_of(factors)
    found = ExpertVector.from_checkpoint(expert.as_checkpoint(), expert, facts={"how": "copied"})
    assert all(torch.equal(found.gains(name), expert.gains(name)) for name in expert)
    assert found.facts == {"how": "copied"}
    assert torch.equal(
        identity(expert).as_checkpoint().read(name := next(iter(expert))), torch.ones(64).double()
    )
    assert not identity(expert).gains(name).any()


@pytest.mark.parametrize(
    ("method", "parameters"), [("linear", {}), ("ties", {"density": 1.0}), ("slerp", {"t": 0.5})]
)
def test_the_house_merges_experts_as_it_merges_models(factors, tmp_path, method, parameters):
    experts = [expert_of(factors, seed) for seed in range(2)]
    places = []
    for number, expert in enumerate((identity(experts[0]), *experts)):
        places.append(tmp_path / str(number))
        save(expert.as_checkpoint(), places[-1])
    base = {"base": places[0]} if method == "ties" else {}
    merge(places[1:], method, out=tmp_path / "out", **base, **parameters)
    found = ExpertVector.from_checkpoint(open_checkpoint(tmp_path / "out"), experts[0])
    if method == "linear":
        expected = mix(experts, [0.5, 0.5])
        assert all(torch.allclose(found.gains(n), expected.gains(n), atol=1e-6) for n in found)
    assert any(found.gains(name).any() for name in found)
    assert found.base == factors.digests
