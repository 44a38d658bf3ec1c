"""M2N2, whole: against a run written naively from the paper's seven steps, given the same uniform numbers."""

import math

import numpy as np
import pytest

from merganser.evolution import CombinationSpace, DenseSpace, NaturalNiches, Niches, Proposal, Row, Variation
from merganser.evolution._random import KeyedUniforms

SIZE, SAMPLES, POPULATION, SEED = 30, 25, 4, 11
X = np.random.default_rng(0).standard_normal((SAMPLES, SIZE))
PARENTS = np.random.default_rng(1).standard_normal((3, SIZE))


def solves(theta):
    """Right or wrong on every sample; a float64 margin keeps rounding out of it."""
    return [1.0 if float(x @ theta) > 0.3 else 0.0 for x in X]


def factors(t, x, y):
    cosine = float(x @ y) / math.sqrt(float(x @ x) * float(y @ y))
    angle = math.acos(min(1.0, max(-1.0, cosine)))
    if math.sin(angle) <= 1e-6:
        return 1 - t, t
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def roulette(shares, u):
    total, reach = sum(shares), 0.0
    for i, share in enumerate(shares):
        reach += share / total
        if u < reach:
            return i
    raise AssertionError


def naive_run(children, *, alpha, attraction, split_point):
    """Steps 1 to 7 on lists and loops; yields what happened to each child, and the archive after it."""
    uniforms = KeyedUniforms(SEED, "niches")
    thetas, scores, indices = [], [], []

    def price(rows):
        z = [sum(row[j] for row in rows) for j in range(SAMPLES)]
        return [1 / (z[j] ** alpha if z[j] else 1) for j in range(SAMPLES)]

    for k in range(children):
        if k < len(PARENTS):
            theta, event = PARENTS[k], None
        else:
            u = uniforms(k)
            p = price(scores)
            fitness = [sum(row[j] * p[j] for j in range(SAMPLES)) for row in scores]
            a = roulette(fitness, u[0])  # 1
            shares = fitness
            if attraction:  # 2
                shares = [sum(max(row[j] - scores[a][j], 0) * p[j] for j in range(SAMPLES)) for row in scores]
                if sum(shares) == 0:
                    shares = [0 if i == a else fitness[i] for i in range(len(scores))]
            b = roulette(shares, u[1])
            ws, wm = int(u[2] * SIZE) if split_point else 0, u[3]  # 3
            left, right = factors(wm, thetas[a], thetas[b]), factors(1 - wm, thetas[a], thetas[b])
            theta = np.array(
                [
                    (left if x < ws else right)[0] * thetas[a][x]
                    + (left if x < ws else right)[1] * thetas[b][x]
                    for x in range(SIZE)
                ]
            )  # 4, and no 5
            event = (indices[a], indices[b])
        row = solves(theta)  # 6
        thetas, scores, indices = [*thetas, theta], [*scores, row], [*indices, k]
        if len(thetas) > POPULATION:  # 7
            p = price(scores)
            fitness = [sum(row[j] * p[j] for j in range(SAMPLES)) for row in scores]
            worst = next(i for i, f in enumerate(fitness) if f <= min(fitness) + 1e-10)
            for kept in (thetas, scores, indices):
                newest = kept.pop()
                if worst < POPULATION:
                    kept[worst] = newest
        yield event, list(indices), list(thetas)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("attraction", "split_point"), [(True, True), (False, True), (True, False)])
@pytest.mark.parametrize("early", [True, False], ids=["early rejection", "full"])
def test_a_whole_run_is_that_of_the_paper(alpha, attraction, split_point, early):
    space = CombinationSpace("abc", PARENTS)
    variation = Variation(attraction=attraction, split_point=split_point, early_rejection=early)
    state = NaturalNiches.start(
        space, np.ones(SAMPLES), seed=SEED, population=POPULATION, niches=Niches(alpha), variation=variation
    )
    joined = 0
    for k, (event, indices, thetas) in enumerate(
        naive_run(150, alpha=alpha, attraction=attraction, split_point=split_point)
    ):
        asked, (proposal,) = state.ask()
        assert proposal.index == k
        assert proposal.parents == (event or ())
        row = np.array(solves(space.flat(proposal.genome)))
        screening = state.screen(proposal)
        while screening is not None and (ids := screening.next_samples()) is not None:
            screening.record(row[ids])
        rejected = screening is not None and screening.rejected
        told = Row(row, np.zeros(SAMPLES, bool) if rejected else None)
        state = asked.tell([proposal], [told])
        assert [m.index for m in state.members] == indices
        joined += k in indices
        for m, theta in zip(state.members, thetas, strict=True):
            np.testing.assert_allclose(space.flat(m.genome), theta, atol=1e-9)
    assert joined > 10


