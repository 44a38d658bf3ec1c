"""The specialists learn, and from the same start always the same."""

import numpy as np
import pytest
import torch

from merganser.models import Perceptron, perceptron_size, perceptron_tensors, train_perceptron
from merganser.weights import Checkpoint

WIDTHS = (4, 8, 3)


@pytest.fixture
def problem():
    generator = np.random.default_rng(0)
    centres = 2 * generator.standard_normal((3, 4))
    labels = generator.integers(0, 3, 200)
    inputs = (centres[labels] + 0.3 * generator.standard_normal((200, 4))).astype(np.float32)
    start = (0.01 * generator.standard_normal(perceptron_size(WIDTHS))).astype(np.float32)
    return start, inputs, labels


def accuracy(flat, inputs, labels):
    model = Perceptron.of(Checkpoint.from_tensors(perceptron_tensors(flat, WIDTHS)), WIDTHS[0])
    model.write(flat)
    return (model(inputs).argmax(axis=1) == labels).mean()


def test_it_learns_and_leaves_the_start_alone(problem):
    start, inputs, labels = problem
    before = start.copy()
    trained = train_perceptron(start, WIDTHS, inputs, labels, steps=150, learning_rate=0.03)
    assert trained.dtype == np.float32
    assert trained.shape == start.shape
    assert accuracy(trained, inputs, labels) > 0.97 > accuracy(start, inputs, labels)
    assert (start == before).all()


def test_ten_steps_are_ten_steps_of_adam_on_the_cross_entropy(problem):
    start, inputs, labels = problem
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    tensors = perceptron_tensors(start, WIDTHS)
    with torch.no_grad():
        for i, layer in enumerate((net[0], net[2])):
            layer.weight.copy_(torch.tensor(tensors[f"layers.{i}.weight"]).T)
            layer.bias.copy_(torch.tensor(tensors[f"layers.{i}.bias"]))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.003)
    for _ in range(10):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(torch.tensor(inputs)), torch.tensor(labels)).backward()
        optimizer.step()
    parts = [p.detach().numpy() for layer in (net[0], net[2]) for p in (layer.weight.T, layer.bias)]
    expected = np.concatenate([p.ravel() for p in parts])
    np.testing.assert_allclose(train_perceptron(start, WIDTHS, inputs, labels), expected, atol=1e-5)


def test_the_same_start_gives_the_same_specialist(problem):
    first, second = (train_perceptron(problem[0], WIDTHS, *problem[1:], steps=5) for _ in range(2))
    assert (first == second).all()


def test_no_steps_change_nothing(problem):
    assert (train_perceptron(problem[0], WIDTHS, *problem[1:], steps=0) == problem[0]).all()
