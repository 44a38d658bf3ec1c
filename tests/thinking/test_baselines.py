"""Baselines: the LSTM against torch's own cells, the perceptron against its definition; as thoughts and on disk."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

import merganser
from merganser import CheckpointError, ConfigError
from merganser.thinking import (
    CTM,
    LSTM,
    BaselineConfig,
    CTMConfig,
    FeedForward,
    answers_of,
    matched,
    new_thinker,
    open_thinker,
    parameter_count,
    think_until,
    thought_loss,
)
from merganser.thinking.training import Digits, Parity

from .cases import inputs_for
from .test_config import SMALL

SHAPE = {"outputs": 6, "positions": 2, "neurons": 5, "width": 8}
SEES = {"backbone": "parity", "positional": "rotational-1d"}
EXACT = {"rtol": 0, "atol": 1e-11}


def lstm(**changes):
    return BaselineConfig(**{"kind": "lstm", **SHAPE, "heads": 2, "ticks": 4, **SEES, **changes})


def feed_forward(**changes):
    return BaselineConfig(**{"kind": "feed-forward", **SHAPE, "tokens": 5, **SEES, **changes})


def drawn(config, seed=0):
    torch.manual_seed(seed)
    return new_thinker(config).double().eval()


def lively(config):
    """A model with larger weights, which says other things at other ticks."""
    model = drawn(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    return model


def signs(batch, seed=0):
    return inputs_for(lstm(), batch, seed, torch.float64)


def gradients(model, loss):
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return {name: each for (name, _), each in zip(model.named_parameters(), found, strict=True)}


def plain_lstm(model, inputs, ticks):
    """The same in the plainest way: torch's cells and torch's attention, told the model's weights."""
    neurons, features, logits, shares = model.config.neurons, model.features(inputs), [], []
    states = [
        tuple(each.expand(len(inputs), -1) for each in (cell.start_hidden, cell.start_memory))
        for cell in model.cells
    ]
    for _ in range(ticks):
        seen = features
        if model.attention is not None:
            seen, found = look(model.attention, features, states[-1][0])
            shares.append(found)
        for place, cell in enumerate(model.cells):
            for_inputs, for_hidden = cell.linear.weight.split([seen.shape[1], neurons], dim=1)
            weights = {"weight_ih": for_inputs, "weight_hh": for_hidden, "bias_ih": cell.linear.bias}
            weights["bias_hh"] = torch.zeros_like(cell.linear.bias)
            theirs = nn.LSTMCell(seen.shape[1], neurons)
            states[place] = functional_call(theirs, weights, (seen, states[place]))
            seen = states[place][0]
        logits.append(model.head(seen))
    return torch.stack(logits, dim=-1), shares


def look(attention, features, hidden):
    tokens = attention.norm(attention.project(features.flatten(2).transpose(1, 2)))
    theirs = nn.MultiheadAttention(tokens.shape[2], attention.heads, batch_first=True)
    weights = {
        "in_proj_weight": torch.cat([attention.query.weight, attention.keys_values.weight]),
        "in_proj_bias": torch.cat([attention.query.bias, attention.keys_values.bias]),
        "out_proj.weight": attention.out.weight,
        "out_proj.bias": attention.out.bias,
    }
    asked = (attention.ask(hidden)[:, None], tokens, tokens)
    seen, shares = functional_call(theirs, weights, asked, {"average_attn_weights": False})
    return seen[:, 0], shares[:, :, 0]


LOOKING = [lstm(), lstm(layers=3, heads=1), lstm(backbone="digits", positional="fourier")]
DIRECT = lstm(backbone="none", positional="none", heads=0, layers=2)


def inputs_of(config, batch=3, seed=0):
    return inputs_for(config, batch, seed, torch.float64)


@pytest.mark.parametrize("config", [*LOOKING, DIRECT], ids=["one", "three", "pictures", "direct"])
def test_an_lstm_is_torchs_cells_behind_torchs_attention_with_the_same_gradients(config):
    model, inputs = drawn(config), inputs_of(config)
    thought, (wanted, shares) = model(inputs, trace=True), plain_lstm(model, inputs, 4)
    torch.testing.assert_close(thought.predictions, wanted, **EXACT)
    if shares:
        torch.testing.assert_close(thought.trace.attention, torch.stack(shares), **EXACT)
    weights = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mine, theirs = (
        gradients(model, (found * weights).sum()) for found in (model(inputs).predictions, wanted)
    )
    for name, gradient in theirs.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-9, atol=1e-12, msg=name)
        assert mine[name].any(), name


