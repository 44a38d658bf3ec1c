"""Sums of shards, files, what is refused, and the caveats."""

import numpy as np
import pytest

from merganser._errors import ConfigError
from merganser.comparison import Relations, SimilaritySums, relate

A, B = ("a", "last"), ("b", "last")


def batch(seed, rows=16, d=10, noise=0.5):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, d))
    return {A: x, B: x @ rng.normal(size=(d, d)) + noise * rng.normal(size=(rows, d))}


def summed(seeds, **options):
    sums = SimilaritySums.of(batch(seeds[0]), **options)
    for seed in seeds[1:]:
        sums += batch(seed)
    return sums


def test_shards_add_up_to_one_pass(tmp_path):
    whole = summed(range(7), neighbours=3)
    for i, seeds in enumerate(([0, 1], [2, 3, 4], [5, 6])):
        summed(seeds, neighbours=3).save(tmp_path / f"{i}.npz")
    first, second, third = (SimilaritySums.open(tmp_path / f"{i}.npz") for i in range(3))
    parts = third + first + second
    assert (parts.batches, parts.rows, parts.sites) == (7, 112, whole.sites)
    for measure in ("cka", "cknna", "mutual_knn"):
        one, other = whole.similarity(measure), parts.similarity(measure)
        np.testing.assert_allclose(one.values, other.values, rtol=1e-12)
        np.testing.assert_allclose(one.errors, other.errors, rtol=1e-6)
    np.testing.assert_allclose(whole.similarity().chance, parts.similarity().chance, rtol=1e-12)
    shares = [[spread.share for spread in sums.similarity().spreads] for sums in (whole, parts)]
    assert shares[0] == pytest.approx(shares[1])


def test_neighbours_in_common_are_counted():
    x = batch(3, rows=20)
    found = SimilaritySums.of(x, neighbours=4).similarity("mutual_knn")

    def near(features):
        centred = features - features.mean(axis=0)
        unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
        cosines = unit @ unit.T - 9 * np.eye(20)
        return [set(np.argsort(-row)[:4]) for row in cosines]

    common = [len(one & other) / 4 for one, other in zip(near(x[A]), near(x[B]), strict=True)]
    assert found.values[0, 1] == pytest.approx(np.mean(common))
    assert 0 < found.values[0, 1] < 1


def test_cknna_looks_at_neighbours_in_common_only():
    x = batch(4, rows=12)

    def alignment(one, other, k):
        total = 0.0
        for i in range(12):
            rows = [f - f.mean(axis=0) for f in (one, other)]
            unit = [f / np.linalg.norm(f, axis=1, keepdims=True) for f in rows]
            near = [set(sorted(set(range(12)) - {i}, key=lambda j, u=u: -(u[i] @ u[j]))[:k]) for u in unit]
            for j in near[0] & near[1]:
                total += (rows[0][i] @ rows[0][j]) * (rows[1][i] @ rows[1][j])
        return total

    expected = alignment(x[A], x[B], 3) / np.sqrt(alignment(x[A], x[A], 3) * alignment(x[B], x[B], 3))
    assert SimilaritySums.of(x, neighbours=3).similarity("cknna").values[0, 1] == pytest.approx(expected)


def test_relations_of_several_models_join():
    x = batch(0)
    apart = [relate({site: rows}) for site, rows in x.items()]
    together = relate(x)
    joined = Relations.joined(apart)
    assert joined.sites == together.sites
    np.testing.assert_array_equal(joined.vectors["cka"], together.vectors["cka"])
    with pytest.raises(ValueError, match="comes twice"):
        Relations.joined([apart[0], apart[0]])
    with pytest.raises(ValueError, match="batches of 16 rows"):
        Relations.joined([apart[0], relate({B: x[B][:9]})])


def test_one_batch_has_no_interval_and_says_so():
    found = SimilaritySums.of(batch(0)).similarity()
    assert np.isnan(found.between(A, B).low)
    assert any("one batch" in sentence for sentence in found.caveats())


def test_caveats_tell_of_size_outliers_and_dead_layers():
    rng = np.random.default_rng(0)
    batches = []
    for _ in range(3):
        x = rng.normal(size=(8, 400))
        x[:, 7] *= 100
        batches.append({A: x, B: np.ones((8, 5)), ("c", "last"): rng.normal(size=(8, 400))})
    sums = SimilaritySums.of(batches[0], neighbours=2)
    for each in batches[1:]:
        sums += each
    found = sums.similarity()
    told = " ".join(found.caveats())
    assert "24 rows in 3 batches of 8; features have up to 400 dimensions" in told
    assert "unbiased" in told
    assert "last of a carry 9" in told
    assert "last of b gives every row the same features" in told
    assert "of c carry" not in told
    assert "intervals are up to" in told
    assert np.isnan(found.between(A, B).value)
    assert "Neighbours are sought within batches of 8 rows" in " ".join(sums.similarity("cknna").caveats())


def test_blocks_and_names():
    found = summed([0, 1]).similarity()
    assert found.block("a", "b").shape == (1, 1)
    with pytest.raises(ValueError, match="the models a, b, found 'c'"):
        found.block("a", "c")
    with pytest.raises(ValueError, match="last of a"):
        found.between(A, ("b", "first"))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({}, "at least one site"),
        ({A: np.zeros((7, 3))}, "at least 8 rows, found one of 7"),
        ({A: np.zeros((8, 3)), B: np.zeros((9, 3))}, r"8 rows .* 'last' of 'b' have the shape \(9, 3\)"),
        ({A: np.zeros((8, 3, 2))}, "the shape"),
        ({A: np.full((8, 3), np.nan)}, "'last' of 'a' are NaN"),
    ],
)
def test_unsound_features_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        SimilaritySums.of(features)


def test_what_cannot_be_added_or_asked_is_refused(tmp_path):
    sums = summed([0, 1])
    with pytest.raises(ValueError, match="same 2 sites"):
        sums += {A: batch(0)[A]}
    with pytest.raises(ValueError, match="number of columns"):
        sums += batch(0, d=11)
    with pytest.raises(ValueError, match="`neighbours` is given"):
        sums.similarity("cknna")
    with pytest.raises(ValueError, match="from 1 to rows - 1 = 15"):
        relate(batch(0), neighbours=16)
    (tmp_path / "x.npz").write_bytes(b"PK not a zip")
    with pytest.raises(ConfigError, match="cannot be read as similarity sums"):
        SimilaritySums.open(tmp_path / "x.npz")
    sums.save(tmp_path / "y.npz")
    whole = (tmp_path / "y.npz").read_bytes()
    (tmp_path / "y.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match="cannot be read"):
        SimilaritySums.open(tmp_path / "y.npz")
    with pytest.raises(ValueError, match="of cka, not of mutual_knn"):
        summed([0, 1], neighbours=2).similarity("mutual_knn").chance_of(A, B)
