"""Several tasks as one: every part answers for its own samples, and counts by its weight."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.evaluation import (
    Classification,
    LabelledArrays,
    Marks,
    Mixture,
    Samples,
    Splits,
    join_splits,
    sample_weights,
    split_arrays,
)


@dataclass
class Numbered:
    """A task whose score on each sample tells the task and the sample."""

    name: str
    count: int
    offset: float
    labels: np.ndarray | None = None
    binary: bool = False
    asked: list = field(default_factory=list)

    @property
    def digest(self):
        return self.name

    @property
    def samples(self):
        return Samples(tuple(f"{self.name}{i}" for i in range(self.count)), self.labels, "search")

    def score(self, model, ids):
        self.asked.append(ids.tolist())
        assert ((ids >= 0) & (ids < self.count)).all()
        return self.offset + ids / 1000


def mixture():
    return Mixture((Numbered("a", 3, 0.1), Numbered("b", 1, 0.3), Numbered("c", 5, 0.5)))


EXPECTED = np.array([0.1, 0.101, 0.102, 0.3, 0.5, 0.501, 0.502, 0.503, 0.504])


@given(st.lists(st.integers(0, 8), max_size=20))
def test_scores_are_those_of_the_parts_in_the_order_asked_for(ids):
    np.testing.assert_allclose(mixture().score(None, np.array(ids, dtype=int)), EXPECTED[ids], rtol=1e-12)


def test_a_part_is_asked_once_and_only_if_it_has_to():
    m = mixture()
    m.score(None, np.array([8, 0, 4, 2]))
    assert [p.asked for p in m.parts] == [[[0, 2]], [], [[4, 0]]]


@dataclass
class Nearly(Numbered):
    """Knows margins too."""

    def mark(self, model, ids):
        return Marks(self.score(model, ids), self.offset + ids / 100)


def test_where_some_parts_have_margins_those_of_the_others_are_their_scores():
    ids = np.array([8, 0, 3, 1])
    mixed = Mixture((Nearly("a", 3, 0.1), *mixture().parts[1:]))
    marks = mixed.mark(None, ids)
    assert marks.scores.tolist() == mixed.score(None, ids).tolist() == mixture().score(None, ids).tolist()
    assert marks.margins is not None
    np.testing.assert_allclose(marks.margins, [0.504, 0.1, 0.3, 0.11])
    assert mixed.mark(None, np.array([3, 4])).margins is None
    assert mixture().mark(None, ids).margins is None


def test_names_samples_and_digests_are_joined_in_order():
    m = mixture()
    assert m.name == "a + b + c"
    assert m.samples.hashes == ("a0", "a1", "a2", "b0", "c0", "c1", "c2", "c3", "c4")
    assert m.samples.labels is None
    assert m.samples.split == "search"
    assert m.digest != Mixture(m.parts[::-1]).digest
    assert m.digest == mixture().digest


def test_it_is_binary_and_labelled_only_if_every_part_is():
    yes = Numbered("a", 2, 0, np.array([0, 1]), True), Numbered("b", 1, 0, np.array([7]), True)
    assert Mixture(yes).binary
    assert Mixture(yes).samples.labels.tolist() == [0, 1, 7]
    no = Numbered("c", 1, 0)
    assert not Mixture((*yes, no)).binary
    assert Mixture((*yes, no)).samples.labels is None


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0.01, 100)), min_size=1, max_size=5))
def test_tasks_count_by_their_weight_and_not_by_their_size(tasks):
    sizes, omegas = zip(*tasks, strict=True)
    weights = sample_weights(sizes, omegas)
    assert weights.mean() == pytest.approx(1)
    begin = 0
    for size, omega in tasks:
        part = weights[begin : begin + size]
        assert part.sum() / weights.sum() == pytest.approx(omega / sum(omegas))
        assert (part == part[0]).all()
        begin += size


@pytest.mark.parametrize("weights", [[1, 0], [1, -2], [1, float("nan")]])
def test_weights_that_are_not_positive_are_refused(weights):
    with pytest.raises(ValueError, match="must be positive"):
        sample_weights([1, 2], weights)
    with pytest.raises(ValueError, match="zip"):
        sample_weights([1, 2, 3], [1, 1])


def splits(seed, test=True):
    x = np.random.default_rng(seed).random((30, 4)).astype(np.float32)
    more = (x[:3] + 5, np.arange(3)) if test else (None, None)
    data = split_arrays(LabelledArrays(f"task {seed}", x, np.arange(30) % 3, *more))
    return data if test else Splits(data.search, None, None, 2)


def test_splits_are_joined_part_by_part():
    one, other = splits(0), splits(1)
    joined = join_splits([one, other])
    for part in ("search", "validation", "test"):
        first, second = getattr(one, part), getattr(other, part)
        assert getattr(joined, part).parts == (first, second)
        assert len(getattr(joined, part).samples) == len(first.samples) + len(second.samples)
    assert join_splits([one]) is one
    assert isinstance(joined.search.parts[0], Classification)


def test_a_split_that_one_of_them_lacks_is_left_out():
    joined = join_splits([splits(0), splits(1, test=False), splits(2)])
    assert joined.validation is None
    assert joined.test is None
    assert len(joined.search.parts) == 3
    assert joined.dropped == 2