@settings(max_examples=10)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 9))
def test_an_lstm_goes_on_from_where_it_was(before, after, seed):
    model, inputs = drawn(lstm(layers=2), seed), signs(3, seed)
    first = model(inputs, ticks=before)
    second, whole = (
        model(inputs, ticks=after, state=first.state),
        model(inputs, ticks=before + after).predictions,
    )
    torch.testing.assert_close(torch.cat([first.predictions, second.predictions], 2), whole, **EXACT)
    with pytest.raises(ValueError, match="a batch of 3, as the state has, but found 2"):
        model(signs(2), state=first.state)


def test_an_lstm_answers_at_its_last_tick_and_is_trained_there_and_at_its_best():
    model, inputs = lively(lstm(ticks=3)), signs(64)
    targets = torch.randint(3, (64, 2), generator=torch.Generator().manual_seed(0))
    thought = model(inputs)
    loss = thought_loss(thought, targets)
    assert loss.surest.tolist() == [2] * 64
    said = thought.predictions.unflatten(1, (2, 3)).log_softmax(2)
    costs = -said.gather(2, targets[:, :, None, None].expand(-1, -1, 1, 3)).mean(dim=(1, 2)).t()
    best = costs.min(dim=0)
    assert torch.equal(loss.best, best.indices)
    assert loss.value.item() == pytest.approx(((best.values + costs[2]) / 2).mean().item())
    assert (thought.certainties.argmax(1) != 2).any()
    assert torch.equal(thought.answer(), thought.predictions[:, :, 2])
    answers = answers_of(model, inputs, targets)
    assert torch.equal(answers.right(), answers.right("instant"))
    assert not torch.equal(answers.probabilities(), answers.probabilities("certain"))


@pytest.mark.parametrize("threshold", [0.0, 0.25, 1.0])
def test_thinking_until_sure_is_what_thinking_to_the_end_gave_there(threshold):
    model, inputs = lively(lstm(layers=2)), signs(16)
    stopped, whole = think_until(model, inputs, threshold=threshold), model(inputs)
    last = stopped.ticks - 1
    assert last.unique().numel() > 1 or threshold in (0.0, 1.0)
    rows = torch.arange(16)
    expected = whole.predictions[rows, :, last].unflatten(1, (2, 3)).softmax(2)
    torch.testing.assert_close(stopped.probabilities, expected.detach(), **EXACT)


@pytest.mark.parametrize("config", [feed_forward(), feed_forward(tokens=0, layers=3)], ids=["beside", "mean"])
def test_a_feed_forward_net_is_a_perceptron_and_a_thought_of_one_tick(config):
    model, inputs = drawn(config), signs(4)
    tokens = model.backbone(inputs) + model.positions(model.backbone(inputs))  # (batch, width, length)
    hidden = tokens.flatten(1) if config.tokens else tokens.mean(dim=2)
    for layer in model.layers:
        hidden = (hidden @ layer.weight.t() + layer.bias).clamp(min=0)
    wanted = hidden @ model.head.weight.t() + model.head.bias
    thought = model(inputs, trace=True)
    torch.testing.assert_close(thought.predictions, wanted[:, :, None], **EXACT)
    assert thought.trace.attention is None
    assert thought.trace.activations.shape == (1, 4, 5)
    stopped = think_until(model, inputs)
    torch.testing.assert_close(
        stopped.probabilities, wanted.unflatten(1, (2, 3)).softmax(2).detach(), **EXACT
    )
    assert stopped.ticks.tolist() == [1] * 4


@pytest.mark.parametrize(("memory", "neurons"), [(1, 669), (5, 686), (10, 706), (25, 765), (50, 857)])
def test_lstms_are_as_wide_as_the_papers(memory, neurons):
    found = matched(CTMConfig.preset("parity-64", memory=memory), "lstm")
    assert abs(found.neurons - neurons) <= 1


RESNET = SMALL(neurons=256, backbone="resnet18-1", positional="fourier", dropout=0.1)


@pytest.mark.parametrize("kind", ["lstm", "feed-forward"])
@pytest.mark.parametrize(
    "config", [Parity(8).config(), Digits().config(), RESNET], ids=["parity", "digits", "resnet"]
)
def test_matched_baselines_have_the_thought_machines_number_of_parameters(config, kind):
    baseline, wanted = matched(config, kind), sum(p.numel() for p in CTM(config).parameters())
    assert parameter_count(config) == wanted
    found = sum(p.numel() for p in new_thinker(baseline).parameters())
    assert abs(found - wanted) <= 0.01 * wanted
    nearer = [
        abs(parameter_count(matched_with(baseline, step)) - wanted) < abs(found - wanted) for step in (-1, 1)
    ]
    assert not any(nearer)
    assert baseline.ticks == (config.ticks if kind == "lstm" else 1)
    assert (baseline.dropout, baseline.backbone) == (config.dropout, config.backbone)


