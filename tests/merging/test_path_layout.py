"""Indicators and numbers become the path that the paper's formulas say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.merging import Hop, LayerPath, PathLayout, ScaleMatrix, ScaleNetwork, Scales

LAYOUT = PathLayout(("a", "b"), (3, 2), repeats=3)


def taken(*positions):
    return np.isin(np.arange(LAYOUT.positions), positions)


@given(st.integers(0, 999), st.sampled_from([(3, 2), (1, 4), (2,), (1, 1, 1)]), st.integers(1, 4))
def test_a_path_is_the_loop_over_positions(seed, blocks, repeats):
    generator = np.random.default_rng(seed)
    layout = PathLayout(tuple("abc"[: len(blocks)]), blocks, repeats)
    indicators = generator.standard_normal(layout.positions)
    matrix = generator.standard_normal((sum(blocks), sum(blocks)))
    path = layout.path(indicators > 0, ScaleMatrix(sum(blocks), unit=0.5), matrix.ravel())
    starts, hops, before = np.cumsum([0, *blocks]), [], None
    for k in range(layout.positions):
        j = k % sum(blocks)
        if indicators[k] > 0 or k == 0:
            model = int(np.searchsorted(starts, j, side="right")) - 1
            scale = 1.0 if before is None else np.exp(0.5 * matrix[before, j])
            hops.append((model, j - starts[model], scale))
            before = j
    if hops[-1][:2] != (0, blocks[0] - 1):
        hops.append((0, blocks[0] - 1, np.exp(0.5 * matrix[before, blocks[0] - 1])))
    assert [(hop.model, hop.block) for hop in path.hops] == [hop[:2] for hop in hops]
    np.testing.assert_allclose([hop.scale for hop in path.hops], [hop[2] for hop in hops])


def test_the_first_model_is_a_path_and_no_indicators_are_its_ends():
    assert LAYOUT.path(LAYOUT.whole) == LayerPath.whole(("a", "b"), 3)
    assert LAYOUT.path(taken()).hops == (Hop(0, 0), Hop(0, 2))


def test_the_last_block_is_added_only_where_it_is_not_there():
    assert [hop.block for hop in LAYOUT.path(taken(0, 2)).hops] == [0, 2]
    assert LAYOUT.path(taken(0, 2, 3)).hops == (Hop(0, 0), Hop(0, 2), Hop(1, 0), Hop(0, 2))
    assert LAYOUT.path(taken(4, 7)).hops == (Hop(0, 0), Hop(1, 1), Hop(0, 2))


@pytest.mark.parametrize("scales", [ScaleMatrix(5), ScaleNetwork(5, 15)])
def test_numbers_that_are_all_zero_are_scales_of_one(scales):
    assert isinstance(scales, Scales)
    path = LAYOUT.path(taken(0, 3, 4, 7), scales, np.zeros(scales.size))
    assert path == LAYOUT.path(taken(0, 3, 4, 7))


def test_a_network_is_its_formula():
    network = ScaleNetwork(5, 15, hidden=2, unit=1.0)
    values = np.random.default_rng(0).standard_normal(network.size)
    weights, biases, out, bias = values[:6].reshape(3, 2), values[6:8], values[8:10], values[10]
    path = LAYOUT.path(taken(0, 4, 7), network, values)
    expected = [1.0]
    for t, (i, j) in enumerate([(0, 4), (4, 2)], start=1):
        inputs = np.array([i / 4, j / 4, t / 14])
        expected.append(np.exp(np.tanh(inputs @ weights + biases) @ out + bias))
    np.testing.assert_allclose([hop.scale for hop in path.hops], expected)


def test_scales_have_the_meaning_that_the_layout_says():
    layout = PathLayout(("a",), (2,), scaling="handed")
    assert layout.path(layout.whole).scaling == "handed"


def test_scales_stay_within_bounds():
    path = LAYOUT.path(taken(0), ScaleMatrix(5), np.full(25, 1e6))
    assert [hop.scale for hop in path.hops[1:]] == pytest.approx([np.exp(20.0)] * (len(path.hops) - 1))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: PathLayout(("a", "b"), (3,)), "a number of blocks for each of 2 models"),
        (lambda: PathLayout(("a",), (0,)), "a number of blocks for each of 1 models"),
        (lambda: PathLayout(("a",), (3,), repeats=0), "`repeats` must be at least 1"),
        (lambda: LAYOUT.path(np.ones(14, bool)), "Expected 15 indicators, found 14"),
        (lambda: LAYOUT.path(taken(0), ScaleMatrix(5)), "Expected 25 values for scales, found 0"),
        (lambda: LAYOUT.path(taken(0), ScaleMatrix(5), np.ones(24)), "found 24"),
        (lambda: LAYOUT.path(taken(0), ScaleMatrix(5), np.full(25, np.nan)), "hop 1 must be finite"),
    ],
)
def test_what_is_no_layout_or_does_not_fit_it_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
