"""Thoughts: tick by tick or at once, in one piece or several, read at all ticks or at some."""

import gc
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from merganser.thinking import CTM, CTMConfig, certainty, split_positions

from .cases import build, configs, inputs_for
from .reference import think
from .test_config import SMALL


def exact(**changes):
    """A machine in double precision, and inputs."""
    model = build(SMALL(**changes), dtype=torch.float64)
    return model, inputs_for(model.config, 4, dtype=torch.float64)


def close(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@settings(max_examples=25)
@given(configs(("none", "parity", "control")), st.integers(1, 3), st.integers(1, 4))
def test_a_thought_in_two_pieces_is_the_thought_in_one(config, first, second):
    model = build(config, dtype=torch.float64)
    inputs = inputs_for(config, 2, dtype=torch.float64)
    whole = model(inputs, ticks=first + second)
    begun = model(inputs, ticks=first)
    ended = model(inputs, ticks=second, state=begun.state)
    close(torch.cat([begun.latents, ended.latents]), whole.latents)
    weights = list(model.parameters())
    mine = torch.autograd.grad(ended.latent.square().sum(), weights, allow_unused=True)
    wanted = torch.autograd.grad(whole.latent.square().sum(), weights, allow_unused=True)
    for one, other in zip(mine, wanted, strict=True):
        if one is not None:
            close(one, other)


def test_thinking_tick_by_tick_is_thinking():
    model, inputs = exact()
    thought = model(inputs)
    ticks = list(model.think(inputs))
    close(torch.stack([tick.predictions for tick in ticks], dim=-1), thought.predictions)
    close(torch.stack([tick.certainties for tick in ticks], dim=-1), thought.certainties)
    assert [tick.number for tick in ticks] == [0, 1, 2, 3]


def test_rows_that_are_done_leave_and_the_others_do_not_notice():
    model, inputs = exact()
    thought, thinking = model(inputs), model.think(inputs)
    seen = []
    for tick in thinking:
        close(tick.predictions, thought.predictions[tick.rows, :, tick.number])
        seen.append(tick.rows.tolist())
        thinking.keep(tick.rows % 2 == (0 if tick.number == 1 else tick.rows % 2))
        if tick.number == 2:
            thinking.keep(torch.zeros(2, dtype=torch.bool))
    assert seen == [[0, 1, 2, 3], [0, 1, 2, 3], [0, 2]]


def test_rows_that_still_think_have_a_state_to_go_on_from():
    model, inputs = exact()
    thinking = model.think(inputs, ticks=2)
    next(thinking)
    thinking.keep(torch.tensor([True, False, False, True]))
    next(thinking)
    rows = torch.tensor([0, 3])
    ended = model(inputs[rows], ticks=2, state=thinking.state)
    close(ended.predictions, model(inputs).predictions[rows, :, 2:])


@pytest.mark.parametrize("rows", [torch.ones(3, dtype=torch.bool), torch.tensor([0, 1, 2, 3])])
def test_keeping_wants_one_truth_value_for_each_row(rows):
    model, inputs = exact()
    thinking = model.think(inputs)
    next(thinking)
    with pytest.raises(ValueError, match="Expected 4 truth values"):
        thinking.keep(rows)


def test_episodes_of_a_batch_begin_anew_by_row():
    model, inputs = exact()
    state = model(inputs).state
    again = torch.tensor([False, True, True, False])
    mixed = model(inputs, state=state.where(~again, model.start(4)))
    close(mixed.predictions[again], model(inputs).predictions[again])
    close(mixed.predictions[~again], model(inputs, state=state).predictions[~again])
    single = model(inputs[2:3], state=mixed.state.rows(torch.tensor([2])))
    close(single.predictions, model(inputs, state=mixed.state).predictions[2:3])


def test_rows_of_a_state_of_one_can_be_repeated():
    model, inputs = exact()
    state = model(inputs[:1]).state
    twice = model(inputs[:2], state=state.rows(torch.tensor([0, 0])))
    close(twice.predictions[:1], model(inputs[:1], state=state).predictions)


def test_a_detached_state_carries_no_gradient():
    model, inputs = exact()
    state = model(inputs).state
    assert state.history.requires_grad
    cut = state.detach()
    assert not any(t.requires_grad for t in (cut.activations, cut.history, *cut.action, *cut.output))


def test_a_state_of_another_batch_is_refused():
    model, inputs = exact()
    with pytest.raises(ValueError, match="Expected inputs of a batch of 2, as the state has, but found 4"):
        model(inputs, state=model.start(2))
    with pytest.raises(ValueError, match="`ticks` must be at least 1, but is 0"):
        model(inputs, ticks=0)
    with pytest.raises(ValueError, match=r"Attention needs features .* found \(4, 3\)"):
        model(inputs[..., 0])
    with pytest.raises(ValueError, match="may be None only with the backbone `questions`"):
        model(None)


def test_chosen_ticks_of_each_row_are_read_with_their_gradients():
    model, inputs = exact()
    thought = model(inputs)
    ticks = torch.tensor([[0, 3], [1, 1], [2, 0], [-1, 2]])
    read = thought.read(ticks)
    wanted = thought.predictions.gather(2, (ticks % 4).unsqueeze(1).expand(-1, 6, -1))
    close(read, wanted)
    mine = torch.autograd.grad(read.square().sum(), list(model.parameters()), retain_graph=True)
    theirs = torch.autograd.grad(wanted.square().sum(), list(model.parameters()))
    for one, other in zip(mine, theirs, strict=True):
        close(one, other)
    with pytest.raises(ValueError, match=r"must be \(batch, chosen\) for a batch of 4"):
        thought.read(torch.tensor([0, 1]))


def test_the_answer_is_that_of_the_most_certain_tick():
    model, inputs = exact()
    thought = model(inputs)
    for row, answer in enumerate(thought.answer()):
        best = max(range(thought.ticks), key=lambda tick: thought.certainties[row, tick].item())
        close(answer, thought.predictions[row, :, best])


def test_predictions_looked_at_without_gradients_have_them_later():
    model, inputs = exact()
    thought = model(inputs)
    with torch.no_grad():
        assert not thought.certainties.requires_grad
    assert thought.predictions.requires_grad
    assert thought.predictions is thought.predictions


def test_gradients_of_two_passes_over_one_thought_do_not_mix():
    model, inputs = exact()
    thought, weights = model(inputs), list(model.parameters())

    def pass_over(tick):
        return torch.autograd.grad(
            thought.read()[..., tick].sum(), weights, retain_graph=True, allow_unused=True
        )

    first = pass_over(3)
    torch.autograd.grad(thought.read()[..., 3].sum(), [model.neurons.layers[0].weight], retain_graph=True)
    pass_over(1)
    for one, other in zip(first, pass_over(3), strict=True):
        assert torch.equal(one, other)


def test_a_thought_that_nobody_needs_is_freed_at_once():
    model, inputs = exact()
    gc.collect()
    gc.disable()
    try:
        others = [o for o in gc.get_objects() if type(o).__name__ == "_Places"]
        thought = model(inputs)
        thought.predictions.square().sum().backward()
        held = weakref.ref(thought.state.history)
        places = [o for o in gc.get_objects() if type(o).__name__ == "_Places" and o not in others]
        assert len(places) == 1
        buffer = weakref.ref(places.pop().buffer)
        del thought
        assert held() is None
        assert buffer() is None
    finally:
        gc.enable()


def test_a_trace_tells_what_happened_inside():
    model, inputs = exact()
    thought = model(inputs, trace=True)
    trace = thought.trace
    assert model(inputs).trace is None
    close(thought.predictions, model(inputs).predictions)
    assert trace.received.shape == trace.activations.shape == (4, 4, 12)
    assert trace.attention.shape == (4, 4, 2, 4)
    close(trace.attention.sum(-1), torch.ones(4, 4, 2, dtype=torch.float64))
    close(trace.activations[-1].t(), thought.state.activations)
    close(trace.received[1:].permute(2, 0, 1), thought.state.history)
    assert not trace.activations.requires_grad
    assert trace.grid is None
    assert trace.maps is None


def test_tokens_of_a_picture_are_a_map():
    config = CTMConfig(
        outputs=2, ticks=2, neurons=12, width=4, memory=2, heads=2, backbone="digits", channels=1
    )
    trace = CTM(config)(torch.rand(3, 1, 8, 20), trace=True).trace
    assert trace.grid == (2, 5)
    assert torch.equal(trace.maps[..., 1, 4], trace.attention[..., 9])


def test_certainty_is_one_less_the_normalised_entropy():
    even, sure = torch.zeros(1, 6), torch.tensor([[90.0, 0.0, 0.0, 0.0, 90.0, 0.0]])
    assert certainty(even, 2).item() == pytest.approx(0, abs=1e-6)
    assert certainty(sure, 2).item() == pytest.approx(1)
    assert certainty(torch.tensor([[90.0, 0.0, 0.0, 0.0]]), 2).item() == pytest.approx(0.5)
    assert split_positions(torch.zeros(5, 6, 7), 2).shape == (5, 2, 3, 7)


def test_decays_outside_their_range_come_back_in_training():
    model, inputs = exact()
    with torch.no_grad():
        model.output.decay.fill_(-1.0)
        model.action.decay.fill_(20.0)
    model.eval()
    still = model(inputs).predictions
    assert model.output.decay.eq(-1).all()
    model.train()
    close(model(inputs).predictions, still)
    assert model.output.decay.eq(0).all()
    assert model.action.decay.eq(15).all()
    model(inputs).predictions.square().sum().backward()
    assert model.output.decay.grad.any()


def test_dropout_is_drawn_anew_at_every_tick_and_by_torch_alone():
    model, inputs = exact(dropout=0.5, neuron_dropout=0.5, hidden=3)
    torch.manual_seed(3)
    first = model(inputs).predictions
    assert not torch.allclose(first, model(inputs).predictions)
    torch.manual_seed(3)
    assert torch.equal(first, model(inputs).predictions)
    model.eval()
    close(model(inputs).predictions, think(model, inputs, 4)[0])


def test_what_is_computed_twice_has_the_same_gradients():
    model, inputs = exact(dropout=0.5, neuron_dropout=0.5, hidden=3, synapse_depth=2)
    found = []
    for recompute in (False, True):
        torch.manual_seed(1)
        loss = model(inputs, recompute=recompute).predictions.square().sum()
        found.append(torch.autograd.grad(loss, list(model.parameters())))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_pairs_follow_from_the_seed_alone():
    torch.manual_seed(0)
    one = CTM(SMALL(pairing="random-pairing", self_pairs=2))
    other = CTM(SMALL(pairing="random-pairing", self_pairs=2))
    assert torch.equal(one.output.left, other.output.left)
    assert torch.equal(one.output.left[:2], one.output.right[:2])
    assert len(one.output.left) == 4
    assert not torch.equal(CTM(SMALL(seed=1)).output.left, CTM(SMALL(seed=2)).output.left)


@pytest.mark.parametrize(("sliding", "first"), [(False, 0), (True, 8)])
def test_first_and_last_neurons_are_paired_with_each_other(sliding, first):
    changes = {"heads": 0, "action_neurons": 0} if sliding else {}
    model = CTM(SMALL(pairing="first-last", sliding=sliding, **changes))
    pairs = {(i, j) for i in range(first, first + 4) for j in range(i, first + 4)}
    assert set(zip(model.output.left.tolist(), model.output.right.tolist(), strict=True)) == pairs
    if not sliding:
        assert set(model.action.left.tolist()) == {9, 10, 11}


def test_half_precision_keeps_its_sums_in_single():
    model = build(CTMConfig.preset("parity-64", neurons=64, width=32, ticks=20, memory=5), 1).eval()
    inputs = torch.randint(0, 2, (4, 64), generator=torch.Generator().manual_seed(0)).float() * 2 - 1
    with torch.no_grad():
        whole = model(inputs)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = model(inputs)
        bare = model.bfloat16()(inputs.bfloat16())
    for thought in (half, bare):
        assert thought.latents.dtype == torch.float32
        lost = (thought.latents - whole.latents).abs().max()
        assert lost < 0.03 * whole.latents.abs().max()
        assert (thought.certainties - whole.certainties).abs().max() < 0.01


def test_half_precision_trains():
    model = build(SMALL())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(inputs_for(model.config, 3)).predictions.float().square().sum()
    loss.backward()
    half = model.start_history.grad.clone()
    model.zero_grad()
    model(inputs_for(model.config, 3)).predictions.square().sum().backward()
    assert (half - model.start_history.grad).abs().max() < 0.05 * model.start_history.grad.abs().max()
