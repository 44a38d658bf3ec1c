"""Mazes: that they are what their family says, that routes are shortest, that turning and reading change nothing."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser import ConfigError, TaskError
from merganser.thinking.mazes import (
    FAMILIES,
    WAIT,
    Mazes,
    augmented,
    draw_mazes,
    mazes_of,
    pictures,
    read_mazes,
    routes,
    turned,
    turned_moves,
    walk,
    wall_codes,
    write_mazes,
)

STEPS = [(-1, 0), (1, 0), (0, -1), (0, 1)]
SIZES = st.integers(2, 6).map(lambda side: 2 * side + 1)


def drawn(number, size, family="depth-first", seed=0):
    return draw_mazes(number, size, family=family, rng=np.random.default_rng(seed))


def distances(passages, start):
    """Steps from a place to all others, one place at a time."""
    found, waiting = {tuple(start): 0}, deque([tuple(start)])
    while waiting:
        row, column = waiting.popleft()
        for down, right in STEPS:
            place = (row + down, column + right)
            if passages[place] and place not in found:
                found[place] = found[row, column] + 1
                waiting.append(place)
    return found


@given(SIZES, st.sampled_from(sorted(FAMILIES)), st.integers(0, 999))
def test_every_passage_can_be_reached_and_walls_surround_it(size, family, seed):
    mazes = drawn(5, size, family, seed)
    for passages, start in zip(mazes.passages, mazes.starts, strict=True):
        assert passages[1::2, 1::2].all()
        assert not passages[[0, -1]].any()
        assert not passages[:, [0, -1]].any()
        assert not passages[::2, ::2].any()
        assert len(distances(passages, start)) == passages.sum()


@given(SIZES, st.sampled_from(["depth-first", "prim"]), st.integers(0, 999))
def test_mazes_without_loops_are_trees(size, family, seed):
    side = size // 2
    assert (drawn(5, size, family, seed).passages.sum(axis=(1, 2)) == 2 * side * side - 1).all()


def test_families_differ_as_they_say():
    long, short, loops = (routes(drawn(300, 15, family)) for family in ("depth-first", "prim", "loops"))
    mean = [(moves != WAIT).sum(axis=1).mean() for moves in (long, short, loops)]
    assert mean[0] > 1.2 * mean[1]
    assert mean[0] > 1.2 * mean[2]
    opened = drawn(300, 15, "loops").passages.sum(axis=(1, 2)) - (2 * 49 - 1)
    walls_left = 2 * 7 * 6 - 48
    assert abs(opened.mean() / walls_left - 0.1) < 0.02


@given(SIZES, st.sampled_from(sorted(FAMILIES)), st.integers(0, 999))
def test_routes_are_the_shortest_and_lead_to_the_goal(size, family, seed):
    mazes = drawn(5, size, family, seed)
    moves = routes(mazes)
    assert walk(mazes, moves).solved.all()
    for k in range(5):
        steps = distances(mazes.passages[k], mazes.starts[k])[tuple(mazes.goals[k])]
        assert (moves[k] != WAIT).sum() == steps
        assert (moves[k, steps:] == WAIT).all()
    short = routes(mazes, 3)
    assert np.array_equal(short[:, : moves.shape[1]], moves[:, :3])


def test_mazes_follow_from_their_generator_and_starts_are_even():
    assert np.array_equal(drawn(3, 9).passages, drawn(3, 9).passages)
    assert not np.array_equal(drawn(3, 9).passages, drawn(3, 9, seed=1).passages)
    mazes = drawn(4000, 5)
    assert (mazes.starts != mazes.goals).any(axis=1).all()
    for places in (mazes.starts, mazes.goals):
        _, counts = np.unique(places, axis=0, return_counts=True)
        assert len(counts) == 4
        assert counts.min() > 880


class Zeros(np.random.Generator):
    """Draws the smallest number there is, as any generator does once in a while."""

    def random(self, size=None, dtype=np.float64, out=None):
        return np.zeros(size, dtype)


@pytest.mark.parametrize("family", ["depth-first", "prim"])
def test_all_cells_are_reached_whatever_is_drawn(family):
    mazes = draw_mazes(3, 9, family=family, rng=Zeros(np.random.PCG64(0)))
    assert mazes.passages[:, 1::2, 1::2].all()
    assert (mazes.passages.sum(axis=(1, 2)) == 31).all()


def test_first_joins_of_prim_are_even():
    """In 2×2 cells any three of the four walls open, each three as likely as the others."""
    mazes = drawn(4000, 5, "prim")
    closed = ~mazes.passages[:, [1, 2, 2, 3], [2, 1, 3, 2]]
    assert (closed.sum(axis=1) == 1).all()
    assert closed.mean(axis=0).min() > 0.22


@given(st.integers(0, 3), st.booleans(), st.integers(0, 99))
def test_routes_lead_through_mazes_that_were_turned(quarters, mirrored, seed):
    mazes = drawn(4, 9, "loops", seed)
    other = turned(mazes, quarters=quarters, mirrored=mirrored)
    moves = turned_moves(routes(mazes), quarters=quarters, mirrored=mirrored)
    assert walk(other, moves).solved.all()
    flipped = pictures(mazes)[..., ::-1] if mirrored else pictures(mazes)
    assert np.array_equal(pictures(other), np.rot90(flipped, quarters, axes=(2, 3)))


def test_mazes_of_a_batch_are_turned_in_all_eight_ways():
    one = drawn(1, 9, seed=3)
    mazes = one.rows(np.zeros(64, dtype=int))
    other, moves = augmented(mazes, routes(mazes), np.random.default_rng(0))
    assert len(np.unique(pictures(other), axis=0)) == 8
    assert walk(other, moves).solved.all()


def test_walls_have_one_code_in_all_positions():
    mazes = drawn(200, 9)
    codes = wall_codes(mazes)
    for quarters in range(4):
        for mirrored in (False, True):
            other = turned(mazes, quarters=quarters, mirrored=mirrored)
            assert np.array_equal(wall_codes(other), codes)
    shapes = np.unique(mazes.passages.reshape(200, -1), axis=0)
    assert len(shapes) / 8 <= len(np.unique(codes)) <= len(shapes)


def test_walls_hold_the_walker_and_count_as_faults():
    passages = np.zeros((1, 3, 5), dtype=bool)
    passages[0, 1, 1:4] = True
    mazes = Mazes(passages, np.array([[1, 1]]), np.array([[1, 3]]))
    found = walk(mazes, np.array([[0, 3, 1, 3, 3]]), tolerated=2)
    assert found.places[0, :, 1].tolist() == [1, 1, 2, 2, 3, 3]
    assert found.faults[0].tolist() == [0, 1, 1, 2, 2, 3]
    assert found.solved.tolist() == [True]
    assert walk(mazes, np.array([[0, 3, 1, 3, 3]]), tolerated=1).solved.tolist() == [False]


def test_the_edge_of_the_picture_is_a_wall():
    passages = np.ones((1, 3, 3), dtype=bool)
    mazes = Mazes(passages, np.array([[0, 0]]), np.array([[2, 2]]))
    assert walk(mazes, np.array([[0, 2]])).faults[0].tolist() == [0, 1, 2]
    assert (routes(mazes) != WAIT).sum() == 4


def test_pictures_in_files_are_read_as_they_were_written(tmp_path):
    pytest.importorskip("PIL")
    mazes = drawn(12, 11)
    write_mazes(mazes, tmp_path / "train" / "0")
    found = read_mazes(tmp_path)
    assert np.array_equal(pictures(found), pictures(mazes))
    assert len(read_mazes(tmp_path, most=5)) == 5
    assert np.array_equal(pictures(read_mazes(tmp_path / "train/0/000003.png")), pictures(mazes.rows([3])))


def test_a_solution_drawn_in_blue_is_a_passage(tmp_path):
    image = pytest.importorskip("PIL.Image")
    mazes = drawn(1, 9)
    seen = (pictures(mazes)[0].transpose(1, 2, 0) * 255).astype(np.uint8)
    for row, column in walk(mazes, routes(mazes)).places[0, 1:-1]:
        seen[row, column] = (0, 0, 255)
    image.fromarray(seen).save(tmp_path / "solved.png")
    assert np.array_equal(read_mazes(tmp_path).passages, mazes.passages)


def test_mazes_that_cannot_be_are_refused(tmp_path):
    passages = np.zeros((2, 3, 5), dtype=bool)
    passages[:, 1, [1, 3]] = True
    ends = np.array([[1, 1], [1, 1]]), np.array([[1, 3], [1, 3]])
    with pytest.raises(TaskError, match=r"No way leads from start to goal in maze 0 \(2 of 2"):
        routes(Mazes(passages, *ends))
    with pytest.raises(TaskError, match="The start of maze 1, at row 0, column 0, is on a wall"):
        Mazes(passages, np.array([[1, 1], [0, 0]]), ends[1])
    with pytest.raises(TaskError, match="The goal of maze 0 is at row 3, column 1, outside its 3×5"):
        Mazes(passages, ends[0], np.array([[3, 1], [1, 1]]))
    with pytest.raises(TaskError, match="Expected a goal as row and column for each of 2 mazes"):
        Mazes(passages, ends[0], np.array([[1, 3]]))
    with pytest.raises(TaskError, match="truth values"):
        Mazes(passages.astype(int), *ends)
    for size in (4, 3):
        with pytest.raises(ConfigError, match="an odd size of at least 5"):
            drawn(1, size)
    with pytest.raises(ConfigError, match="among depth-first, prim, loops, found 'moss'"):
        drawn(1, 9, "moss")
    with pytest.raises(TaskError, match=r"Expected one start \(red\) in every maze, found 0 in maze 0"):
        mazes_of(np.ones((1, 3, 5, 5)))


def test_files_that_are_no_mazes_are_named(tmp_path):
    image = pytest.importorskip("PIL.Image")
    with pytest.raises(TaskError, match="holds no pictures"):
        read_mazes(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(TaskError, match=r"a\.png is no PNG picture"):
        read_mazes(tmp_path)
    with pytest.raises(TaskError, match=r"b\.png holds no pictures"):
        read_mazes(tmp_path / "b.png")
    image.new("RGB", (5, 5), "white").save(tmp_path / "a.png")
    with pytest.raises(TaskError, match=r"Expected one start .red. in every maze, found 0 in .*a\.png"):
        read_mazes(tmp_path)
    write_mazes(drawn(1, 9), tmp_path)
    with pytest.raises(TaskError, match=r"Expected mazes of one size, 9×9 pixels as .* found 5×5"):
        read_mazes(tmp_path)
