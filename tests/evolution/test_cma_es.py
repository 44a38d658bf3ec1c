"""CMA-ES: it improves, it is resumed to the bit, and it heeds nothing outside the run."""

import numpy as np
import pytest

from merganser.evolution import (
    FULL_COVARIANCE_LIMIT,
    CmaEs,
    CombinationSpace,
    DenseSpace,
    DenseVectors,
    LayerWeights,
    Row,
    uses_diagonal,
)
from merganser.merging import combine_flat, slerp_weights

SAMPLES = 10


def sphere(target):
    """Continuous scores that fall with the distance from a target, coordinate by coordinate."""
    return lambda flat: np.clip(1 - np.abs(flat - target)[:SAMPLES], 0, 1)


def search(state, score, children):
    means = []
    for _ in range(children):
        state, proposals = state.ask(1)
        rows = [Row(score(state.vectors.space.flat(p.genome))) for p in proposals]
        means.extend(r.mean for r in rows)
        state = state.tell(proposals, rows)
    return state, means


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_it_finds_the_bottom_of_a_bowl(covariance):
    vectors = DenseVectors(DenseSpace(0, SAMPLES, sigma=0), step=0.3)
    state = CmaEs.start(vectors, np.ones(SAMPLES), seed=0, population=10, covariance=covariance)
    state, means = search(state, sphere(np.linspace(-1, 1, SAMPLES)), 600)
    assert max(means[:2]) < 0.6
    assert max(means) > 0.97
    assert np.mean(means[-20:]) > 0.95
    assert state.best.qualities[0] == pytest.approx(max(means))


@pytest.mark.parametrize("count", [2, 3])
def test_it_finds_the_best_weight_of_every_layer(count):
    seeds = np.random.default_rng(count).standard_normal((count, SAMPLES))
    space = CombinationSpace([str(k) for k in range(count)], seeds)
    vectors = LayerWeights(space, (0, 3, 7, SAMPLES))
    wanted = vectors.decode(np.linspace(0.1, 0.9, 3 if count == 2 else 9))
    state = CmaEs.start(vectors, np.ones(SAMPLES), seed=0, population=12)
    _, means = search(state, sphere(combine_flat(wanted, seeds)), 700)
    assert max(means) > max(means[:count]) + 0.05
    assert max(means) > 0.97


def test_two_seeds_decode_to_slerp_of_each_layer():
    seeds = np.random.default_rng(0).standard_normal((2, 9))
    vectors = LayerWeights(CombinationSpace("ab", seeds), (0, 4, 9))
    genome = vectors.decode(np.array([0.2, 0.7]))
    for t, (begin, end), row in zip((0.2, 0.7), ((0, 4), (4, 9)), genome.coefficients, strict=True):
        x, y = seeds[:, begin:end]
        angle = np.arccos(x @ y / np.sqrt((x @ x) * (y @ y)))
        np.testing.assert_allclose(row, slerp_weights(t, angle), rtol=1e-9)
    assert vectors.start.tolist() == [0.5, 0.5]
    assert vectors.decode(np.zeros(2)) == vectors.space.seeds[0]
    assert vectors.decode(np.ones(2)) == vectors.space.seeds[1]


def test_more_seeds_decode_to_sums_that_are_not_normalised():
    seeds = np.random.default_rng(0).standard_normal((3, 9))
    vectors = LayerWeights(CombinationSpace("abc", seeds), (0, 4, 9))
    weights = np.array([0.1, 0.2, 0.3, 0.9, 0.8, 0.7])
    assert vectors.decode(weights).coefficients.tolist() == weights.reshape(2, 3).tolist()
    np.testing.assert_allclose(combine_flat(vectors.decode(vectors.start), seeds), seeds.mean(axis=0))


def test_every_weight_stays_within_its_bounds():
    seeds = np.random.default_rng(0).standard_normal((3, SAMPLES))
    state = CmaEs.start(LayerWeights(CombinationSpace("abc", seeds), (0, 4, 10)), np.ones(SAMPLES), seed=0)
    for _ in range(200):
        state, proposals = state.ask(1)
        assert all(((p.genome.coefficients >= 0) & (p.genome.coefficients <= 1)).all() for p in proposals)
        state = state.tell(
            proposals, [Row(sphere(5 * seeds[0])(state.vectors.space.flat(p.genome))) for p in proposals]
        )


def test_dense_vectors_decode_to_the_model_itself():
    space = DenseSpace(0, 4)
    vectors = DenseVectors(space)
    assert (vectors.start == space.seeds[0].vector).all()
    assert vectors.start.dtype == np.float64
    assert space.flat(vectors.decode(np.arange(4.0))).tolist() == [0, 1, 2, 3]


def test_asking_and_telling_in_batches_is_asking_and_telling_one_by_one():
    def run(n):
        state = CmaEs.start(DenseVectors(DenseSpace(0, 6)), np.ones(SAMPLES), seed=3, population=7)
        digests = []
        while len(digests) < 60:
            state, proposals = state.ask(n)
            digests.extend(p.digest for p in proposals)
            state = state.tell(
                proposals, [Row(np.resize(sphere(1)(p.genome.vector), SAMPLES)) for p in proposals]
            )
        return digests[:60]

    assert run(1) == run(3) == run(100)


