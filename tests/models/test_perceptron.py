"""Perceptrons read off a checkpoint answer as torch does, whatever the layout."""

import itertools
import re

import numpy as np
import pytest
import torch
from torch import nn

from merganser.models import Perceptron, perceptron_size, perceptron_tensors
from merganser.weights import Checkpoint, flat_read

WIDTHS = [(5, 3), (5, 7, 3), (7, 5, 5, 2), (4, 4, 3), (3, 4, 4), (4, 4, 4, 2), (1, 2, 1)]


def network(widths, bias=True):
    torch.manual_seed(len(widths))
    layers = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def inputs(features, n=17):
    return np.random.default_rng(0).standard_normal((n, features)).astype(np.float32)


def answers(checkpoint, x, features):
    model = Perceptron.of(checkpoint, features)
    model.write(flat_read(checkpoint, dtype=np.float32))
    return model(x)


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_the_layout_of_torch_gives_torchs_logits(widths, bias):
    net, x = network(widths, bias), inputs(widths[0])
    with torch.inference_mode():
        expected = net(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(answers(Checkpoint.from_module(net), x, widths[0]), expected, atol=1e-6)


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_the_layout_of_the_paper_gives_the_same_logits(widths):
    net, x = network(widths), inputs(widths[0])
    linear = [m for m in net if isinstance(m, nn.Linear)]
    flat = np.concatenate([p.detach().numpy().ravel() for m in linear for p in (m.weight.T, m.bias)])
    assert flat.size == perceptron_size(widths)
    checkpoint = Checkpoint.from_tensors(perceptron_tensors(flat, widths))
    assert (flat_read(checkpoint) == flat).all()
    with torch.inference_mode():
        expected = net(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(answers(checkpoint, x, widths[0]), expected, atol=1e-6)


def test_a_chain_of_squares_only_is_taken_as_torch_has_it():
    x, weight = inputs(2), np.array([[1.0, 2], [3, 4]], np.float32)
    checkpoint = Checkpoint.from_tensors({"0.weight": weight})
    np.testing.assert_allclose(answers(checkpoint, x, 2), x @ weight.T, rtol=1e-6)


def test_by_hand():
    checkpoint = Checkpoint.from_tensors(
        {
            "hidden.weight": np.array([[1.0, -1], [0, 2], [1, 1]], np.float32),  # (out, in)
            "hidden.bias": np.array([0, -1, 0], np.float32),
            "out.weight": np.array([[1.0, 2, 3], [-1, 0, 1]], np.float32),
        }
    )
    logits = answers(checkpoint, np.array([[1, 2], [2, -1]], np.float32), 2)
    assert logits.tolist() == [[0 + 6 + 9, 3], [3 + 0 + 3, -2]]


def test_inputs_of_any_shape_are_flattened_and_nothing_is_changed():
    net, x = network((8, 3)), inputs(8)
    checkpoint = Checkpoint.from_module(net)
    before = x.copy()
    assert (answers(checkpoint, x.reshape(-1, 2, 4), 8) == answers(checkpoint, x, 8)).all()
    assert (x == before).all()


def test_parameters_are_replaced_child_after_child_without_a_copy():
    checkpoint = Checkpoint.from_module(network((3, 2)))
    model = Perceptron.of(checkpoint, 3)
    assert (model.size, model.outputs) == (8, 2)
    zero, one = np.zeros(8, np.float32), np.ones(8, np.float32)
    model.write(zero)
    assert (model(inputs(3)) == 0).all()
    model.write(one)
    np.testing.assert_allclose(
        model(inputs(3)), np.repeat(inputs(3).sum(1, keepdims=True) + 1, 2, 1), rtol=1e-5
    )
    assert np.shares_memory(model._weights[0][0], one)
    assert (one == 1).all()
    one.flags.writeable = False
    model.write(one)
    model.write(np.zeros(8))  # float64 is taken too
    assert (model(inputs(3)) == 0).all()


@pytest.mark.parametrize("shape", [(7,), (9,), (2, 4)])
def test_other_numbers_of_parameters_are_refused(shape):
    model = Perceptron.of(Checkpoint.from_module(network((3, 2))), 3)
    with pytest.raises(
        ValueError, match=re.escape(f"Expected 8 parameters, but got an array of shape {shape}")
    ):
        model.write(np.zeros(shape, np.float32))


def tensors(**shapes):
    return Checkpoint.from_tensors({n.replace("_", "."): np.zeros(s, np.float32) for n, s in shapes.items()})


@pytest.mark.parametrize(
    ("checkpoint", "name", "shape", "width"),
    [
        (tensors(**{"0_weight": (6, 5), "0_bias": (6,), "1_weight": (2, 7)}), "1.weight", (2, 7), 6),
        (tensors(**{"0_weight": (6, 4)}), "0.weight", (6, 4), 5),
        (tensors(**{"0_weight": (6, 5, 3, 3)}), "0.weight", (6, 5, 3, 3), 5),
        (tensors(**{"0_weight": (6, 5), "0_bias": (4,)}), "0.bias", (4,), 6),
        (tensors(**{"0_weight": (6, 5), "0_bias": (6,), "0_scale": (6,)}), "0.bias", (6,), 6),
        (tensors(norm_weight=(5,), **{"0_weight": (6, 5)}), "norm.weight", (5,), 6),
    ],
    ids=["gap", "features", "convolution", "bias", "a third tensor", "norm"],
)
def test_what_is_no_chain_of_layers_is_refused_by_name(checkpoint, name, shape, width):
    message = f"takes {width} values as the next layer, but `{name}` of memory has shape {shape}"
    with pytest.raises(ValueError, match=re.escape(message)):
        Perceptron.of(checkpoint, 5)


def test_a_checkpoint_without_floating_tensors_is_refused():
    with pytest.raises(ValueError, match="no floating tensors"):
        Perceptron.of(Checkpoint.from_tensors({"steps": np.arange(3)}), 5)


def test_buffers_that_are_not_floating_do_not_disturb():
    net, x = network((5, 7, 3)), inputs(5)
    checkpoint = Checkpoint.from_module(net)
    more = Checkpoint.from_tensors({**{n: checkpoint.read(n) for n in checkpoint}, "steps": torch.tensor(3)})
    assert (answers(more, x, 5) == answers(checkpoint, x, 5)).all()
