"""Experts in live modules: exact where they promise it, with true gradients, several at once."""

import pytest
import torch

from merganser import CheckpointError
from merganser.adaptation import ExpertVector, attach, decompose, fold, identity, mix
from merganser.models import load
from merganser.weights import Checkpoint

from .conftest import STORIES, expert_of

IDS = torch.tensor([[1, 400, 300, 20, 7], [1, 300, 2, 90, 5], [1, 9, 9, 200, 41]])


@pytest.fixture
def model():
    return load(STORIES).module


@pytest.fixture
def adapted(model, factors):
    return attach(model, factors)


def logits(module, ids=IDS):
    with torch.no_grad():
        return module(ids).logits


def test_attaching_and_detaching_leave_the_base_as_it_is(model, factors):
    before, state = logits(model), list(model.state_dict())
    adapted = attach(model, factors)
    adapted.add("one", expert_of(factors))
    assert torch.equal(logits(model), before)
    assert list(model.state_dict()) == state
    adapted.set("one")
    assert not torch.allclose(logits(model), before, atol=1e-2)
    with adapted.disabled():
        assert torch.equal(logits(model), before)
    assert not torch.allclose(logits(model), before, atol=1e-2)
    adapted.set(None)
    assert torch.equal(logits(model), before)
    adapted.set("one")
    adapted.detach()
    assert torch.equal(logits(model), before)
    assert all("forward" not in vars(part) for part in model.modules())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("value", [0.1, -3.7])
def test_constant_logits_are_the_base_bit_for_bit(stories, value, dtype):
    model = load(STORIES, dtype=dtype).module
    found = decompose(Checkpoint.from_module(model))
    before = logits(model)
    adapted = attach(model, found)
    start = ExpertVector.from_logits({n: torch.full((len(found[n].sigma),), value) for n in found}, found)
    parameters = adapted.learn(start)
    assert torch.equal(logits(model), before)
    model(IDS).logits.float().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in parameters.values())


@pytest.mark.parametrize("rank", [None, 20])
def test_additive_equals_folded(stories, factors, adapted, rank):
    expert = expert_of(factors, spread=0.3, rank=rank)
    adapted.add("one", expert)
    adapted.set("one")
    folded = load(fold(stories, expert, factors)).module
    expected = logits(folded)
    assert (logits(adapted.module) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_additive_equals_folded_for_layers_stored_in_out(gpt2, gpt2_folder, gpt2_factors):
    live = load(gpt2_folder)
    adapted = attach(live.module, gpt2_factors, names=live.name_on_disk)
    expert = expert_of(gpt2_factors)
    adapted.add("one", expert)
    adapted.set("one")
    ids = torch.tensor([[1, 4, 30, 20, 7]])
    expected = logits(load(fold(gpt2, expert, gpt2_factors)).module, ids)
    assert torch.allclose(logits(live.module, ids), expected, atol=1e-5)
    parameters = adapted.learn(expert, factored=True)
    assert torch.allclose(logits(live.module, ids), expected, atol=1e-5)  # a bias comes along
    assert len(parameters) == 4


@pytest.mark.parametrize("factored", [False, True])
@pytest.mark.parametrize("parametrisation", ["sigmoid", "plain"])
def test_gradients_are_those_of_the_rebuilt_matrices(model, factors, factored, parametrisation):
    """Beside autograd through the official scheme, in double precision: a dense weight from each vector."""
    start = expert_of(factors, spread=0.3)
    if parametrisation == "plain":
        start = mix([start], [1.0])
    model.double()
    adapted = attach(model, factors)
    parameters = adapted.learn(start, factored=factored)
    model(IDS).logits.double().logsumexp(-1).square().sum().backward()
    found = {name: p.grad for name, p in parameters.items()}
    adapted.detach()
    vectors = {name: v.double().requires_grad_() for name, v in start.vectors.items()}
    weights = {}
    for name, vector in vectors.items():
        f = factors[name]
        m = torch.sigmoid(vector) if parametrisation == "sigmoid" else 1 + vector
        c = f.sigma.double().sum() / (f.sigma * m).sum() if parametrisation == "sigmoid" else 1.0
        u, v = f.left.double(), f.right.double()
        base = (u.T * f.sigma) @ v if factored else model.get_parameter(name)
        weights[name] = base + u.T @ torch.diag(f.sigma * (c * m - 1)) @ v
    out = torch.func.functional_call(model, weights, (IDS,)).logits
    out.logsumexp(-1).square().sum().backward()
    for name, vector in vectors.items():
        assert vector.grad is not None
        assert (found[name] - vector.grad).abs().max() <= 1e-6 * vector.grad.abs().max()


def test_gradients_of_the_product_are_autograds():
    from merganser.adaptation._directions import along_directions

    generator = torch.Generator().manual_seed(0)
    x, c, inward, outward = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((2, 3, 5), (2, 1, 4), (4, 5), (4, 6))
    )
    x.requires_grad_(), c.requires_grad_()
    assert torch.autograd.gradcheck(along_directions, (x, c, inward, outward))
    assert torch.autograd.gradcheck(along_directions, (x, c[0, 0].detach().requires_grad_(), inward, outward))