def start(space=None, population=4, **variation):
    return NaturalNiches.start(
        space or CombinationSpace("abc", PARENTS),
        np.ones(SAMPLES),
        seed=SEED,
        population=population,
        variation=Variation(**variation),
    )


def fill(state, children):
    proposals = []
    for _ in range(children):
        asked, (p,) = state.ask()
        state = asked.tell([p], [Row(np.array(solves(state.space.flat(p.genome))))])
        proposals.append(p)
    return state, proposals


def test_warm_up_merges_seeds_with_other_seeds():
    _, proposals = fill(start(warmup=40), 60)
    warm = proposals[3:43]
    assert {p.kind for p in warm} == {"warm-up"}
    assert all(set(p.parents) <= {0, 1, 2} and len(set(p.parents)) == 2 for p in warm)
    assert {p.parents for p in warm} == {(a, b) for a in range(3) for b in range(3) if a != b}
    assert {p.kind for p in proposals[43:]} == {"cross"}


def test_without_a_split_point_the_whole_model_has_one_weight():
    _, proposals = fill(start(split_point=False), 40)
    assert all(p.cross.split == 0 for p in proposals[3:])
    assert all(p.genome.segments == 1 for p in proposals)


def test_without_crossover_a_child_is_a_mutated_copy_of_one_parent():
    space = DenseSpace(SEED, SIZE)
    state, proposals = fill(start(space, crossover=False), 40)
    vectors = {p.index: space.flat(p.genome) for p in proposals}
    for p in proposals[2:]:
        assert p.kind == "copy"
        (parent,) = p.parents
        difference = vectors[p.index] - vectors[parent]
        assert 0.003 < difference.std() < 0.03
    assert state.members


def test_copies_without_mutation_are_refused():
    with pytest.raises(ValueError, match="copy of its parent"):
        start(crossover=False)
    with pytest.raises(ValueError, match="copy of its parent"):
        start(DenseSpace(0, 4, sigma=0.0), crossover=False)


def test_a_rejected_child_leaves_no_trace_but_its_number():
    state, _ = fill(start(), 20)
    asked, (proposal,) = state.ask()
    told = asked.tell([proposal], [Row(np.ones(SAMPLES), np.ones(SAMPLES, bool))])
    assert told is asked
    assert told.archive is state.archive
    assert told.ask()[1][0].index == proposal.index + 1


def test_children_of_one_archive_share_one_plan_and_another_archive_has_its_own():
    state, _ = fill(start(), 20)
    child = Proposal(99, None, "cross")
    plan = state.screen(child)._plan
    asked, proposals = state.ask()
    assert asked.screen(child)._plan is plan
    assert asked.tell(proposals, [Row(np.zeros(SAMPLES))]).screen(child)._plan is plan
    best = asked.tell(proposals, [Row(np.ones(SAMPLES))])
    assert best.screen(child)._plan is not plan
    assert start(early_rejection=False).screen(child) is None


def test_competition_keeps_coverage_where_the_genetic_algorithm_loses_it():
    generator = np.random.default_rng(3)
    inputs = generator.standard_normal((120, SIZE))

    def coverage(niches, attraction):
        lost = []
        for seed in range(3):
            state = NaturalNiches.start(
                DenseSpace(seed, SIZE, count=4),
                np.ones(120),
                seed=seed,
                population=10,
                niches=niches,
                variation=Variation(attraction=attraction),
            )
            for _ in range(250):
                asked, (p,) = state.ask()
                row = (inputs @ state.space.flat(p.genome) > 0.12).astype(float)
                state = asked.tell([p], [Row(row)])
            lost.append((state.archive.scores.max(axis=0) > 0).mean())
        return np.mean(lost)

    assert coverage(Niches(1.0), True) > coverage(Niches(0.0), False) + 0.1
