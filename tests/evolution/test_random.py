"""Random numbers belong to what they are for: neither order nor neighbours nor chunks change them."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.evolution import _random
from merganser.evolution._random import KeyedUniforms, NormalTable, keyed_generator, two_of

SIZE = 50_000


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_a_childs_numbers_do_not_depend_on_which_others_were_drawn(children, random):
    expected = {k: KeyedUniforms(7, "x")(k).tolist() for k in children}
    shuffled, uniforms = random.sample(children, len(children)), KeyedUniforms(7, "x")
    assert {k: uniforms(k).tolist() for k in shuffled} == expected


@pytest.mark.parametrize("chunk", [1, 3, 64, 5000])
def test_the_chunk_is_a_cache_and_nothing_else(monkeypatch, chunk):
    before = [KeyedUniforms(7, "x")(k).tolist() for k in (0, 1, 1023, 1024, 4095)]
    monkeypatch.setattr(_random, "_CHUNK", chunk)
    assert [KeyedUniforms(7, "x")(k).tolist() for k in (0, 1, 1023, 1024, 4095)] == before


def test_children_seeds_and_streams_have_numbers_of_their_own():
    families = [KeyedUniforms(seed, stream) for seed in (0, 1) for stream in ("a", "b")]
    draws = [uniforms(k) for uniforms in families for k in range(2000)]
    assert len({float(x) for row in draws for x in row}) == 8000 * _random.DRAWS_PER_CHILD


def test_the_numbers_are_uniform_and_uncorrelated():
    uniforms = KeyedUniforms(3, "x")
    u = np.array([uniforms(k) for k in range(20_000)])
    assert u.shape == (20_000, 8)
    assert 0 <= u.min() < 1e-4
    assert 1 - 1e-4 < u.max() < 1
    assert np.abs(u.mean(axis=0) - 0.5).max() < 0.01
    assert np.abs(u.var(axis=0) - 1 / 12).max() < 0.003
    assert np.abs(np.corrcoef(u.T) - np.eye(8)).max() < 0.03
    assert np.abs(np.corrcoef(u[:-1].T, u[1:].T)[:8, 8:]).max() < 0.03


def test_a_generator_is_the_same_in_every_process():
    code = "from merganser.evolution import keyed_generator as g; print(g(5, 'start', 2).integers(1 << 60))"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": h}, capture_output=True, text=True
        ).stdout
        for h in ("1", "2")
    }
    assert runs == {f"{keyed_generator(5, 'start', 2).integers(1 << 60)}\n"}


def test_keys_that_look_alike_are_different():
    draws = {
        float(keyed_generator(*key).random())
        for key in [(1, "2"), (12,), ("a", "b"), ("ab",), (1, 2, 3), (1, 23)]
    }
    assert len(draws) == 6


def noise(table, first, second):
    vector = np.zeros(SIZE, np.float32)
    table.add_to(vector, first, second)
    return vector.astype(np.float64)


def test_mutation_has_the_moments_of_a_normal_distribution():
    table = NormalTable(0, SIZE, 0.01)
    for first, second in [(0.0, 0.5), (0.31, 0.77), (0.999999, 0.2)]:
        x = noise(table, first, second) / 0.01
        assert abs(x.mean()) < 0.03
        assert x.var() == pytest.approx(1, abs=0.03)
        assert (x**3).mean() == pytest.approx(0, abs=0.06)
        assert (x**4).mean() == pytest.approx(3, abs=0.15)


def test_the_noise_of_different_children_is_uncorrelated():
    table, uniforms = NormalTable(1, SIZE, 0.01), KeyedUniforms(1, "x")
    vectors = np.array([noise(table, *uniforms(k)[4:6]) for k in range(30)])
    correlations = np.corrcoef(vectors) - np.eye(30)
    assert np.abs(correlations).max() < 0.05


def test_the_noise_is_added_in_place_and_follows_the_seed():
    vector = np.full(10, 5.0, np.float32)
    NormalTable(1, 10, 0.1).add_to(vector, 0.2, 0.3)
    again = np.zeros(10, np.float32)
    NormalTable(1, 10, 0.1).add_to(again, 0.2, 0.3)
    np.testing.assert_allclose(vector - 5, again, atol=1e-6)
    other = np.zeros(10, np.float32)
    NormalTable(2, 10, 0.1).add_to(other, 0.2, 0.3)
    assert np.abs(other - again).max() > 0.01


def test_a_negative_deviation_is_refused():
    with pytest.raises(ValueError, match="at least 0, but is -1"):
        NormalTable(0, 4, -1.0)


@given(st.integers(2, 7))
def test_two_of_many_are_different_and_every_pair_is_equally_likely(count):
    cells = (np.arange(count * (count - 1)) + 0.5) / (count * (count - 1))
    pairs = [two_of(count, u, v) for u in cells for v in cells]
    frequencies = np.zeros((count, count))
    np.add.at(frequencies, tuple(np.transpose(pairs)), 1)
    expected = len(pairs) / (count * (count - 1)) * (1 - np.eye(count))
    np.testing.assert_allclose(frequencies, expected)
    assert two_of(1, 0.9, 0.9) == (0, 0)
