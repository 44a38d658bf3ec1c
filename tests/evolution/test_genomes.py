"""Genomes are values: a digest that names the model, and a vector that is built when asked for."""

import gc
import math
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.evolution import (
    CombinationSpace,
    Cross,
    DenseSpace,
    Genome,
    _genomes,
    angle_between,
    dense_genome,
    drawn_cross,
    random_start,
)
from merganser.merging import Chromosomes, combine_flat

SIZE = 30
weights, splits = st.floats(0, 1, exclude_max=True), st.integers(0, SIZE)


def starts(seed, count=2):
    return list(np.random.default_rng(seed).standard_normal((count, SIZE)).astype(np.float32))


def factors(t, x, y):
    lengths = math.sqrt(float(x @ x) * float(y @ y))
    angle = math.acos(min(1.0, max(-1.0, float(x @ y) / lengths))) if lengths else 0.0
    if math.sin(angle) <= 1e-6:
        return 1 - t, t
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def child_of(a, b, w, split, rule, angles):
    """Equation 2 on float64 vectors."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    if rule == "linear":
        left, right = (1 - w, w), (w, 1 - w)
    elif angles == "whole":
        left, right = factors(w, a, b), factors(1 - w, a, b)
    else:
        left, right = factors(w, a[:split], b[:split]), factors(1 - w, a[split:], b[split:])
    return np.concatenate(
        [left[0] * a[:split] + left[1] * b[:split], right[0] * a[split:] + right[1] * b[split:]]
    )


@pytest.mark.parametrize(("rule", "angles"), [("linear", "whole"), ("slerp", "whole"), ("slerp", "sides")])
@given(st.integers(0, 1000), weights, splits)
def test_both_spaces_make_the_child_of_equation_2(rule, angles, seed, w, split):
    vectors = starts(seed)
    expected = child_of(*vectors, w, split, rule, angles)
    dense = DenseSpace(0, SIZE, starts=vectors, sigma=0, rule=rule, angles=angles)
    exact = CombinationSpace(("a", "b"), np.stack(vectors), rule=rule, angles=angles)
    for space in (dense, exact):
        child = space.child(*space.seeds, Cross(w, split))
        assert isinstance(child, Genome)
        # nearly opposite sides have large weights on both parents, whose rounding shows
        scale = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(space.flat(child), expected, atol=2e-6 * scale)
        assert space.flat(child).dtype == np.float32


@given(weights, splits, st.floats(0, 1, exclude_max=True))
def test_mutation_adds_the_noise_of_the_child_and_of_nobody_else(w, split, u):
    vectors = starts(0)
    plain = DenseSpace(5, SIZE, starts=vectors, sigma=0)
    space = DenseSpace(5, SIZE, starts=vectors, sigma=0.01)
    one = space.flat(space.child(*space.seeds, Cross(w, split, (u, 0.5))))
    two = space.flat(space.child(*space.seeds, Cross(w, split, (0.1, 0.9))))
    bare = plain.flat(plain.child(*plain.seeds, Cross(w, split)))
    assert 0 < np.abs(one - bare).max() < 0.1
    assert (one - two).any() or u in (0.1, 0.9)
    copy = space.flat(space.child(space.seeds[0], None, Cross(0.0, 0, (u, 0.5))))
    np.testing.assert_allclose(copy - vectors[0], one - bare, atol=1e-6)


def test_parents_are_never_changed():
    vectors = starts(1)
    space = DenseSpace(0, SIZE, starts=vectors)
    before = [v.copy() for v in vectors]
    child = space.child(*space.seeds, Cross(0.3, 7, (0.2, 0.4)))
    copy = space.child(child, None, Cross(0.0, 0, (0.2, 0.4)))
    assert not np.array_equal(space.flat(copy), space.flat(child))
    vectors[0][:] = 9
    assert all((space.flat(g) == b).all() for g, b in zip(space.seeds, before, strict=True))
    with pytest.raises(ValueError, match="read-only"):
        space.flat(child)[0] = 1


def test_a_digest_names_the_ancestry_and_every_number_in_it():
    def digest(
        seed=0, sigma=0.01, rule="slerp", angles="whole", w=0.3, split=7, noise=(0.1, 0.2), swap=False
    ):
        space = DenseSpace(seed, SIZE, starts=starts(1), sigma=sigma, rule=rule, angles=angles)
        first, second = space.seeds[::-1] if swap else space.seeds
        return space.child(first, second, Cross(w, split, noise)).digest

    variants = [
        digest(), digest(seed=1), digest(sigma=0.02), digest(rule="linear"), digest(angles="sides"),
        digest(w=0.31), digest(split=8), digest(noise=(0.1, 0.3)), digest(swap=True),
    ]  # fmt: skip
    assert len(set(variants)) == len(variants)
    assert digest() == variants[0]
    assert all(len(bytes.fromhex(d)) == 16 for d in variants)


def test_the_digest_is_known_before_the_vector_is_built():
    space = DenseSpace(0, SIZE)
    child = space.child(*space.seeds, Cross(0.3, 7, (0.1, 0.2)))
    assert child.digest
    assert child._vector is None
    assert space.flat(child) is space.flat(child)


def test_a_genome_that_is_kept_lets_go_of_its_parents():
    space = DenseSpace(0, SIZE)
    parent = space.child(*space.seeds, Cross(0.3, 7, (0.1, 0.2)))
    child = space.child(parent, space.seeds[0], Cross(0.6, 3, (0.3, 0.4)))
    space.keep(child)
    vector = space.flat(parent)
    remembered = weakref.ref(vector)
    del parent, vector
    gc.collect()
    assert remembered() is None


def test_a_deep_ancestry_of_kept_genomes_does_not_recurse():
    space = DenseSpace(0, SIZE)
    genome = space.seeds[0]
    for k in range(3000):
        genome = space.child(genome, space.seeds[1], Cross(0.1, 3, (k / 3000, 0.5)))
        space.keep(genome)
    assert np.isfinite(space.flat(genome)).all()


def test_remembered_angles_are_forgotten_and_never_wrong(monkeypatch):
    monkeypatch.setattr(_genomes, "_REMEMBERED_ANGLES", 3)
    vectors = starts(4, count=6)
    space = DenseSpace(0, SIZE, starts=vectors, sigma=0)
    for _ in range(2):
        for i in range(6):
            for j in range(6):
                child = space.child(space.seeds[i], space.seeds[j], Cross(0.3, 11))
                expected = child_of(vectors[i], vectors[j], 0.3, 11, "slerp", "whole")
                np.testing.assert_allclose(space.flat(child), expected, atol=1e-6)
    assert len(space._remembered) <= 3


def test_starting_points_are_small_normal_vectors_keyed_by_seed_and_index():
    x = random_start(0, 0, 50_000)
    assert x.dtype == np.float32
    assert x.std() == pytest.approx(0.01, rel=0.02)
    assert (x == random_start(0, 0, 50_000)).all()
    assert abs(np.corrcoef(x, random_start(0, 1, 50_000))[0, 1]) < 0.02
    assert abs(np.corrcoef(x, random_start(1, 0, 50_000))[0, 1]) < 0.02
    space = DenseSpace(0, 50_000, count=3)
    assert len(space.seeds) == 3
    assert (space.flat(space.seeds[0]) == x).all()


def test_equal_vectors_are_one_genome_and_broken_ones_none():
    assert dense_genome(np.ones(3)).digest == dense_genome(np.ones(3, np.float32)).digest
    assert dense_genome(np.ones(3)).digest != dense_genome(np.zeros(3)).digest
    with pytest.raises(ValueError, match="position 1 holds nan"):
        dense_genome(np.array([1.0, np.nan, np.inf]))


def test_a_seed_with_a_value_that_is_not_finite_is_named():
    values = np.zeros((2, 5), np.float32)
    values[1, 3] = np.inf
    with pytest.raises(ValueError, match=r"Seed 1 \(b\) holds inf at position 3"):
        CombinationSpace(("a", "b"), values)


@pytest.mark.parametrize(("digests", "count"), [((), 0), (("a",), 2)])
def test_seeds_and_digests_must_agree(digests, count):
    with pytest.raises(ValueError, match="one digest per seed"):
        CombinationSpace(digests, np.zeros((count, 5)))


def test_a_combination_without_a_second_parent_is_the_first_again():
    space = CombinationSpace(("a", "b"), np.stack(starts(0)))
    assert space.child(space.seeds[1], None, Cross(0.5, 3)) is space.seeds[1]
    assert space.keep(space.seeds[0]) is None
    assert (space.flat(space.seeds[1]) == combine_flat(space.seeds[1], np.stack(starts(0)))).all()


def test_angles_of_zero_and_of_nothing_are_none():
    zero, one = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert angle_between(zero, one) is None
    assert angle_between(one[:0], one[:0]) is None
    assert angle_between(one, one) == pytest.approx(0, abs=1e-7)
    assert angle_between(one, -one) == pytest.approx(math.pi)
    assert angle_between(np.array([1.0, 0]), np.array([0.0, 2])) == pytest.approx(math.pi / 2)


APART = Chromosomes.of([(0, 10), (1, 12), (0, 8)])


def apart(**options):
    return CombinationSpace(("a", "b"), np.stack(starts(0)), chromosomes=APART, **options)


def test_every_chromosome_of_every_child_has_a_split_of_its_own():
    space = apart()
    assert space.chromosomes == (18, 12)
    u = [0.0, 0.0, 0.5, 0.25, 0.75, 0.0, 0.0, 0.0]
    cross = drawn_cross(space, u)
    assert cross == Cross(0.25, 9 + 9, None, (9, 9))
    child = space.child(*space.seeds, cross)
    assert child.breaks.tolist() == [0, 9, 10, 19, SIZE]
    assert space.child(*space.seeds, Cross(0.25)).segments == 1
    assert drawn_cross(space, u, split_point=False) == Cross(0.25)


def test_one_chromosome_draws_as_if_there_were_none():
    u = [0.1, 0.2, 0.5, 0.25, 0.75, 0.6, 0.0, 0.0]
    assert drawn_cross(CombinationSpace(("a", "b"), np.stack(starts(0))), u) == Cross(0.25, 15)
    assert drawn_cross(DenseSpace(0, SIZE), u) == Cross(0.25, 15, (0.75, 0.6))


def test_chromosomes_that_cannot_be_are_told():
    with pytest.raises(ValueError, match="no angle on each side of one split"):
        apart(angles="sides")
    with pytest.raises(ValueError, match="at most 5 chromosomes, but there are 6"):
        CombinationSpace("ab", np.ones((2, 6)), chromosomes=Chromosomes.of((i, 1) for i in range(6)))
