"""The machine against the plain definition: outputs, certainties and all gradients, over every combination of parts."""

from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from .cases import build, configs, inputs_for
from .reference import think


def losses(seed, *results):
    """A number that depends on every element of the results."""
    generator = torch.Generator().manual_seed(seed)
    shares = [torch.randn(r.shape, generator=generator, dtype=torch.float64) for r in results]
    return sum((r.double() * share).sum() for r, share in zip(results, shares, strict=True))


def results(model, inputs):
    thought = model(inputs)
    synchronisations = thought.latents.permute(2, 1, 0)
    if not model.config.outputs:
        return (synchronisations,)
    return thought.predictions, thought.certainties, synchronisations


def expected(model, inputs):
    return tuple(r for r in think(model, inputs, model.config.ticks) if r is not None)


def gradients(model, loss):
    parameters = dict(model.named_parameters())
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return dict(zip(parameters, found, strict=True))


@settings(max_examples=40)
@given(configs(), st.integers(1, 3), st.integers(0, 99))
def test_outputs_and_gradients_are_those_of_the_definition_in_double_precision(config, batch, seed):
    """Norms over a neuron's memory of one to four numbers divide by differences near 0: they are given more room."""
    room = 1e-6 if config.neuron_norm else 1e-9
    model = build(config, seed, torch.float64)
    inputs = inputs_for(config, batch + (config.backbone in ("digits", "resnet18-1")), seed, torch.float64)
    found, wanted = results(model, inputs), expected(model, inputs)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)
    mine, theirs = gradients(model, losses(seed, *found)), gradients(model, losses(seed, *wanted))
    for name, gradient in theirs.items():
        if gradient is None:
            assert mine[name] is None or not mine[name].any(), name
            continue
        scale = max(gradient.abs().max().item(), 1e-3)
        assert (mine[name] - gradient).abs().max().item() <= room * scale, name


@settings(max_examples=25)
@given(configs(("none", "parity", "grid", "control")), st.integers(1, 3), st.integers(0, 99))
def test_single_precision_is_exact_or_as_exact_as_the_definition_in_single_precision(config, batch, seed):
    """Norms of a few near-equal numbers lose digits whoever computes them; those the definition loses too.

    Norms over a neuron's memory of one to four numbers are left out: there nothing is left to compare.
    """
    config = replace(config, neuron_norm=False)
    model, precise = build(config, seed), build(config, seed).double()
    inputs = inputs_for(config, batch, seed)
    exact = inputs.double() if inputs.is_floating_point() else inputs
    found, plain, wanted = results(model, inputs), expected(model, inputs), expected(precise, exact)
    for one, other, right in zip(found, plain, wanted, strict=True):
        assert error(one, right) <= max(1e-6 * max(1, right.abs().max()), 4 * error(other, right))
    mine, theirs, right = (
        gradients(m, losses(seed, *r)) for m, r in ((model, found), (model, plain), (precise, wanted))
    )
    largest = max(gradient.abs().max().item() for gradient in right.values() if gradient is not None)
    for name, gradient in right.items():
        if gradient is not None:
            lost = error(theirs[name], gradient)
            allowed = max(1e-5 * gradient.abs().max(), 4 * lost, 1e-6 * largest)
            assert error(mine[name], gradient) <= allowed, name


def error(found, right):
    return (found.double() - right).abs().max().item()
