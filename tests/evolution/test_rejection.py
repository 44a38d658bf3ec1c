"""Early rejection changes the time and nothing else; where it could, it is off."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.evolution import Archive, ArchiveMember, NaturalNiches, Niches, NicheScreening, Proposal
from merganser.evolution._genomes import DenseSpace
from merganser.evolution._rejection import VisitingPlan, advantage, applies, block_ends

BINARY = [Niches(a, e, True) for a in (0.0, 0.5, 1.0, 2.0) for e in (0.0, 0.2)]
CONTINUOUS = [Niches(a, e, False) for a in (0.0, 0.5, 1.0) for e in (0.0, 0.2)]


def child_scores(generator, samples, niches):
    """Children of all sorts: bad, good, like an incumbent, coarse, zero."""
    scores = generator.random(samples) ** generator.choice([0.3, 1, 3])
    if niches.binary:
        return (scores < generator.random()).astype(np.float64)
    return np.round(scores, 1) if generator.random() < 0.5 else scores


def screened(plan, scores):
    """The row as the run would hand it in, or None if the child was rejected; and how many samples that took."""
    screening, seen = NicheScreening(plan), []
    while (ids := screening.next_samples()) is not None:
        screening.record(scores[ids])
        seen.extend(ids.tolist())
    assert len(set(seen)) == len(seen)
    return (scores if len(seen) == len(scores) else None), len(seen)


@pytest.mark.parametrize("niches", BINARY + CONTINUOUS, ids=str)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_the_archive_is_that_of_full_evaluation(niches, weighted):
    rejected = 0
    for seed in range(6):
        generator = np.random.default_rng([seed, weighted])
        samples, capacity = int(generator.integers(20, 90)), int(generator.integers(1, 9))
        weights = generator.uniform(0.1, 3, samples) if weighted else np.ones(samples)
        full = fast = Archive.empty(capacity, weights, niches)
        for index in range(80):
            scores = child_scores(generator, samples, niches)
            if full.members and generator.random() < 0.2:
                scores = full.members[generator.integers(len(full.members))].scores.copy()
            child = ArchiveMember(index, None, scores)
            full = full.insert(child)
            row = screened(VisitingPlan.of(fast), scores)[0] if applies(fast) else scores
            rejected += row is None
            fast = fast if row is None else fast.insert(child)
            assert [m.index for m in fast.members] == [m.index for m in full.members]
        assert (fast.scores == full.scores).all()
    assert rejected > 20  # or nothing was tested


@pytest.mark.parametrize("niches", BINARY + CONTINUOUS, ids=str)
@given(st.integers(0, 10**6))
def test_the_bound_falls_with_every_block_to_the_exact_difference(niches, seed):
    generator = np.random.default_rng(seed)
    archive = Archive.empty(5, generator.uniform(0.1, 2, 40), niches)
    for index in range(5):
        archive = archive.insert(ArchiveMember(index, None, child_scores(generator, 40, niches)))
    scores = child_scores(generator, 40, niches)
    plan = VisitingPlan.of(archive)
    screening = NicheScreening(plan)
    before = screening._bound
    for begin, end in itertools.pairwise(plan.starts):
        screening.record(scores[plan.order[begin:end]])
        assert (screening._bound <= before + 1e-12).all()
        before = screening._bound
    everybody = np.vstack([archive.scores, scores])
    z = np.where(everybody.sum(axis=0) > 0, everybody.sum(axis=0), 1)
    c = archive.weights * (1 if niches.binary else everybody.max(axis=0))
    fitness = everybody @ (c / (z**niches.alpha + niches.epsilon))
    np.testing.assert_allclose(before, fitness[-1] - fitness[:-1], atol=1e-12)


@pytest.mark.parametrize("niches", CONTINUOUS, ids=str)
@given(st.integers(0, 10**6))
def test_a_childs_lead_over_every_incumbent_rises_with_each_of_its_scores(niches, seed):
    generator = np.random.default_rng(seed)
    rows = generator.choice([0, 0.1, 0.5, 1, generator.random()], (generator.integers(1, 6), 30))
    archive = Archive(len(rows), (), rows, niches, generator.random(30) + 0.1)
    low, high = np.sort(generator.random((2, 30)), axis=0)
    assert (advantage(archive, high) >= advantage(archive, low) - 1e-12).all()


@given(st.integers(0, 10**6), st.sampled_from([0.0, 1.0, 1.5, 4.0]))
def test_for_binary_scores_the_lead_rises_at_any_alpha(seed, alpha):
    rows = np.random.default_rng(seed).integers(0, 2, (4, 30)).astype(np.float64)
    archive = Archive(4, (), rows, Niches(alpha), np.ones(30))
    assert (advantage(archive, 1.0) >= advantage(archive, 0.0)).all()


def test_for_continuous_scores_above_alpha_one_the_lead_may_fall():
    # one incumbent without a score here, another with full marks: at alpha = 3 the child's full marks crowd the
    # sample so much that its lead over the first is less than with a quarter
    archive = Archive(2, (), np.array([[0.0], [0.2]]), Niches(3.0, 0.0, False), np.ones(1))
    lead = [advantage(archive, s)[0, 0] for s in (0.2, 1.0)]
    assert lead[0] == pytest.approx(0.2 * 0.2 / 0.4**3)
    assert lead[1] == pytest.approx(1.0 / 1.2**3)
    assert lead[0] > lead[1]


@pytest.mark.parametrize(
    ("niches", "members", "expected"),
    [
        (Niches(1.0, 0, False), 2, True),
        (Niches(1.01, 0, False), 2, False),
        (Niches(7.0, 0, True), 2, True),
        (Niches(1.0, 0, True), 1, False),
    ],
)
def test_it_applies_to_full_archives_where_it_is_exact(niches, members, expected):
    archive = Archive.empty(2, np.ones(3), niches)
    for index in range(members):
        archive = archive.insert(ArchiveMember(index, None, np.ones(3)))
    assert applies(archive) is expected
    state = NaturalNiches.start(DenseSpace(0, 4), np.ones(3), seed=0, population=2, niches=niches)
    state = state._with(archive, members)
    screening = state.screen(Proposal(5, None, "cross"))
    assert (screening is not None) is expected
    assert state.screen(Proposal(5, None, "seed")) is None


@given(st.integers(1, 4000), st.integers(1, 3000))
def test_the_blocks_cover_every_sample_once(expected, samples):
    ends = block_ends(expected, samples)
    assert ends[-1] == samples
    assert all(a < b for a, b in itertools.pairwise((0, *ends)))


@given(st.integers(0, 10**6), st.sampled_from([*BINARY, *CONTINUOUS]), st.integers(1, 300))
def test_a_plan_visits_every_sample_once(seed, niches, samples):
    generator = np.random.default_rng(seed)
    archive = Archive.empty(2, np.ones(samples), niches)
    for index in range(2):
        archive = archive.insert(ArchiveMember(index, None, child_scores(generator, samples, niches)))
    screening, seen = NicheScreening(VisitingPlan.of(archive)), []
    while (ids := screening.next_samples()) is not None:
        screening.record(np.ones(len(ids)))  # full marks are never rejected
        seen.extend(ids.tolist())
    assert sorted(seen) == list(range(samples))


def test_a_tie_with_the_worst_is_never_rejected():
    archive = Archive.empty(3, np.ones(60), Niches())
    rows = np.random.default_rng(0).integers(0, 2, (3, 60)).astype(np.float64)
    for index, row in enumerate(rows):
        archive = archive.insert(ArchiveMember(index, None, row))
    plan = VisitingPlan.of(archive)
    for row in rows:
        assert screened(plan, row)[0] is not None


def test_a_hopeless_child_is_not_scored_in_full():
    generator = np.random.default_rng(1)
    archive = Archive.empty(20, np.ones(1000), Niches())
    for index in range(20):
        archive = archive.insert(ArchiveMember(index, None, (generator.random(1000) < 0.9).astype(float)))
    row, seen = screened(VisitingPlan.of(archive), np.zeros(1000))
    assert row is None
    assert seen < 1000
