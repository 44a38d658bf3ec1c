"""Readouts, halting and calibration against loops written from their definitions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merganser.thinking import (
    CERTAINTIES,
    CTM,
    READOUTS,
    Answers,
    CTMConfig,
    answers_of,
    calibration,
    certainty,
    halting_curve,
    halting_point,
    halting_ticks,
    readout_named,
    think_until,
)


def drawn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def read_slowly(name, logits, certainties, tick):
    """Probabilities of one sample and position after a tick, from the table of formulas."""
    said = [logits[:, s].softmax(0) for s in range(tick + 1)]
    sure = [certainties[s].item() for s in range(tick + 1)]
    if name == "instant":
        return said[tick]
    if name == "certain":
        return said[sure.index(max(sure))]
    if name == "average":
        return sum(said) / (tick + 1)
    return (sum(c * logits[:, s] for s, c in enumerate(sure)) / sum(sure)).softmax(0)


@pytest.mark.parametrize("name", READOUTS)
@given(seed=st.integers(0, 99), positions=st.integers(1, 3), ticks=st.integers(1, 6))
def test_readouts_equal_their_formulas(name, seed, positions, ticks):
    logits = drawn(seed, 2, positions, 3, ticks)
    certainties = drawn(seed + 1, 2, ticks).sigmoid().mul(4).round().div(4).clamp(min=0.01)  # with equal ones
    found = READOUTS[name](logits, certainties)
    for b in range(2):
        for p in range(positions):
            for t in range(ticks):
                expected = read_slowly(name, logits[b, p], certainties[b], t)
                torch.testing.assert_close(found[b, p, :, t], expected)


@pytest.mark.parametrize("name", READOUTS)
def test_readouts_are_probabilities_even_of_a_thought_that_is_never_sure(name):
    found = READOUTS[name](drawn(0, 3, 2, 4, 5), torch.zeros(3, 5, dtype=torch.float64))
    torch.testing.assert_close(found.sum(dim=2), torch.ones(3, 2, 5, dtype=torch.float64))


def test_a_readout_that_is_not_there_names_those_that_are():
    with pytest.raises(ValueError, match="certain, instant, average, weighted, found 'best'"):
        readout_named("best")


@given(st.integers(0, 99), st.integers(1, 6), st.floats(0, 1.1))
def test_a_sample_stops_where_it_is_sure_enough_and_never_later(seed, ticks, threshold):
    certainties = drawn(seed, 4, ticks).sigmoid()
    for row, stop in zip(certainties, halting_ticks(certainties, threshold).tolist(), strict=True):
        assert all(c < threshold for c in row[:stop])
        assert row[stop] >= threshold or stop == ticks - 1


def test_halting_does_not_change_what_it_looks_at():
    certainties = torch.tensor([[0.1, 0.2]])
    halting_ticks(certainties, 0.9)
    assert certainties.tolist() == torch.tensor([[0.1, 0.2]]).tolist()


def test_a_halting_point_says_what_was_saved_and_lost():
    certainties = torch.tensor([[0.9, 0.9, 0.9, 0.9], [0.1, 0.8, 0.9, 0.9], [0.1, 0.2, 0.3, 0.4]])
    scores = torch.tensor([[0.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]])
    point = halting_point(scores, certainties, 0.8)
    assert point.accuracy == pytest.approx(2 / 3)
    assert point.ticks == pytest.approx((1 + 2 + 4) / 3)
    assert point.saved == pytest.approx(1 - 7 / 12)
    assert point.reached == pytest.approx(2 / 3)
    *curve, every = halting_curve(scores, certainties, [0.5, 0.8])
    assert curve[1] == point
    assert every == (None, 1.0, 4.0, 0.0, 0.0)


@given(st.integers(0, 99))
def test_a_higher_threshold_never_takes_fewer_ticks(seed):
    certainties = drawn(seed, 5, 6).sigmoid()
    ticks = [point.ticks for point in halting_curve(torch.zeros(5, 6), certainties)]
    assert ticks == sorted(ticks)


def test_calibration_equals_the_sum_over_bins():
    probabilities = torch.tensor([[0.95, 0.05], [0.92, 0.08], [0.91, 0.09], [0.35, 0.65]])
    found = calibration(probabilities, torch.tensor([0, 0, 1, 1]), bins=10)
    assert [each.answers for each in found.bins] == [1, 3]
    expected = 3 / 4 * abs(2 / 3 - (0.95 + 0.92 + 0.91) / 3) + 1 / 4 * abs(1 - 0.65)
    assert found.error == pytest.approx(expected, rel=1e-6)


def test_a_certain_and_right_model_is_calibrated_and_a_certain_and_wrong_one_is_not():
    probabilities = torch.eye(3)
    assert calibration(probabilities, torch.arange(3)).error == 0
    assert calibration(probabilities, torch.tensor([1, 2, 0])).error == 1
    with pytest.raises(ValueError, match="at least one answer and one bin, found 0 and 10"):
        calibration(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))


SMALL = CTMConfig(
    outputs=6,
    positions=2,
    ticks=7,
    neurons=16,
    width=8,
    memory=4,
    heads=2,
    hidden=4,
    output_neurons=8,
    action_neurons=8,
)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("quantile", [0.2, 0.7, 1.0])
def test_thinking_until_sure_gives_what_thinking_to_the_end_gave_there(readout, quantile):
    torch.manual_seed(3)
    model, inputs = CTM(SMALL), torch.randn(9, 3, 5)
    answers = answers_of(model, inputs, torch.zeros(9, 2, dtype=torch.long), batch=4)
    threshold = answers.certainties.flatten().quantile(quantile).item() + 1e-4
    stops = halting_ticks(answers.certainties, threshold)
    found = think_until(model, inputs, threshold=threshold, readout=readout)
    assert torch.equal(found.ticks, stops + 1)
    rows = torch.arange(9)
    expected = answers.probabilities(readout)[rows, :, :, stops]
    torch.testing.assert_close(found.probabilities, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.certainties, answers.certainties[rows, stops], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("by", CERTAINTIES)
def test_thinking_stops_by_the_mean_or_by_the_least_certain_position(by):
    torch.manual_seed(3)
    model, inputs = CTM(SMALL), torch.randn(9, 3, 5)
    answers = answers_of(model, inputs, torch.zeros(9, 2, dtype=torch.long))
    certainties = answers.certainties_by(by)
    threshold = certainties.median().item() + 1e-4
    found = think_until(model, inputs, threshold=threshold, by=by)
    stops = halting_ticks(certainties, threshold)
    assert torch.equal(found.ticks, stops + 1)
    torch.testing.assert_close(found.certainties, certainties[torch.arange(9), stops], atol=1e-5, rtol=1e-5)


def test_the_least_certainty_is_that_of_the_position_that_is_least_certain():
    logits = drawn(0, 4, 2, 3, 5)
    answers = Answers(logits, torch.zeros(4, 5), torch.zeros(4, 2, dtype=torch.long))
    single = torch.stack([certainty(logits[:, p]) for p in range(2)])
    torch.testing.assert_close(answers.certainties_by("least"), single.amin(dim=0))
    torch.testing.assert_close(answers.certainties_by("mean"), single.mean(dim=0))
    with pytest.raises(ValueError, match="one of mean, least as `by`, found 'worst'"):
        answers.certainties_by("worst")


def test_samples_that_are_done_are_not_thought_about_any_more():
    torch.manual_seed(3)
    model, inputs, seen = CTM(SMALL), torch.randn(9, 3, 5), []
    threshold = answers_of(model, inputs, torch.zeros(9, 2, dtype=torch.long)).certainties.median().item()
    model.synapse.register_forward_hook(lambda module, args, output: seen.append(len(args[0])))
    found = think_until(model, inputs, threshold=threshold)
    assert sum(seen) == found.ticks.sum().item() < 9 * 7


def test_answers_score_positions_and_whole_samples():
    logits = torch.zeros(2, 2, 3, 1)
    logits[0, :, 1], logits[1, 0, 1], logits[1, 1, 2] = 5.0, 5.0, 5.0
    answers = Answers(logits, torch.ones(2, 1), torch.ones(2, 2, dtype=torch.long))
    assert answers.scores()[:, 0].tolist() == [1.0, 0.5]
    assert answers.scores(whole=True)[:, 0].tolist() == [1.0, 0.0]