def matched_with(baseline, step):
    return replace(baseline, neurons=baseline.neurons + step)


def test_a_match_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match=r"no baseline `rnn`\. There are: lstm, feed-forward"):
        matched(SMALL(), "rnn")
    with pytest.raises(ConfigError, match="smaller than any such baseline"):
        matched(SMALL(), "lstm", layers=2000)
    assert matched(RESNET, "lstm", layers=2).neurons < matched(RESNET, "lstm").neurons


@pytest.mark.parametrize("config", [lstm(layers=2), feed_forward()], ids=["lstm", "feed-forward"])
def test_what_was_saved_opens_and_says_the_same(config, tmp_path):
    model = drawn(config).float()
    model.save_pretrained(tmp_path / "model")
    again = open_thinker(tmp_path / "model")
    assert (type(again), again.config, again.training) == (type(model), config, False)
    assert torch.equal(again(signs(3).float()).predictions, model(signs(3).float()).predictions)
    assert merganser.open(tmp_path / "model").config["model_type"] == "ctm-baseline"
    assert type(model).from_pretrained(tmp_path / "model").config == config
    with pytest.raises(CheckpointError, match=r"expected CTM, found (LSTM|FeedForward)\..*open_thinker"):
        CTM.from_pretrained(tmp_path / "model")
    merganser.merge(
        [tmp_path / "model", drawn(config, 1).float().checkpoint()], "slerp", out=tmp_path / "both"
    )
    assert open_thinker(tmp_path / "both").config == config


def test_a_thought_machine_is_opened_by_its_configuration_too():
    assert type(open_thinker(CTM(SMALL()).checkpoint())) is CTM


def test_a_file_that_does_not_fit_is_named(tmp_path):
    drawn(lstm()).save_pretrained(tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps({**settings, "layers": 2}))
    with pytest.raises(CheckpointError, match=r"lacks `cells\.1\."):
        open_thinker(tmp_path / "model")
    config.write_text(json.dumps({**settings, "neuron": 2}))
    with pytest.raises(ConfigError, match=r"A baseline has no field `neuron`\. Did you mean `neurons`"):
        open_thinker(tmp_path / "model")


class TestRefusals:
    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda: lstm(kind="rnn"), "`kind` is `rnn`"),
            (lambda: lstm(layers=0), "`layers` must be at least 1"),
            (lambda: lstm(neurons=2.5), "`neurons` must be of type int"),
            (lambda: lstm(heads=3), "`width` must be a multiple of `heads`"),
            (lambda: lstm(heads=0), "`heads` is 0, but the features of `parity`"),
            (lambda: lstm(tokens=5), "`tokens` is for feed-forward nets"),
            (lambda: lstm(dropout=1.0), r"`dropout` must be in \[0, 1\)"),
            (lambda: feed_forward(ticks=2), "`ticks` of a feed-forward net must be 1"),
            (lambda: feed_forward(heads=2), "`heads` of a feed-forward net must be 0"),
            (lambda: feed_forward(positions=4), "`positions` must cut 6 `outputs`"),
            (lambda: LSTM(feed_forward()), "configuration of an LSTM, found one of kind `feed-forward`"),
            (lambda: FeedForward(lstm()), "configuration of a feed-forward net, found one of kind `lstm`"),
        ],
        ids=lambda each: each if isinstance(each, str) else "",
    )
    def test_parts_that_do_not_go_together(self, make, said):
        with pytest.raises(ConfigError, match=said):
            make()

    def test_more_ticks_than_one_of_a_feed_forward_net(self):
        with pytest.raises(ValueError, match="`ticks` must be 1, but is 3"):
            drawn(feed_forward())(signs(2), ticks=3)

    def test_features_of_another_number(self):
        with pytest.raises(ValueError, match="Expected 4 features to lay side by side"):
            drawn(feed_forward(tokens=4))(signs(2))

    def test_no_ticks_and_no_head_of_an_lstm(self):
        with pytest.raises(ValueError, match="`ticks` must be at least 1"):
            drawn(lstm())(signs(2), ticks=0)
        with pytest.raises(ValueError, match="Only models with a head"):
            drawn(lstm(outputs=0)).think(signs(2))
