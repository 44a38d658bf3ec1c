"""WUDI: the closed form is the minimum of the authors' sum, on either side of its matrices."""

import numpy as np
import pytest
import torch


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def merged(run, deltas, **parameters):
    """The merged task vector of one matrix, on a base of zero."""
    base = {"w": torch.zeros_like(deltas[0])}
    return run("wudi", [{"w": delta} for delta in deltas], base, **parameters)["w"]


def loss(w, deltas, ridge):
    total = sum(((w - d) @ d.T).square().sum() / d.square().sum() for d in deltas)
    return total + ridge * len(deltas) / w.shape[1] * w.square().sum()


@pytest.mark.parametrize("shape", [(5, 7), (2, 30), (7, 3)])
def test_gradient_descent_ends_where_the_closed_form_is(shape, run):
    deltas = [10.0**i * normal(i, *shape) for i in range(2)]
    w = sum(deltas).clone().requires_grad_()
    optimiser = torch.optim.SGD([w], lr=0.2)
    for _ in range(3000):
        optimiser.zero_grad()
        loss(w, deltas, 0.5).backward()
        optimiser.step()
    torch.testing.assert_close(merged(run, deltas, ridge=0.5), w.detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
@pytest.mark.parametrize(
    ("shape", "count"),
    [((40, 40), 3), ((20, 90), 3), ((90, 20), 3), ((30, 90), 3), ((31, 90), 3), ((40, 90), 1)],
)
def test_single_precision_agrees_with_the_equation_in_double(shape, count, scale, run, expected):
    """Of 90 columns three tasks of 29 rows each leave some free, of 30 none: from there on the other side is solved."""
    models = [{"w": (scale * normal(i, *shape)).float()} for i in range(count)]
    base = {"w": torch.zeros(shape)}
    exact = expected("wudi", models, base)["w"]
    found = run("wudi", models, base)["w"].double().numpy()
    assert np.linalg.norm(found - exact) <= 1e-6 * np.linalg.norm(exact)


def test_every_task_keeps_what_it_does_where_the_others_do_nothing(run):
    """Row spaces that do not meet, at very different scales: the minimum is the sum, and each product a task's own."""
    deltas = [torch.zeros(6, 12, dtype=torch.float64) for _ in range(3)]
    for i, delta in enumerate(deltas):
        delta[:, 4 * i : 4 * i + 4] = 100.0**i * normal(i, 6, 4)
    found = merged(run, deltas, ridge=1e-6)
    torch.testing.assert_close(found, sum(deltas), rtol=1e-3, atol=1e-3)
    for delta in deltas:
        torch.testing.assert_close(found @ delta.T, delta @ delta.T, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("copies", [1, 2, 5])
def test_copies_of_one_task_give_it_back_but_for_the_ridge(copies, run):
    delta = normal(0, 8, 12)
    torch.testing.assert_close(merged(run, [delta] * copies, ridge=1e-6), delta, rtol=1e-4, atol=1e-4)


def test_the_ridge_is_measured_beside_the_mean_diagonal(run):
    """Of an orthogonal task vector the mean diagonal is all there is to invert: a ridge of 1 halves it."""
    delta = torch.linalg.qr(normal(0, 9, 9))[0]
    torch.testing.assert_close(merged(run, [delta], ridge=1.0), delta / 2)


@pytest.mark.parametrize("shape", [(20, 15), (5, 60)])
def test_a_task_that_changed_nothing_has_no_say(shape, run):
    first, second = normal(0, *shape), normal(1, *shape)
    found = merged(run, [first, torch.zeros(shape, dtype=torch.float64), second])
    assert torch.equal(found, merged(run, [first, second]))
