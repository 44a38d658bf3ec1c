"""Margins order candidates of equal score, and nothing else."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.evolution import CmaEs, CombinationSpace, LayerWeights, MixedCmaEs, PathSpace, Row
from merganser.evolution._ties import Loss, loss_of, told_losses
from merganser.merging import PathLayout

SAMPLES = 8
WEIGHTS = np.ones(SAMPLES)
TARGETS = (np.array([0.9, 0.1]), np.array([0.1, 0.8]))
"""Weights of two layers that margins prefer; the search begins at a half."""


def weights(count=SAMPLES):
    return st.lists(st.floats(0.1, 10), min_size=count, max_size=count)


ANSWERS = st.lists(
    st.tuples(
        st.lists(st.booleans(), min_size=SAMPLES, max_size=SAMPLES),
        st.lists(st.floats(0, 1), min_size=SAMPLES, max_size=SAMPLES),
    ),
    min_size=2,
    max_size=12,
)


@given(ANSWERS, weights())
def test_scores_are_never_overturned_and_among_equals_the_larger_margin_is_better(answers, counts):
    w = np.array(counts)
    rows = [Row(np.array(right, float), margins=np.array(margins)) for right, margins in answers]
    means = [float(row.scores @ w / w.sum()) for row in rows]
    margins = [float(row.margins @ w / w.sum()) for row in rows]
    told = told_losses([loss_of(row, w) for row in rows], tie_breaker=True)
    for i in range(len(rows)):
        for j in range(len(rows)):
            is_better = means[i] > means[j] + 1e-9
            is_nearer = answers[i][0] == answers[j][0] and margins[i] > margins[j] + 1e-3
            assert told[i] < told[j] or not (is_better or is_nearer)


@given(st.lists(st.sampled_from([0.0, 0.3, 0.1 + 0.2, 0.5, 1.0]), min_size=2, max_size=9), st.data())
def test_margins_move_a_loss_by_less_than_half_of_the_smallest_difference(values, data):
    margins = data.draw(st.lists(st.floats(1e-6, 1), min_size=len(values), max_size=len(values)))
    told = told_losses([*map(Loss, values, margins)], tie_breaker=True)
    distinct = sorted({round(v, 9) for v in values})
    gap = min((b - a for a, b in pairwise(distinct)), default=1.0)
    for value, margin, loss in zip(values, margins, told, strict=True):
        assert loss - value == pytest.approx(0.49 * gap * (1 - margin), abs=1e-9)
        assert loss - value < gap / 2


def test_losses_that_differ_by_rounding_only_are_a_tie():
    told = told_losses([Loss(0.1 + 0.2, 0.9), Loss(0.3, 0.1), Loss(0.5, 0.5)], tie_breaker=True)
    assert told[0] < told[1] - 0.05 < told[2]


@pytest.mark.parametrize(
    ("margins", "tie_breaker"),
    [((0.1, 0.9, None), True), ((None, None, None), True), ((0.1, 0.9, 0.5), False)],
)
def test_losses_are_told_as_they_are_without_a_tie_breaker_or_where_a_margin_is_not_known(
    margins, tie_breaker
):
    values = [0.1 + 0.2, 0.3, 0.3]
    assert told_losses([*map(Loss, values, margins)], tie_breaker=tie_breaker) == values


def test_a_candidate_that_failed_is_the_last_among_its_equals():
    rows = [
        Row(np.zeros(SAMPLES), failed="out of memory"),
        Row(np.zeros(SAMPLES), margins=np.full(SAMPLES, 0.1)),
    ]
    told = told_losses([loss_of(row, WEIGHTS) for row in rows], tie_breaker=True)
    assert told[1] < told[0]


def test_a_generation_that_failed_as_a_whole_is_told_as_it_is():
    failed = [loss_of(Row(np.zeros(SAMPLES), failed="out of memory"), WEIGHTS)] * 3
    assert told_losses(failed, tie_breaker=True) == [1.0] * 3


def layers(**options):
    seeds = np.random.default_rng(0).standard_normal((2, 9))
    vectors = LayerWeights(CombinationSpace("ab", seeds), (0, 4, 9))
    return CmaEs.start(vectors, WEIGHTS, seed=3, population=8, **options)


def wrong_everywhere(target):
    """No question is right; margins rise as the weights of the layers come near to those of a target."""

    def row(genome):
        near = np.exp(-np.abs(genome.coefficients - target.coefficients).sum())
        return Row(np.zeros(SAMPLES), margins=np.full(SAMPLES, near))

    return row


def centre_after(state, generations, row):
    """Where the candidates lie after so many generations."""
    state, seeds = state.ask(2)
    state = state.tell(seeds, [row(p.genome) for p in seeds])
    for _ in range(generations):
        state, proposals = state.ask(100)
        state = state.tell(proposals, [row(p.genome) for p in proposals])
    return state, np.mean(state.ask(100)[0].generation, axis=0)


@pytest.mark.parametrize("target", TARGETS)
def test_where_all_scores_tie_the_strategy_moves_towards_the_better_margins(target):
    row = wrong_everywhere(layers().vectors.decode(target))
    state, centre = centre_after(layers(), 12, row)
    assert np.abs(centre - target).max() < 0.1
    assert state.plateaus == 0


def test_without_the_tie_breaker_it_goes_the_same_way_whatever_the_margins():
    rows = [wrong_everywhere(layers().vectors.decode(target)) for target in TARGETS]
    (state, centre), (_, other) = (centre_after(layers(tie_breaker=False), 12, row) for row in rows)
    assert (centre == other).all()
    assert state.plateaus == 12


def test_a_generation_is_a_plateau_where_margins_tie_too():
    state, _ = centre_after(layers(), 3, lambda _: Row(np.zeros(SAMPLES), margins=np.full(SAMPLES, 0.25)))
    assert state.plateaus == 3


def test_margins_count_by_the_weights_of_their_samples():
    halves = np.r_[np.ones(4), np.zeros(4)]
    one, other = (Row(np.zeros(SAMPLES), margins=m) for m in (halves, 1 - halves))
    heavy = np.r_[np.full(4, 3.0), np.ones(4)]
    assert loss_of(one, heavy).margin == 0.75
    assert loss_of(other.on(np.arange(4, 8)), heavy[4:]).margin == 1.0


@pytest.mark.parametrize("tie_breaker", [True, False])
def test_switches_and_scales_learn_from_margins_too(tie_breaker):
    pytest.importorskip("cmaes")
    space = PathSpace(PathLayout(("a", "b"), (4, 4), repeats=2))
    state = MixedCmaEs.start(space, WEIGHTS, seed=3, population=20, tie_breaker=tie_breaker)

    def row(path):
        """All wrong; the more blocks of the second model, the nearer."""
        share = sum(hop.model for hop in path.hops) / 8
        return Row(np.zeros(SAMPLES), margins=np.full(SAMPLES, min(share, 1.0)))

    for _ in range(600):
        state, proposals = state.ask(1)
        state = state.tell(proposals, [row(p.genome) for p in proposals])
    _, last = state.ask(20)
    mean = np.mean([sum(hop.model for hop in p.genome.hops) for p in last])
    assert (mean > 4) == tie_breaker
