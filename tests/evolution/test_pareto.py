"""Pareto's order, against slow loops written from the definitions and against known volumes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from merganser.evolution import Objectives, crowded_order, crowding, front, hypervolume, ranks

coarse = st.integers(0, 4).map(lambda n: n / 4)


@st.composite
def clouds(draw, most=9, objectives=st.integers(1, 4)):
    """Points on a coarse grid, so that ties and copies are frequent."""
    return draw(arrays(float, (draw(st.integers(1, most)), draw(objectives)), elements=coarse))


def beats(a, b):
    return all(x >= y for x, y in zip(a, b, strict=True)) and any(x > y for x, y in zip(a, b, strict=True))


def slow_ranks(points):
    left, found, level = set(range(len(points))), {}, 0
    while left:
        best = {i for i in left if not any(beats(points[j], points[i]) for j in left)}
        found |= dict.fromkeys(best, level)
        left, level = left - best, level + 1
    return [found[i] for i in range(len(points))]


@given(clouds())
def test_ranks_and_front_are_those_of_the_definition(points):
    assert ranks(points).tolist() == slow_ranks(points)
    assert front(points).tolist() == [rank == 0 for rank in slow_ranks(points)]


@given(clouds(), st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(points, random):
    places = list(range(len(points)))
    random.shuffle(places)
    shuffled = points[places]
    assert ranks(shuffled).tolist() == ranks(points)[places].tolist()
    assert hypervolume(shuffled) == pytest.approx(hypervolume(points), abs=1e-12)
    distinct = np.unique(points, axis=0)
    few = [i for i in places if i < len(distinct)]
    np.testing.assert_allclose(crowding(distinct[few]), crowding(distinct)[few])


def slow_crowding(points):
    """Section III-B of the paper, one objective after the other; no value occurs twice."""
    distance = [0.0] * len(points)
    for m in range(len(points[0])):
        order = sorted(range(len(points)), key=lambda i: points[i][m])
        distance[order[0]] = distance[order[-1]] = math.inf
        extent = points[order[-1]][m] - points[order[0]][m]
        for before, i, after in zip(order, order[1:], order[2:], strict=False):
            distance[i] += (points[after][m] - points[before][m]) / extent
    return distance


@given(st.integers(0, 999), st.integers(1, 8), st.integers(1, 4))
def test_crowding_distances_are_the_papers(seed, count, objectives):
    points = np.random.default_rng(seed).random((count, objectives))
    np.testing.assert_allclose(crowding(points), slow_crowding(points))


@given(clouds())
def test_the_crowded_order_goes_by_rank_then_by_distance_and_puts_copies_last(points):
    order = crowded_order(points).tolist()
    assert sorted(order) == list(range(len(points)))
    seen = [tuple(points[i]) for i in order]
    distinct = len(set(seen))
    assert len(set(seen[:distinct])) == distinct
    rank = ranks(points)
    assert rank[order[:distinct]].tolist() == sorted(rank[order[:distinct]])
    for level in set(rank.tolist()):
        mine = [i for i in order[:distinct] if rank[i] == level]
        distances = crowding(points[mine]).tolist()
        assert distances == sorted(distances, reverse=True)
    copies = order[distinct:]
    assert all(any((points[j] == points[i]).all() for j in range(i)) for i in copies)


@pytest.mark.parametrize(
    ("points", "volume"),
    [
        (np.empty((0, 3)), 0.0),
        ([[0.3]], 0.3),
        ([[0.2], [0.7]], 0.7),
        ([[0.5, 0.5]], 0.25),
        ([[1.0, 0.5], [0.5, 1.0], [0.4, 0.4], [1.0, 0.5]], 0.75),
        ([[0.0, 1.0], [1.0, 0.0]], 0.0),
        ([[3 / 4, 1 / 2, 1 / 4], [1 / 4, 1 / 2, 3 / 4]], 2 * 6 / 64 - 2 / 64),
        ([[1, 1, 0.5], [1, 0.5, 1], [0.5, 1, 1]], 7 / 8),
        (1 - 0.5 * np.eye(5), 1 - 0.5**5),
    ],
)
def test_known_volumes(points, volume):
    assert hypervolume(np.array(points, dtype=float)) == pytest.approx(volume, abs=1e-12)


@given(clouds(most=6))
def test_the_volume_is_that_of_inclusion_and_exclusion(points):
    expected = 0.0
    for chosen in range(1, 1 << len(points)):
        mine = [p for i, p in enumerate(points) if chosen >> i & 1]
        expected -= (-1) ** len(mine) * np.minimum.reduce(mine).prod()
    assert hypervolume(points) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_the_volume_agrees_with_random_points(objectives):
    generator = np.random.default_rng(objectives)
    points, darts = generator.random((12, objectives)), generator.random((40_000, objectives))
    hit = np.zeros(len(darts), bool)
    for point in points:
        hit |= (darts <= point).all(axis=1)
    assert hypervolume(points) == pytest.approx(hit.mean(), abs=4 * 0.5 / math.sqrt(len(darts)))


def test_a_negative_objective_is_refused():
    with pytest.raises(ValueError, match=r"must not be negative, but one is -0\.5"):
        hypervolume(np.array([[1.0, -0.5]]))


def test_points_are_means_over_the_samples_of_each_objective():
    objectives = Objectives.of_sizes(["a", "b", "a"], [1, 3, 2])
    assert objectives.names == ("a 1", "b", "a 3")
    scores = np.array([[1, 1, 0, 1, 0, 1], [0, 0, 0, 0.5, 0.25, 0.25]])
    np.testing.assert_allclose(objectives.points(scores), [[1, 2 / 3, 0.5], [0, 0.5 / 3, 0.25]])
    np.testing.assert_allclose(objectives.points(scores[1]), [0, 0.5 / 3, 0.25])


@given(st.integers(0, 999))
def test_equally_many_right_answers_are_the_same_point(seed):
    generator = np.random.default_rng(seed)
    owner = generator.permutation(np.repeat([0, 1], [7, 13]))
    objectives = Objectives(("a", "b"), owner)
    row = (generator.random(20) < 0.5).astype(float)
    for group in (0, 1):
        row[owner == group] = generator.permutation(row[owner == group])
        again = row.copy()
        again[owner == group] = generator.permutation(again[owner == group])
        assert objectives.points(row).tolist() == objectives.points(again).tolist()


def test_objectives_that_cannot_be_measured_are_refused():
    with pytest.raises(ValueError, match="2 to 255 objectives, but has 1"):
        Objectives(("a",), np.zeros(3, int))
    with pytest.raises(ValueError, match="`b` has no sample"):
        Objectives(("a", "b"), np.zeros(3, int))