def test_training_moves_vectors_only_and_gives_an_expert(model, factors, adapted):
    before = {name: p.clone() for name, p in model.named_parameters()}
    start = identity(expert_of(factors))
    parameters = adapted.learn(start)
    optimiser = torch.optim.Adam(parameters.values(), lr=0.02)
    losses = []
    for _ in range(12):
        loss = torch.nn.functional.cross_entropy(
            model(IDS).logits[:, :-1].flatten(0, 1), IDS[:, 1:].flatten()
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in model.named_parameters())
    expert = adapted.learned(facts={"steps": 12})
    trained = logits(model)
    adapted.add("trained", expert)
    adapted.set("trained")
    assert torch.equal(logits(model), trained)
    assert expert.facts == {"steps": 12}
    with pytest.raises(ValueError, match="Nothing is being trained"):
        adapted.learned()


def test_a_learned_expert_of_logits_is_what_was_trained(model, factors, adapted):
    start = expert_of(factors, 3)
    adapted.learn(start)
    trained = logits(model)
    adapted.add("again", adapted.learned())
    adapted.set("again")
    assert torch.equal(logits(model), trained)


def test_mixing_one_is_that_one_and_mixing_is_linear(factors, adapted):
    experts = {name: expert_of(factors, seed, spread=0.3) for seed, name in enumerate("ab")}
    for name, expert in experts.items():
        adapted.add(name, expert)
    adapted.set("a")
    alone = logits(adapted.module)
    adapted.mix({"a": 1.0})
    assert torch.equal(logits(adapted.module), alone)
    adapted.mix({"a": 0.3, "b": 0.6}, normalise=True)
    found = logits(adapted.module)
    adapted.add("mixed", mix([*experts.values()], [1 / 3, 2 / 3]))
    adapted.set("mixed")
    assert torch.allclose(logits(adapted.module), found, atol=1e-5)
    assert sorted(adapted.experts) == ["a", "b", "mixed"]


def test_requests_of_several_experts_run_in_one_batch(factors, adapted):
    first = next(iter(factors))
    adapted.add("a", expert_of(factors, spread=0.3))
    adapted.add("b", ExpertVector.from_gains({first: torch.tensor([0.5, -0.2])}, factors.digests))
    found = []
    for row, name in enumerate(["b", None, "a"]):
        adapted.set(name)
        found.append(logits(adapted.module, IDS[row : row + 1]))
    adapted.rows(["b", None, "a"])
    assert torch.allclose(logits(adapted.module), torch.cat(found), atol=1e-5)
    with pytest.raises(ValueError, match=r"Expected 3 requests .* found inputs of shape \(2, 5, 64\)"):
        logits(adapted.module, IDS[:2])
    adapted.rows([None, None])
    assert torch.equal(logits(adapted.module, IDS[1:2]), found[1])