def test_a_generation_that_was_handed_out_waits_for_its_scores():
    state = CmaEs.start(DenseVectors(DenseSpace(0, 6)), np.ones(SAMPLES), seed=3, population=7)
    state, seeds = state.ask(100)
    state, generation = state.ask(100)
    assert [p.kind for p in (*seeds, *generation)] == ["seed"] * 2 + ["sample"] * 7
    state, more = state.ask(1)
    assert more == []
    assert not state.exhausted


def test_a_file_in_the_working_directory_does_not_steer_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cma_signals.in").write_text("{'timeout': 0, 'maxfevals': 1}")
    state = CmaEs.start(DenseVectors(DenseSpace(0, 6)), np.ones(SAMPLES), seed=3, population=5)
    state, _ = search(state, lambda flat: np.resize(sphere(1)(flat), SAMPLES), 2 + 4 * 5)
    assert not state.exhausted


def test_equal_scores_for_ever_exhaust_it():
    state = CmaEs.start(DenseVectors(DenseSpace(0, 6)), np.ones(SAMPLES), seed=3, population=5)
    children = 0
    while not state.exhausted:
        state, _ = search(state, lambda flat: np.zeros(SAMPLES), 1)
        children += 1
        assert children < 300
    assert children > 2
    assert (children - 2) % 5 == 0


def restarted(restarts, seed=3):
    """The search to its end, on scores that it can learn nothing from: its state and its generations' sizes."""
    seeds = np.random.default_rng(0).standard_normal((2, 9))
    vectors = LayerWeights(CombinationSpace("ab", seeds), (0, 4, 9))
    state = CmaEs.start(vectors, np.ones(SAMPLES), seed=seed, population=4, restarts=restarts)
    sizes, first = [], []
    while not state.exhausted:
        before = state.restarted
        state, proposals = state.ask(1_000)
        if proposals[0].kind != "seed":
            sizes.append((before, len(proposals)))
            if len(sizes) == 1 or sizes[-2][0] < before:
                first.append(np.stack([p.genome.coefficients for p in proposals]))
        state = state.tell(proposals, [Row(np.zeros(SAMPLES)) for _ in proposals])
    return state, sizes, first


def test_where_it_has_converged_it_begins_again_with_twice_the_population_elsewhere():
    once, _, _ = restarted(0)
    state, sizes, first = restarted(2)
    assert set(sizes) == {(0, 4), (1, 8), (2, 16)}
    assert state.restarted == 2
    assert state.generations == len(sizes) == state.plateaus
    assert once.generations == sizes.count((0, 4))
    means = [sample.mean(axis=0) for sample in first]
    assert np.abs(means[0] - means[1]).max() > 0.1
    again, _, same = restarted(2)
    assert again.generations == state.generations
    for one, other in zip(first, same, strict=True):
        assert (one == other).all()
    _, _, others = restarted(1, seed=4)
    assert np.abs(others[1].mean(axis=0) - means[1]).max() > 0.1


def test_without_bounds_it_begins_again_where_it_began():
    state = CmaEs.start(DenseVectors(DenseSpace(0, 6)), np.ones(SAMPLES), seed=3, population=5, restarts=1)
    while not state.restarted:
        state, _ = search(state, lambda flat: np.zeros(SAMPLES), 1)
    _, proposals = state.ask(100)
    assert len(proposals) == 10
    start = state.vectors.start
    assert all(np.abs(p.genome.vector - start).max() < 6 * state.vectors.step for p in proposals)


def test_weights_decide_what_is_best():
    weights = np.r_[np.ones(9), 91.0]
    state = CmaEs.start(DenseVectors(DenseSpace(0, 6)), weights, seed=3, population=5)
    state, proposals = state.ask(2)
    rows = [Row(np.r_[np.ones(9), 0.0]), Row(np.r_[np.zeros(9), 1.0])]
    state = state.tell(proposals, rows)
    assert [m.index for m in state.members] == [1, 0]
    assert state.best.qualities == pytest.approx((0.91, 0.09))


def test_one_weight_is_for_brute_force():
    with pytest.raises(ValueError, match="brute-force"):
        CmaEs.start(LayerWeights(CombinationSpace("ab", np.eye(2)), (0, 2)), np.ones(3), seed=0)


def test_a_generation_of_one_is_refused():
    with pytest.raises(ValueError, match="at least 2 candidates"):
        CmaEs.start(DenseVectors(DenseSpace(0, 6)), np.ones(3), seed=0, population=1)


def test_the_covariance_is_full_up_to_the_limit():
    assert not uses_diagonal(FULL_COVARIANCE_LIMIT, "auto")
    assert uses_diagonal(FULL_COVARIANCE_LIMIT + 1, "auto")
    assert uses_diagonal(2, "diagonal")
    assert not uses_diagonal(10**6, "full")
