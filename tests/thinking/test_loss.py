"""The loss and the sequences over ticks, against loops written from their definitions."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merganser.thinking import Thought, certainty, ctc_greedy, ctc_loss, thought_loss, tick_losses


def drawn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classes_of(seed, classes, *shape):
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


def thought_of(logits):
    """A thought whose head reads the synchronisation as it is."""
    batch, positions, classes, ticks = logits.shape
    synchronisations = logits.reshape(batch, positions * classes, ticks).permute(2, 1, 0)
    return Thought(synchronisations, None, positions, None, lambda found: found)


@given(st.integers(0, 99), st.integers(1, 4), st.integers(1, 4), st.integers(2, 4), st.integers(1, 6))
def test_loss_equals_the_loop_over_samples_ticks_and_positions(seed, batch, positions, classes, ticks):
    logits, targets = (
        drawn(seed, batch, positions, classes, ticks),
        classes_of(seed, classes, batch, positions),
    )
    certainties = certainty(logits.reshape(batch, -1, ticks), positions)
    total = 0.0
    for b in range(batch):
        costs = []
        for t in range(ticks):
            each = [
                math.log(sum(math.exp(logits[b, p, k, t]) for k in range(classes)))
                - logits[b, p, targets[b, p], t].item()
                for p in range(positions)
            ]
            costs.append(sum(each) / positions)
        surest = max(range(ticks), key=lambda t: certainties[b, t].item())
        total += (min(costs) + costs[surest]) / 2
    assert thought_loss(thought_of(logits), targets).value.item() == pytest.approx(total / batch, abs=1e-12)


def test_only_the_chosen_ticks_get_a_gradient():
    logits = drawn(3, 5, 2, 3, 7).requires_grad_()
    found = thought_loss(thought_of(logits), classes_of(5, 3, 5, 2))
    found.value.backward()
    touched = logits.grad.abs().sum(dim=(1, 2)) > 0
    for b in range(5):
        assert set(touched[b].nonzero()[:, 0].tolist()) == {found.best[b].item(), found.surest[b].item()}


def test_of_equal_ticks_the_first_counts():
    found = thought_loss(thought_of(torch.zeros(1, 1, 2, 4)), torch.zeros(1, 1, dtype=torch.long))
    assert (found.best.item(), found.surest.item()) == (0, 0)


def test_targets_at_other_positions_are_refused():
    with pytest.raises(
        ValueError, match="Expected targets at 2 positions, as the model answers, but found 3"
    ):
        thought_loss(thought_of(torch.zeros(1, 2, 2, 4)), torch.zeros(1, 3, dtype=torch.long))


def test_a_tick_that_is_sure_and_right_costs_nothing():
    logits = torch.zeros(1, 1, 2, 2)
    logits[0, 0, 1, 1] = 50.0
    assert tick_losses(logits, torch.tensor([[1]]))[0].tolist() == pytest.approx([math.log(2), 0.0])


def read_off(path, blank):
    """What a path of classes stands for, written from the definition."""
    said = [c for i, c in enumerate(path) if i == 0 or path[i - 1] != c]
    return tuple(c for c in said if c != blank)


@given(st.integers(0, 99), st.integers(1, 3), st.integers(3, 5))
def test_ctc_is_the_sum_over_all_paths(seed, length, ticks):
    predictions, targets = drawn(seed, 2, 4, ticks), classes_of(seed, 3, 2, length)
    targets[:, 1:] = torch.where(targets[:, 1:] == targets[:, :-1], (targets[:, 1:] + 1) % 3, targets[:, 1:])
    if length > 2 and (targets[:, 1:] == targets[:, :-1]).any():
        targets[:] = torch.tensor([0, 1, 2])
    probabilities, expected = predictions.softmax(dim=1), 0.0
    for b in range(2):
        wanted = tuple(targets[b].tolist())
        paths = [p for p in itertools.product(range(4), repeat=ticks) if read_off(p, 3) == wanted]
        total = sum(math.prod(probabilities[b, c, t].item() for t, c in enumerate(p)) for p in paths)
        expected -= math.log(total) / length / 2
    assert ctc_loss(predictions, targets).item() == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_the_greedy_sequence_is_that_of_the_likeliest_path(path):
    assert ctc_greedy(torch.eye(4)[path].T[None]) == [read_off(path, 3)]


def test_sequences_that_cannot_be_said_are_refused():
    with pytest.raises(ValueError, match="take at least 4 ticks, but the model thinks for 3"):
        ctc_loss(torch.zeros(1, 3, 3), torch.tensor([[0, 0, 1]]))
    with pytest.raises(ValueError, match="symbols from 0 to 1, since the last of 3 classes"):
        ctc_loss(torch.zeros(1, 3, 5), torch.tensor([[0, 2]]))


@given(st.integers(0, 99), st.integers(1, 4), st.integers(1, 7), st.integers(1, 6), st.integers(1, 5))
def test_a_curriculum_trains_what_follows_the_longest_right_beginning(
    seed, batch, positions, ticks, look_ahead
):
    logits, targets = drawn(seed, batch, positions, 2, ticks), classes_of(seed, 2, batch, positions)
    losses = -logits.log_softmax(2).gather(2, targets[:, :, None, None].expand(-1, -1, 1, ticks)).squeeze(2)
    right = logits.argmax(2) == targets[:, :, None]
    total = 0.0
    for b in range(batch):
        longest = 0
        for t in range(ticks):
            beginning = list(itertools.takewhile(bool, right[b, :, t].tolist()))
            longest = max(longest, len(beginning))
        until = min(max(longest - 1, 0) + look_ahead, positions)
        of_ticks = losses[b, :until].mean(dim=0)
        surest = certainty(logits[b].reshape(1, -1, ticks), positions)[0].argmax()
        total += float(of_ticks.min() + of_ticks[surest]) / 2 / batch
    found = thought_loss(thought_of(logits), targets, look_ahead=look_ahead)
    assert math.isclose(float(found.value), total, rel_tol=1e-12)
