"""Fashion-MNIST from files: apart in training, looks and test, and what is said of files that are not right."""

import gzip
import struct

import numpy as np
import pytest
import torch

from merganser import TaskError
from merganser.thinking import CTM, answers_of
from merganser.thinking.training import Fashion, ThinkingTraining, open_thinking, train_thinking

PICTURES = 48


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(folder, **changes):
    """The four files, small: a class is how bright a picture is; the first pixels number it."""
    folder.mkdir(exist_ok=True)
    labels = np.arange(PICTURES, dtype=np.uint8) % 10
    images = np.repeat(labels * 25, 28 * 28).reshape(-1, 28, 28)
    images[:, 0, 0] = np.arange(PICTURES)
    test = images[:20].copy()
    test[:, 0, 0] = 200 + np.arange(20)
    files = {
        "train-images-idx3-ubyte": images,
        "train-labels-idx1-ubyte": labels,
        "t10k-images-idx3-ubyte": test,
        "t10k-labels-idx1-ubyte": labels[:20],
    }
    for name, array in {**files, **changes}.items():
        if array is not None:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
    return Fashion(str(folder))


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return write(tmp_path_factory.mktemp("fashion") / "files")


def numbers(samples):
    return (samples.inputs[:, 0, 0, 0] * 255).round().int().tolist()


def test_pictures_are_trained_looked_at_and_tested_apart(task):
    trained = {n for step in range(30) for n in numbers(task.batch(16, seed=0, step=step))}
    looked, tested = numbers(task.validation()), numbers(task.test())
    assert (len(trained), len(looked)) == (PICTURES - 4, 4)
    assert trained | set(looked) == set(range(PICTURES))
    assert tested == list(range(200, 220))


def test_pictures_are_fractions_with_their_classes(task):
    inputs, targets = task.test()
    assert (inputs.shape, inputs.dtype, targets.shape) == ((20, 1, 28, 28), torch.float32, (20, 1))
    assert torch.equal((inputs[:, 0, 9, 9] * 255 / 25).round().long(), targets[:, 0])


def test_batches_follow_from_seed_and_step(task):
    assert numbers(task.batch(9, seed=1, step=2)) == numbers(task.batch(9, seed=1, step=2))
    assert numbers(task.batch(9, seed=1, step=2)) != numbers(task.batch(9, seed=2, step=2))


def test_looks_see_at_most_a_thousand_and_the_same(tmp_path):
    many = 12 * 1_005
    images = np.zeros((many, 28, 28), np.uint8)
    images[:, 0, :2] = np.stack(np.divmod(np.arange(many), 256), 1)
    labels = np.zeros(many, np.uint8)
    changes = {"train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": labels}
    one, other = write(tmp_path / "one", **changes), write(tmp_path / "other", **changes)
    assert len(one.validation().inputs) == 1_000
    assert torch.equal(one.validation().inputs, other.validation().inputs)


def test_a_training_on_files_can_be_opened_again(task, tmp_path):
    config = task.config(ticks=2, neurons=16, width=8, output_neurons=8, action_neurons=8)
    trained = train_thinking(task, config, tmp_path / "t", ThinkingTraining(steps=2, batch=8))
    assert open_thinking(tmp_path / "t").task == task
    answers = answers_of(CTM.from_pretrained(trained.path), *task.test())
    assert trained.test == pytest.approx(float(answers.scores()[:, -1].mean()))


class TestRefusals:
    def test_files_that_are_not_there(self, tmp_path):
        with pytest.raises(TaskError, match=r"not there.*apt-get install dataset-fashion-mnist.*dpkg-deb -x"):
            Fashion(str(tmp_path / "no")).test()
        (tmp_path / "empty").mkdir()
        with pytest.raises(TaskError, match=r"Expected `x_train` with `y_train`.*but found no arrays"):
            Fashion(str(tmp_path / "empty")).test()

    def test_a_test_set_that_is_not_there(self, tmp_path):
        with pytest.raises(TaskError, match="those of the test are missing"):
            write(tmp_path / "f", **{"t10k-labels-idx1-ubyte": None}).batch(1, seed=0, step=1)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            (
                {"train-labels-idx1-ubyte": np.full(PICTURES, 10, np.uint8)},
                "found shape .* and classes to 10",
            ),
            ({"train-labels-idx1-ubyte": np.zeros(3, np.uint8)}, "must hold equally many samples"),
            (
                {
                    "train-images-idx3-ubyte": np.zeros((5, 28, 28), np.uint8),
                    "train-labels-idx1-ubyte": np.zeros(5, np.uint8),
                },
                "at least 12 training pictures in .*, found 5",
            ),
            (
                {name: np.zeros((20, 8, 8), np.uint8) for name in ("t10k-images-idx3-ubyte",)},
                r"shape \(28, 28\), test inputs \(8, 8\)",
            ),
        ],
        ids=["classes", "labels", "few", "sides"],
    )
    def test_other_data(self, changes, said, tmp_path):
        with pytest.raises(TaskError, match=said):
            write(tmp_path / "f", **changes).validation()

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (b"not gzip", "cannot be read"),
            (gzip.compress(b"\0\0\x0d\x03" + bytes(16)), "no IDX file of unsigned bytes"),
            (
                gzip.compress(idx(np.zeros((48, 28, 28), np.uint8))[:-1]),
                "is truncated: its header promises 37632",
            ),
            (gzip.compress(idx(np.zeros((48, 28, 28), np.uint8)))[:-9], "cannot be read"),
        ],
        ids=["plain", "magic", "short", "cut"],
    )
    def test_damaged_files(self, data, said, tmp_path):
        task = write(tmp_path / "f")
        (tmp_path / "f" / "train-images-idx3-ubyte.gz").write_bytes(data)
        with pytest.raises(TaskError, match=said):
            task.test()
