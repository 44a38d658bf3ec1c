"""What makes thinking fast changes nothing else: against torch's own operations, and against thinking without it."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from merganser.thinking import CTMConfig
from merganser.thinking._attention import Attended, Tokens
from merganser.thinking._dropout import Mask
from merganser.thinking._neurons import NeuronLinear
from merganser.thinking._tied import TiedMap

from .cases import build

SIZES = {"ticks": 7, "neurons": 24, "width": 8, "memory": 3, "heads": 2, "hidden": 3, "channels": 3}
CONFIG = CTMConfig(outputs=4, positions=2, output_neurons=6, action_neurons=5, synapse_depth=3, **SIZES)
DROPPING = CTMConfig(outputs=4, dropout=0.3, neuron_dropout=0.4, synapse_depth=2, **SIZES)


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def gradients(found, wanted, tensors):
    weights = torch.randn_like(wanted)
    return zip(*(torch.autograd.grad(each, tensors, weights) for each in (found, wanted)), strict=True)


def same(found, wanted, tensors):
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    for one, other in gradients(found, wanted, tensors):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def of_model(model, inputs, **options):
    """Predictions, and gradients of a loss that depends on all of them."""
    predictions = model(inputs, **options).predictions
    loss = (predictions * torch.linspace(-1, 1, predictions.numel()).view_as(predictions)).sum()
    return predictions, torch.autograd.grad(loss, list(model.parameters()))


@pytest.mark.parametrize("rows", [1, 5, 400])
def test_a_map_that_ticks_share_has_the_gradients_of_a_linear_map(rows):
    weight, bias, inputs = random(4, 3), random(4), random(6, rows, 3)
    tied = TiedMap(weight, bias, rows)
    found = torch.stack([tied(each) for each in inputs])
    same(found, functional.linear(inputs, weight, bias), [weight, bias, inputs])


@pytest.mark.parametrize("batch", [1, 15, 16, 40])
def test_gated_maps_of_neurons_have_the_gradients_of_products_and_gates(batch):
    layer, inputs = NeuronLinear(5, 4, 6, norm=False, dropout=0.0).double(), random(3, 5, 4, batch)
    nn.init.normal_(layer.bias)
    nn.init.constant_(layer.temperature, 0.7)
    gated = layer.begin(torch.float64)
    found = torch.stack([layer(each, gated) for each in inputs])
    mixed = (layer.weight @ inputs + layer.bias.unsqueeze(-1)) / layer.temperature
    same(found, functional.glu(mixed, 2), [layer.weight, layer.bias, layer.temperature, inputs])


@pytest.mark.parametrize("ticks", [1, 16, 35])
def test_attention_over_ticks_has_the_gradients_of_torchs_attention(ticks):
    keys, values, queries = random(3, 2, 7, 4), random(3, 2, 7, 4), random(ticks, 6, 1, 4)
    attended = Attended(Tokens(keys, values))
    found = torch.stack([attended(each, 0.0)[0] for each in queries]).view(ticks, 3, 2, 1, 4)
    split = queries.view(ticks, 3, 2, 1, 4)
    wanted = functional.scaled_dot_product_attention(split, keys, values, scale=1.0)
    same(found, wanted, [keys, values, queries])


def test_a_second_backward_pass_through_the_same_thought_has_the_same_gradients():
    model = build(CONFIG)
    loss = model(torch.randn(3, 3, 5)).predictions.square().sum()
    first, second = (
        torch.autograd.grad(loss, list(model.parameters()), retain_graph=True, allow_unused=True)
        for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True) if a is not None)


def test_gradients_of_some_parameters_alone_are_what_they_are_among_all():
    model, inputs = build(CONFIG), torch.randn(3, 3, 5)
    _, everything = of_model(model, inputs)
    names = [name for name, _ in model.named_parameters()]
    for name in ("synapse.first.linear.weight", "neurons.layers.0.weight", "attention.keys_values.weight"):
        for other, parameter in model.named_parameters():
            parameter.requires_grad_(other == name)
        model(inputs).predictions.mul(torch.linspace(-1, 1, 84).view(3, 4, 7)).sum().backward()
        found = model.get_parameter(name).grad
        torch.testing.assert_close(found, everything[names.index(name)], rtol=1e-4, atol=1e-5)
    assert sum(parameter.grad is not None for parameter in model.parameters()) == 3


def test_weights_that_change_before_the_backward_pass_are_an_error():
    model = build(CONFIG)
    loss = model(torch.randn(3, 3, 5)).predictions.sum()
    with torch.no_grad():
        model.get_parameter("synapse.first.linear.weight").add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("config", [CONFIG, DROPPING], ids=["plain", "dropout"])
def test_what_is_computed_again_has_the_same_predictions_and_gradients(config):
    model, inputs = build(config).train(), torch.randn(3, 3, 5)
    torch.manual_seed(1)
    wanted, expected = of_model(model, inputs)
    torch.manual_seed(1)
    found, gradients = of_model(model, inputs, recompute=True)
    assert torch.equal(found, wanted)
    assert all(torch.equal(one, other) for one, other in zip(gradients, expected, strict=True))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_masks_drop_the_share_and_keep_the_mean(share):
    torch.manual_seed(0)
    ones = torch.ones(101, 1003)
    left = Mask(ones, share)(ones)
    assert (left == 0).float().mean().item() == pytest.approx(share, abs=0.005)
    assert left.mean().item() == pytest.approx(1, abs=0.03)
    assert left.unique().tolist() == pytest.approx([0, 1 / (1 - share)], rel=1e-4)
    # places that were drawn as one number are independent: neighbours agree no more often than chance has it
    stays = left.flatten()[:100000].view(-1, 4) > 0
    for i, j in itertools.combinations(range(4), 2):
        together = (stays[:, i] & stays[:, j]).float().mean().item()
        assert together == pytest.approx((1 - share) ** 2, abs=0.015)


def test_dropout_is_that_of_the_definition_on_average_and_off_in_evaluation():
    model, inputs = build(DROPPING), torch.randn(2, 3, 5)
    with torch.no_grad():
        assert torch.equal(model.eval()(inputs).predictions, model(inputs).predictions)
        assert not torch.equal(model.train()(inputs).predictions, model(inputs).predictions)


def test_gradients_under_dropout_are_those_of_the_same_masks():
    """Finite differences in double precision, the generator set back each time."""
    model, inputs = build(DROPPING, dtype=torch.float64).train(), torch.randn(2, 3, 5).double()
    parameters = dict(model.named_parameters())

    def loss():
        torch.manual_seed(3)
        return model(inputs).predictions.square().sum()

    loss().backward()
    for name in ("neurons.layers.0.weight", "synapse.first.linear.weight", "attention.out.weight"):
        parameter, direction = parameters[name], torch.randn_like(parameters[name])
        slope = (parameter.grad * direction).sum().item()
        with torch.no_grad():
            ahead = (parameter.add_(direction, alpha=1e-6), loss())[1]
            behind = (parameter.add_(direction, alpha=-2e-6), loss())[1]
            parameter.add_(direction, alpha=1e-6)
        assert slope == pytest.approx((ahead - behind).item() / 2e-6, rel=1e-5, abs=1e-6), name


def test_bfloat16_is_near_and_its_gradients_are_in_single_precision():
    model, inputs = build(CONFIG), torch.randn(3, 3, 5)
    wanted, expected = of_model(model, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        found, gradients = of_model(model, inputs)
    assert (found - wanted).abs().max() < 0.05 * wanted.abs().max()
    for (name, _), one, other in zip(model.named_parameters(), gradients, expected, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 0.15 * other.norm() + 1e-2, name


def test_thinking_without_gradients_keeps_no_graph():
    model = build(CONFIG)
    with torch.no_grad():
        thought = model(torch.randn(2, 3, 5))
    assert thought.latents.grad_fn is None
    assert thought.state.history.grad_fn is None


def test_gradients_of_gradients_are_an_error_not_wrong():
    model = build(CONFIG)
    loss = model(torch.randn(2, 3, 5)).predictions.square().sum()
    weight = model.get_parameter("synapse.first.linear.weight")
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        torch.autograd.grad(loss, [weight], create_graph=True)
