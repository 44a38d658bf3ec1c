"""Training of routers: only they learn, and a training that was killed ends as if it had not been."""

import numpy as np
import pytest
import torch

from merganser import CheckpointError, RunError, TaskError
from merganser._errors import NonFiniteOutputError
from merganser.routing.layers import (
    LabelledRows,
    LayerRouting,
    RouterState,
    RouterTraining,
    assemble,
    mean_loss,
    router_step,
    split_rows,
    train_routers,
)

from .conftest import vit


def two_experts():
    """Two vision transformers on one trunk, and images that only a mixture of them labels well."""
    trunk, a, b = vit(0), vit(0), vit(0)
    generator = torch.Generator().manual_seed(1)
    for model in (a, b):
        for name, weight in model.named_parameters():
            if ".mlp." in name:
                weight.data += 0.2 * torch.randn(weight.shape, generator=generator)
    trunk.head.weight.data *= 10
    for model in (a, b):
        model.head.weight.data.copy_(trunk.head.weight)
    return trunk, {"a": a, "b": b}


def net_and_data(routing=None, rows=200):
    trunk, experts = two_experts()
    images = torch.randn(rows, 28, 28, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        labels = experts["b"](images).argmax(-1).numpy()
    return assemble(trunk, experts, routing or LayerRouting("layers")), LabelledRows(images.numpy(), labels)


@pytest.mark.parametrize(
    "routing",
    [
        LayerRouting("static"),
        LayerRouting("single"),
        LayerRouting("layers"),
        LayerRouting("layers", top_k=1),
        LayerRouting("cross-depth", reach=2, own_bias=4.0),
    ],
)
def test_training_lowers_the_loss_and_moves_nothing_but_the_routers(routing):
    net, data = net_and_data(routing)
    before = {n: p.clone() for n, p in net.module.named_parameters() if not p.requires_grad}
    assert before
    state = train_routers(net, data, RouterTraining(steps=30, batch=16, every=10, learning_rate=0.02))
    assert state.best_look.validation < state.looks[0].validation
    assert all(torch.equal(p, before[n]) for n, p in net.module.named_parameters() if n in before)
    held_out = split_rows(data, RouterTraining()).validation
    assert mean_loss(net, data, held_out) == pytest.approx(state.best_look.validation, rel=1e-5)


def test_static_shares_end_at_the_expert_that_made_the_labels_and_stay_shares():
    net, data = net_and_data(LayerRouting("static"))
    train_routers(net, data, RouterTraining(steps=60, batch=32, learning_rate=0.05, patience=None))
    [share] = net.weights()["static"]
    assert 0.0 <= share < 0.2


def test_a_step_is_that_of_torch():
    net, data = net_and_data()
    settings = RouterTraining(batch=16, learning_rate=0.01, weight_decay=0.3)
    rows = range(len(data))
    state = RouterState.start(net.weights())
    other, _ = net_and_data()
    theirs = torch.optim.AdamW(other.routers.values(), lr=0.01, betas=(0.9, 0.99), weight_decay=0.3)
    for step in range(4):
        chosen = np.random.default_rng([0, 1, step]).choice(len(rows), size=16, replace=False)
        loss = data.loss(other.module, chosen.tolist())
        theirs.zero_grad()
        (loss.total / loss.predictions).backward()
        theirs.step()
        state = router_step(net, data, settings, state, rows)
    for name, weight in other.weights().items():
        np.testing.assert_allclose(state.weights[name], weight, rtol=1e-4, atol=1e-6)


def test_a_training_that_was_killed_goes_on_as_if_nothing_had_happened(tmp_path):
    settings = RouterTraining(steps=9, batch=8, every=2, patience=None)
    whole = train_routers(*net_and_data(), settings)

    class Killed(Exception):
        pass

    def kill(state):
        if state.step == 5:
            raise Killed

    keep = tmp_path / "state.safetensors"
    with pytest.raises(Killed):
        train_routers(*net_and_data(), settings, keep=keep, watch=kill)
    steps = []
    net, data = net_and_data()
    resumed = train_routers(net, data, settings, keep=keep, watch=lambda s: steps.append(s.step))
    assert steps[0] == 5  # from the look after step 4
    assert resumed.looks[1:] == whole.looks[1:]
    for part in ("weights", "first", "second", "best"):
        for name, value in getattr(whole, part).items():
            assert np.array_equal(getattr(resumed, part)[name], value), part
    assert all(np.array_equal(value, whole.best[name]) for name, value in net.weights().items())


def test_a_state_of_another_training_is_refused(tmp_path):
    keep = tmp_path / "state.safetensors"
    net, data = net_and_data()
    train_routers(net, data, RouterTraining(steps=2), keep=keep)
    more = train_routers(net, data, RouterTraining(steps=4), keep=keep)  # more steps of the same
    assert more.step == 4
    with pytest.raises(RunError, match="other models, data or settings"):
        train_routers(net, data, RouterTraining(steps=4, seed=1), keep=keep)
    keep.write_bytes(b"nonsense" * 4)
    with pytest.raises(CheckpointError):
        train_routers(net, data, RouterTraining(steps=4), keep=keep)


def test_it_stops_when_validation_gets_no_better():
    net, data = net_and_data()
    shuffled = LabelledRows(data.inputs.numpy(), np.random.default_rng(0).integers(0, 7, len(data)))
    settings = RouterTraining(steps=400, batch=50, every=2, patience=2, learning_rate=0.5)
    state = train_routers(net, shuffled, settings)
    assert state.step < 400
    assert state.step - state.best_look.step == 4


def test_a_loss_that_is_no_number_says_so():
    net, data = net_and_data()
    data.inputs[:] = float("nan")
    with pytest.raises(NonFiniteOutputError, match="validation rows is NaN"):
        train_routers(net, data)
    with pytest.raises(NonFiniteOutputError, match=r"loss of step 0 .* is nan"):
        router_step(net, data, RouterTraining(), RouterState.start(net.weights()), range(200))


def test_too_little_data_and_bad_settings_are_refused():
    net, data = net_and_data(rows=1)
    with pytest.raises(TaskError, match="at least two rows"):
        train_routers(net, data)
    with pytest.raises(ValueError, match="label for each of 2 inputs, found 1"):
        LabelledRows(np.zeros((2, 28, 28), np.float32), np.zeros(1, int))
    for given in ({"steps": 0}, {"patience": 0} | {"every": 0}, {"validation": 1.0}, {"learning_rate": 0.0}):
        with pytest.raises(ValueError, match="Expected"):
            RouterTraining(**given)
