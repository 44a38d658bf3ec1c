"""The space of paths begins where the paper says, and searches find what is on the way."""

import sys

import numpy as np
import pytest

from merganser._errors import ConfigError
from merganser.evolution import CmaEs, MixedCmaEs, PathSpace, Row
from merganser.merging import PathLayout, ScaleMatrix, ScaleNetwork

LAYOUT = PathLayout(("a", "b"), (4, 4), repeats=2)
WANTED = (("a", 0), ("a", 1), ("b", 1), ("b", 2), ("a", 3))
WEIGHTS = np.ones(10)


def way(path):
    """Model and block of each hop."""
    return [(path.seeds[hop.model], hop.block) for hop in path.hops]


def close(path):
    """Better with each block that is wanted, worse with each other, as ten samples in [0, 1]."""
    blocks = way(path)
    wrong = len(set(WANTED) - set(blocks)) + sum(block not in WANTED for block in blocks)
    repeated = len(blocks) - len(set(blocks))
    return Row(np.full(10, 1.0 / (1 + wrong + repeated)))


def best_of(state, children, row=close):
    for _ in range(children):
        state, proposals = state.ask(1)
        state = state.tell(proposals, [row(p.genome) for p in proposals])
    return state


def test_a_vector_decodes_to_indicators_and_scales():
    space = PathSpace(LAYOUT, scales=ScaleMatrix(8))
    assert len(space.start) == LAYOUT.positions + 64
    assert space.decode(space.start) == space.seeds[0]
    vector = space.start.copy()
    vector[1] = -0.1
    vector[LAYOUT.positions + 2] = 20.0  # from block 0 to block 2: a unit is 0.05
    assert [(hop.block, hop.scale) for hop in space.decode(vector).hops] == [
        (0, 1.0),
        (2, pytest.approx(np.e)),
        (3, 1.0),
    ]


@pytest.mark.parametrize(
    "start",
    [
        lambda space: CmaEs.start(space, WEIGHTS, seed=0, population=200),
        lambda space: MixedCmaEs.start(space, WEIGHTS, seed=0, population=200),
    ],
)
def test_the_first_generation_is_around_the_first_model(start):
    state, shares = start(PathSpace(LAYOUT)), np.zeros((2, 4))
    state, seeds = state.ask(2)
    assert [way(seed.genome) for seed in seeds] == [[(model, i) for i in range(4)] for model in "ab"]
    proposals = state.ask(200)[1]
    for proposal in proposals:
        for model, block in way(proposal.genome):
            shares["ab".index(model), block] += 1 / len(proposals)
    assert len(proposals) == 200
    assert (shares[0] > 0.9).all()  # 0.977, and 0.023 once more in the second repetition
    assert (shares[1] < 0.15).all()  # 0.023 in each of two repetitions


@pytest.mark.parametrize(
    "start",
    [
        lambda space: CmaEs.start(space, WEIGHTS, seed=3, population=20),
        lambda space: MixedCmaEs.start(space, WEIGHTS, seed=3, population=20),
    ],
)
def test_both_searches_find_a_path_that_is_better_than_the_first_model(start):
    space = PathSpace(LAYOUT)
    state = best_of(start(space), 600)
    found = state.members[0]
    assert sorted(way(found.genome)) == sorted(WANTED)
    assert found.scores.mean() == 1.0 > close(space.seeds[0]).mean


def test_scales_are_learned_with_the_switches():
    """The product of all scales is to be 2, whatever the path."""

    def row(path):
        product = np.prod([hop.scale for hop in path.hops])
        return Row(np.full(10, 1.0 / (1.0 + abs(np.log(product / 2.0)))))

    space = PathSpace(LAYOUT, scales=ScaleNetwork(8, LAYOUT.positions, hidden=2))
    state = best_of(MixedCmaEs.start(space, WEIGHTS, seed=0, population=12), 480, row)
    assert state.members[0].scores[0] > 0.99


def test_a_candidate_follows_from_the_seed_its_number_and_what_was_told():
    space = PathSpace(LAYOUT, scales=ScaleMatrix(8))
    one = best_of(MixedCmaEs.start(space, WEIGHTS, seed=5, population=6), 14)  # in the third generation
    again, [alone] = one.ask(1)
    _, several = one.ask(5)
    assert several[0].digest == alone.digest
    assert again.ask(4)[1][0].digest == several[1].digest
    other = best_of(MixedCmaEs.start(space, WEIGHTS, seed=6, population=6), 14)
    assert other.ask(1)[1][0].digest != alone.digest


def test_a_generation_of_one_and_a_missing_library_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="at least 2 candidates"):
        MixedCmaEs.start(PathSpace(LAYOUT), WEIGHTS, seed=0, population=1)
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(ConfigError, match=r"pip install 'merganser\[paths\]'"):
        MixedCmaEs.start(PathSpace(LAYOUT), WEIGHTS, seed=0)
