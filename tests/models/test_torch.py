"""A torch module whose parameters are one buffer: written in place, buffers and ties included."""

import numpy as np
import pytest
import torch
from torch import nn

from merganser.models import Perceptron, TorchModel
from merganser.weights import Checkpoint, flat_read


def inputs(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


class Tied(nn.Module):
    """Two names for one matrix; the one that was registered first is not the first in flat order."""

    def __init__(self, share):
        super().__init__()
        self.lm_head = nn.Linear(4, 6, bias=False)
        self.embed = nn.Linear(4, 6, bias=False)
        self.middle = nn.Linear(6, 4)
        if share == "parameter":
            self.embed.weight = self.lm_head.weight
        if share == "memory":
            self.embed.weight.data = self.lm_head.weight.data

    def forward(self, x):
        return self.lm_head(self.middle(self.embed(x)))


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("scale", torch.tensor(2.0), persistent=False)

    def forward(self, x):
        return self.drop(self.norm(self.linear(x))) * self.scale


MODULES = {
    "linear": lambda: nn.Linear(4, 3),
    "perceptron": lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)),
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(4, 3)
    ),
    "norm": Normed,
    "double": lambda: nn.Linear(4, 3).double().float(),
    "tied parameter": lambda: Tied("parameter"),
    "tied memory": lambda: Tied("memory"),
    "untied": lambda: Tied("no"),
}


def changed(module, flat):
    """The module with other parameters, by the ordinary way of loading a state."""
    checkpoint = Checkpoint.from_module(module)
    state = {n: torch.from_numpy(v.copy()) for n, v in checkpoint.layout.unflatten(flat).items()}
    state |= {n: checkpoint.read(n) for n in checkpoint.buffers}
    module.load_state_dict(state | {alias: state[name] for alias, name in checkpoint.tied.items()})
    return module.eval()


@pytest.fixture(params=MODULES, ids=lambda n: n.replace(" ", "-"))
def make(request):
    def build():
        torch.manual_seed(0)
        return MODULES[request.param]()

    return build


def test_before_anything_is_written_it_is_the_module(make):
    with torch.inference_mode():
        expected = make().eval()(torch.from_numpy(inputs(6, 4))).numpy()
    np.testing.assert_array_equal(TorchModel(make())(inputs(6, 4)), expected)


def test_what_is_written_is_what_answers_child_after_child(make):
    model = TorchModel(make())
    generator = np.random.default_rng(1)
    for _ in range(3):
        flat = np.abs(generator.standard_normal(model.size)).astype(np.float32)  # a variance must be positive
        model.write(flat)
        with torch.inference_mode():
            expected = changed(make(), flat)(torch.from_numpy(inputs(6, 4))).numpy()
        np.testing.assert_allclose(model(inputs(6, 4)), expected, atol=1e-6)


def test_the_size_is_that_of_the_checkpoint_and_the_buffer_is_its_flat_order(make):
    module = make()
    flat = flat_read(Checkpoint.from_module(module), dtype=np.float32)
    model = TorchModel(module)
    assert model.size == flat.size
    assert (model._flat.numpy() == flat).all()
    assert (flat_read(Checkpoint.from_module(module), dtype=np.float32) == flat).all()


def test_tied_parameters_count_once():
    assert TorchModel(Tied("parameter")).size == TorchModel(Tied("no")).size - 24


def test_the_callers_arrays_are_copied_and_may_be_read_only():
    model = TorchModel(nn.Linear(4, 3))
    flat, x = np.ones(15, np.float32), inputs(2, 4)
    flat.flags.writeable = x.flags.writeable = False
    model.write(flat)
    before = model(x)
    flat.flags.writeable = True
    flat[:] = 7
    assert (model(x) == before).all()


def test_evaluation_mode_and_no_gradients():
    module = Normed()
    model = TorchModel(module)
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())
    assert (model(inputs(6, 4)) == model(inputs(6, 4))).all()  # no dropout
    assert model(inputs(6, 4)).dtype == np.float32


def test_half_precision_modules_are_run_in_single_precision():
    module = nn.Linear(4, 3).bfloat16()
    expected = flat_read(Checkpoint.from_module(module), dtype=np.float32)
    model = TorchModel(module)
    assert model(inputs(2, 4)).shape == (2, 3)
    assert (model._flat.numpy() == expected).all()


@pytest.mark.parametrize("shape", [(14,), (3, 5)])
def test_other_numbers_of_parameters_are_refused(shape):
    with pytest.raises(ValueError, match="Expected 15 parameters"):
        TorchModel(nn.Linear(4, 3)).write(np.zeros(shape, np.float32))


def test_a_perceptron_and_its_module_agree_on_every_child():
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    one, other = Perceptron.of(Checkpoint.from_module(net), 4), TorchModel(net)
    flat = np.random.default_rng(2).standard_normal(one.size).astype(np.float32)
    one.write(flat)
    other.write(flat)
    np.testing.assert_allclose(one(inputs(9, 4)), other(inputs(9, 4)), atol=1e-5)