def test_a_base_in_half_precision_keeps_scales_in_single(stories):
    model = load(STORIES, dtype="bfloat16").module
    found = decompose(Checkpoint.from_module(model))
    adapted = attach(model, found)
    expert = expert_of(found, spread=0.3)
    parameters = adapted.learn(expert)
    assert {p.dtype for p in parameters.values()} == {torch.float32}
    exact = load(
        fold(Checkpoint.from_module(model, config=stories.config), expert, found), dtype="float32"
    ).module
    near, far = logits(model).float(), logits(exact)
    adapted.set(None)
    assert (near - far).norm() < 0.05 * far.norm() < (logits(model).float() - far).norm()
    model(IDS)


class Int8Linear(torch.nn.Linear):
    """A layer whose weight is stored as eight bits and a scale, as libraries for quantisation have them."""

    def __init__(self, layer):
        super().__init__(layer.in_features, layer.out_features, bias=False)
        self.scale = layer.weight.detach().abs().amax() / 127
        codes = (layer.weight.detach() / self.scale).round().to(torch.int8)
        self.weight = torch.nn.Parameter(codes, requires_grad=False)

    def forward(self, x):
        return torch.nn.functional.linear(x, self.weight.to(x.dtype) * self.scale)


def test_a_quantised_base_is_adapted_beside_its_codes(model, factors):
    for block in model.model.layers:
        for part in ("gate_proj", "up_proj", "down_proj"):
            setattr(block.mlp, part, Int8Linear(getattr(block.mlp, part)))
    before = logits(model)
    adapted = attach(model, factors, check=False)
    flat = ExpertVector.from_logits({n: torch.full((64,), 0.1) for n in factors}, factors)
    parameters = adapted.learn(flat)
    assert torch.equal(logits(model), before)
    model(IDS).logits.logsumexp(-1).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in parameters.values())
    name = "model.layers.0.mlp.up_proj.weight"
    adapted.add("one", expert_of(factors))
    adapted.set("one")
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    layer = model.model.layers[0].mlp.up_proj
    changed = x @ factors[name].change(adapted.experts["one"].gains(name)).T
    assert torch.allclose(layer(x), Int8Linear.forward(layer, x) + changed, atol=1e-5)


def test_what_does_not_fit_is_refused(model, stories, factors):
    other = {n: stories.read(n) + 0.01 for n in factors}
    theirs = decompose(Checkpoint.from_tensors(other), list(other))
    name = next(iter(factors))
    with pytest.raises(CheckpointError, match=f"{theirs[name].digest}, found {factors[name].digest}"):
        attach(model, theirs)
    attach(model, theirs, check=False).detach()
    with pytest.raises(ValueError, match="the module has none whose weight is"):
        attach(model.model, factors)
    adapted = attach(model, factors)
    with pytest.raises(ValueError, match="adapted already"):
        attach(model, factors)
    with pytest.raises(
        CheckpointError, match=f"{theirs[name].digest}, but that of .* has {factors[name].digest}"
    ):
        adapted.add("theirs", expert_of(theirs))


def test_an_unknown_expert_is_named_beside_those_there_are(factors, adapted):
    adapted.add("maths", expert_of(factors))
    for ask in (
        lambda: adapted.set("math"),
        lambda: adapted.rows([None, "math"]),
        lambda: adapted.mix({"math": 1}),
    ):
        with pytest.raises(ValueError, match=r"no expert 'math'; added were: maths. Did you mean 'maths'"):
            ask()


def test_truncated_decompositions_are_additive_only(model, factors):
    few = factors.leading(6)
    adapted = attach(model, few)
    with pytest.raises(ValueError, match="scales 64 directions"):
        adapted.add("whole", expert_of(factors))
    with pytest.raises(ValueError, match="`factored` needs all of them"):
        adapted.learn(expert_of(few), factored=True)
    assert {len(p) for p in adapted.learn(expert_of(few)).values()} == {6}


def test_an_expert_that_was_removed_is_known_no_more(adapted, factors):
    adapted.add("one", expert_of(factors))
    adapted.remove("one")
    assert not adapted.experts
    with pytest.raises(ValueError, match="There is no expert 'one'; added were: none"):
        adapted.remove("one")
