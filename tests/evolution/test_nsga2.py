"""NSGA-II: who stays, who become parents, and that it finds fronts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.evolution import (
    CombinationSpace,
    DenseSpace,
    Genes,
    Nsga2,
    Objectives,
    Proposal,
    RecipeGenome,
    RecipeSpace,
    Row,
    dense_genome,
    front,
    hypervolume,
    keyed_generator,
)
from merganser.evolution._gene_variation import crossed, mutated, varied

HALF = 10
SAMPLES = 2 * HALF
TWO = Objectives.of_sizes(["left", "right"], [HALF, HALF])


def start(population=4, seed=0):
    return Nsga2.start(DenseSpace(0, 6), TWO, seed=seed, population=population)


def scores(left, right):
    """So many right answers of ten for each objective."""
    row = np.zeros(SAMPLES)
    row[:left] = row[HALF : HALF + right] = 1.0
    return row


def told(state, *points, first=100):
    for k, point in enumerate(points, start=first):
        genome = dense_genome(np.full(6, k))
        state = state.tell([Proposal(k, genome, "cross")], [Row(scores(*point))])
    return state


def held(state):
    return [tuple(round(HALF * x) for x in point) for point in state.points]


def test_a_member_that_is_dominated_leaves_first():
    state = told(start(3), (5, 5), (9, 1), (4, 4))
    assert held(state) == [(5, 5), (9, 1), (4, 4)]
    assert held(told(state, (1, 8), first=200)) == [(5, 5), (9, 1), (1, 8)]


def test_a_child_that_would_be_the_last_changes_nothing():
    state = told(start(3), (5, 5), (9, 1), (1, 8))
    same = told(state, (4, 4), first=200)
    assert same.members is state.members


def test_of_a_full_front_the_most_crowded_leaves_and_the_ends_stay():
    state = told(start(4), (9, 0), (6, 3), (5, 4), (0, 9))
    assert held(told(state, (2, 7), first=200)) == [(9, 0), (6, 3), (0, 9), (2, 7)]
    assert held(told(state, (10, 0), first=200)) == [(6, 3), (5, 4), (0, 9), (10, 0)]


def test_a_copy_of_a_point_leaves_before_anybody_else():
    state = told(start(4), (9, 0), (9, 0), (0, 9), (1, 0))
    assert held(told(state, (0, 1), first=200)) == [(9, 0), (0, 9), (1, 0), (0, 1)]
    everywhere = told(start(3), (5, 5), (5, 5), (5, 5))
    assert told(everywhere, (5, 5), first=200).members is everywhere.members


def test_a_child_that_is_a_member_already_does_not_enter():
    state = told(start(5), (5, 5))
    twin = state.tell([Proposal(7, state.members[0].genome, "cross")], [Row(scores(9, 9))])
    assert twin is state


def test_members_stay_in_the_order_of_their_age():
    state = start(5)
    generator = np.random.default_rng(0)
    for k in range(40):
        state = told(state, generator.integers(0, 11, 2).tolist(), first=100 + k)
    ages = [m.index for m in state.members]
    assert ages == sorted(ages)
    np.testing.assert_array_equal(state.points, [TWO.points(m.scores) for m in state.members])


@given(st.integers(0, 99))
def test_the_front_of_everybody_met_is_in_the_population_while_it_fits(seed):
    generator = np.random.default_rng(seed)
    met = generator.integers(0, HALF + 1, (25, 2))
    state = start(HALF + 1)
    for k, point in enumerate(met.tolist()):
        state = told(state, point, first=100 + k)
    assert {tuple(p) for p in met[front(met / HALF)].tolist()} <= set(held(state))


def test_parents_are_two_different_members_and_the_better_ones_more_often():
    state = told(start(4), (9, 9), (5, 5), (3, 3), (1, 1))
    pairs = [[m.index - 100 for m in state._parents(k)] for k in range(4_000)]
    assert all(a != b for a, b in pairs)
    shares = np.bincount([a for a, _ in pairs], minlength=4) / len(pairs)
    np.testing.assert_allclose(shares, [1 / 2, 1 / 3, 1 / 6, 0], atol=0.03)


def test_a_lone_member_mates_with_itself():
    state = told(start(4), (9, 9))
    _, [child] = state.ask(3)[0].ask(1)
    assert child.parents == (100, 100)


def test_a_population_of_one_is_refused():
    with pytest.raises(ValueError, match="at least 2, but `population` is 1"):
        start(1)


GENES = Genes("ties", {"weight": (0.0, 1.0), "density": (0.1, 1.0)})


def by_rule(population=12, seed=0):
    space = RecipeSpace(GENES, ["a", "b"], 12, base="base")
    return Nsga2.start(space, TWO, seed=seed, population=population)


def trade_off(genome):
    """Two weights that pull against each other; other genes have one value that suits both."""
    if not isinstance(genome, RecipeGenome) or not genome.genes:
        return np.full(SAMPLES, 0.1)
    x = np.array(genome.genes)
    rest = 1 - np.abs(x[1:] - 0.3).mean()
    return np.repeat([x[0] * rest, (1 - x[0] ** 2) * rest], HALF)


def evolved(state, children):
    for _ in range(children):
        state, proposals = state.ask(1)
        state = state.tell(proposals, [Row(trade_off(p.genome)) for p in proposals])
    return state


def test_genes_begin_in_the_middle_then_at_random_and_models_are_no_parents():
    state = by_rule(population=6)
    kinds = []
    for _ in range(60):
        state, [proposal] = state.ask(1)
        state = state.tell([proposal], [Row(trade_off(proposal.genome))])
        kinds.append(proposal.kind)
        if proposal.index == 3:
            assert set(proposal.genome.genes) == {0.5}
        assert all(parent >= 3 for parent in proposal.parents)
    assert kinds[:9] == ["seed"] * 3 + ["sample"] * 6
    assert set(kinds[9:]) == {"cross"}


def test_it_finds_a_front_of_genes_that_random_vectors_do_not():
    state = evolved(by_rule(), 400)
    generator = np.random.default_rng(0)
    drawn = [TWO.points(trade_off(state.space.decode(generator.random(4)))) for _ in range(400)]
    assert front(state.points).sum() >= 10
    best = np.linspace(0, 1, 200)
    volume = hypervolume(np.stack([best, 1 - best**2], axis=1))
    assert hypervolume(state.points) > 0.9 * volume
    assert hypervolume(state.points) > hypervolume(np.stack(drawn)) + 0.03


def test_where_models_fill_the_population_genes_are_drawn_anew():
    space = RecipeSpace(GENES, ["a", "b"], 12, base="base")
    state = Nsga2.start(space, TWO, seed=0, population=2)
    for _ in range(9):
        state, [proposal] = state.ask(1)
        row = {0: scores(10, 9), 1: scores(9, 10)}.get(proposal.index, np.zeros(SAMPLES))
        state = state.tell([proposal], [Row(row)])
    assert proposal.kind == "sample"


@given(st.integers(0, 999), st.integers(1, 30))
def test_varied_genes_stay_within_their_bounds(seed, genes):
    generator = np.random.default_rng(seed)
    first, second = generator.choice([0.0, 1.0, 0.5, generator.random()], (2, genes))
    child = varied(first, second, keyed_generator(seed, "child"))
    assert ((child >= 0) & (child <= 1)).all()
    again = varied(first, second, keyed_generator(seed, "child"))
    assert (child == again).all()


def test_crossover_and_mutation_follow_the_papers_distributions():
    """Far from the bounds: the spread of children, and the mean size of a step, which is 1 / (eta + 2)."""
    generator, count = np.random.default_rng(0), 60_000
    first, second = np.full(count, 0.49), np.full(count, 0.51)
    child = crossed(first, second, generator)
    touched = child != first
    assert touched.mean() == pytest.approx(0.5, abs=0.01)
    spread = np.abs(child[touched] - 0.5) / 0.01
    assert (spread <= 1).mean() == pytest.approx(0.5, abs=0.01)
    assert (spread[spread <= 1]).mean() == pytest.approx(21 / 22, abs=0.005)
    assert (child[touched] < 0.5).mean() == pytest.approx(0.5, abs=0.01)
    steps = np.concatenate([mutated(np.full(100, 0.5), generator) for _ in range(4_000)]) - 0.5
    assert (steps != 0).mean() == pytest.approx(0.01, abs=0.001)
    assert np.abs(steps[steps != 0]).mean() == pytest.approx(1 / 22, rel=0.05)
    assert np.abs(steps[steps != 0].mean()) < 0.005


def test_equal_genes_are_not_changed_by_crossover():
    generator = np.random.default_rng(0)
    assert (crossed(np.full(50, 0.3), np.full(50, 0.3), generator) == 0.3).all()


def test_models_are_crossed_as_in_the_niches():
    state, seeds = Nsga2.start(CombinationSpace("ab", np.eye(2)), TWO, seed=0).ask(2)
    state = state.tell(seeds, [Row(scores(9, 0)), Row(scores(0, 9))])
    _, children = state.ask(30)
    assert {p.parents for p in children} == {(0, 1)}  # equals: the elder wins every tournament
    assert {p.kind for p in children} == {"cross"}
    assert {p.cross.split for p in children} == {0, 1}
