"""A classifier scores where its largest logit is right; one NaN, and nothing it says counts."""

import numpy as np
import pytest

from merganser.evaluation import (
    Classification,
    NonFiniteOutputError,
    Samples,
    _classification,
    content_hashes,
)

X = np.eye(4, 3)
Y = np.array([0, 1, 2, 1])


class Fixed:
    """A model that answers with the given logits, and remembers what it was shown."""

    size = 0

    def __init__(self, logits):
        self.logits, self.shown = np.asarray(logits, dtype=np.float32), None

    def write(self, parameters):
        raise AssertionError

    def __call__(self, inputs):
        self.shown = inputs
        return self.logits[: len(inputs)]


def task(**options):
    return Classification.of("toy", X, Y, **options)


def test_the_largest_logit_decides():
    logits = [[3, 1, 2], [0, 0.5, 1], [-3, -2, -1], [0, 9, 0]]
    assert task().score(Fixed(logits), np.arange(4)).tolist() == [1, 0, 1, 1]


def test_only_the_samples_asked_for_are_shown_and_in_that_order():
    model = Fixed([[0, 1, 0], [0, 1, 0]])
    assert task().score(model, np.array([3, 0])).tolist() == [1, 0]
    assert (model.shown == X[[3, 0]]).all()
    assert model.shown.dtype == np.float32
    assert task().score(model, np.array([], dtype=int)).tolist() == []


class Looking:
    """A model whose answer follows from the input, and which remembers how many it saw at a time."""

    size = 0

    def __init__(self):
        self.batches = []

    def write(self, parameters):
        raise AssertionError

    def __call__(self, inputs):
        self.batches.append(len(inputs))
        return inputs + np.arange(3, dtype=np.float32) / 4


@pytest.mark.parametrize(("size", "batches"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (9, [5])])
def test_scores_do_not_depend_on_how_many_samples_are_shown_at_a_time(monkeypatch, size, batches):
    monkeypatch.setattr(_classification, "_BATCH", size)
    model, ids = Looking(), np.array([3, 0, 1, 1, 2])
    assert task().score(model, ids).tolist() == [0, 1, 1, 1, 1]
    assert model.batches == batches


def test_among_equal_logits_the_first_class_counts():
    assert task().score(Fixed(np.zeros((4, 3))), np.arange(4)).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (3, 2)])
def test_one_answer_that_is_not_finite_spoils_all(value, place):
    logits = np.zeros((4, 3))
    logits[place] = value
    with pytest.raises(NonFiniteOutputError, match=f"logits hold {value} on toy"):
        task().score(Fixed(logits), np.arange(4))


def test_infinities_that_cancel_are_found():
    logits = np.zeros((4, 3))
    logits[0, 0], logits[1, 1] = np.inf, -np.inf
    with pytest.raises(NonFiniteOutputError):
        task().score(Fixed(logits), np.arange(4))


def test_large_logits_whose_sum_overflows_are_finite():
    logits = np.full((4, 3), 1e38, np.float32)
    logits[0, 0] = logits[1, 1] = logits[2, 2] = logits[3, 1] = 3e38
    assert task().score(Fixed(logits), np.arange(4)).tolist() == [1, 1, 1, 1]


def test_a_network_with_a_broken_parameter_is_told_without_a_warning():
    from merganser.models import Perceptron, perceptron_tensors
    from merganser.weights import Checkpoint

    for value in (np.nan, np.inf, 3e38):
        flat = np.full(12, value, np.float32)
        model = Perceptron.of(Checkpoint.from_tensors(perceptron_tensors(flat, (3, 3))), 3)
        model.write(flat)
        with pytest.raises(NonFiniteOutputError):
            Classification.of("toy", 5 + X, Y).score(model, np.arange(4))


def test_the_digest_covers_inputs_labels_and_order():
    tasks = [
        task(),
        Classification.of("toy", X + 1, Y),
        Classification.of("toy", X, Y[::-1]),
        Classification.of("toy", X[::-1], Y[::-1]),
        Classification.of("toy", X[:3], Y[:3]),
    ]
    assert len({t.digest for t in tasks}) == len(tasks)
    assert Classification.of("other name", X.astype(np.float32), Y.astype(np.uint8)).digest == task().digest


def test_equal_contents_have_equal_hashes_whatever_their_label():
    t = Classification.of("toy", np.stack([X[0], X[0], X[1]]), np.array([0, 1, 1]))
    assert t.samples.hashes[0] == t.samples.hashes[1] != t.samples.hashes[2]
    assert all(len(h) == 16 for h in t.samples.hashes)
    assert content_hashes([b""]) != content_hashes([b"\x00"])


def test_features_and_classes_are_read_off():
    t = Classification.of("toy", np.zeros((2, 8, 4)), np.array([0, 6]))
    assert (t.features, t.classes, t.binary, len(t.samples)) == (32, 7, True, 2)
    assert Classification("bare", X, Samples(("a",))).classes == 0
