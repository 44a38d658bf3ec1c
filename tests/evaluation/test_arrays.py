"""Arrays from what people have; what is damaged or makes no sense is refused in words, and nothing is unpickled."""

import contextlib
import gzip
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from merganser import TaskError
from merganser.evaluation import read_arrays

X = np.arange(24, dtype=np.float64).reshape(4, 3, 2)
Y = np.array([0, 2, 1, 2], dtype=np.uint8)


def npz(folder, **arrays):
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def idx_folder(folder, *, gz=False, images=None, labels=None, test=True):
    images = np.arange(12, dtype=np.uint8).reshape(3, 2, 2) * 20 if images is None else images
    labels = np.array([1, 0, 2], np.uint8) if labels is None else labels
    files = {"train-images-idx3-ubyte": idx(images), "train-labels-idx1-ubyte": idx(labels)}
    if test:
        files |= {"t10k-images-idx3-ubyte": idx(images[:2]), "t10k-labels-idx1-ubyte": idx(labels[:2])}
    for name, data in files.items():
        (folder / (name + ".gz" * gz)).write_bytes(gzip.compress(data) if gz else data)
    return folder


@pytest.mark.parametrize(
    "names", [("x_train", "y_train"), ("x", "y"), ("images", "labels"), ("data", "target")]
)
def test_every_pair_of_names_is_read(tmp_path, names):
    data = read_arrays(npz(tmp_path, **dict(zip(names, (X, Y), strict=True))))
    assert (data.inputs == X).all()
    assert data.inputs.dtype == np.float32
    assert data.labels.tolist() == Y.tolist()
    assert data.labels.dtype == np.int64
    assert (data.name, data.features, data.classes) == ("data", 6, 3)
    assert data.test_inputs is None
    assert data.test_labels is None


def test_a_test_set_that_comes_along_is_read(tmp_path):
    data = read_arrays(str(npz(tmp_path, x_train=X, y_train=Y, x_test=X[:1] + 1, y_test=Y[:1])))
    assert (data.test_inputs == X[:1] + 1).all()
    assert data.test_labels.tolist() == [0]


@pytest.mark.parametrize("gz", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("test", [False, True], ids=["training only", "with test"])
def test_idx_files_are_read_and_bytes_become_fractions(tmp_path, gz, test):
    data = read_arrays(idx_folder(tmp_path, gz=gz, test=test))
    np.testing.assert_allclose(data.inputs, np.arange(12).reshape(3, 2, 2) * 20 / 255, rtol=1e-6)
    assert data.labels.tolist() == [1, 0, 2]
    assert (data.test_labels is not None) is test
    if test:
        assert (data.test_inputs == data.inputs[:2]).all()


def test_a_folder_of_npy_files_is_read(tmp_path):
    for name, array in {"x": X, "y": Y, "x_test": X[:2], "y_test": Y[:2], "notes": np.zeros(3)}.items():
        np.save(tmp_path / f"{name}.npy", array)
    data = read_arrays(tmp_path)
    assert data.inputs.shape == (4, 3, 2)
    assert data.test_labels.tolist() == [0, 2]
    assert data.name == tmp_path.stem


def test_only_bytes_are_scaled(tmp_path):
    assert read_arrays(npz(tmp_path, x=X.astype(np.uint8), y=Y)).inputs.max() == np.float32(23 / 255)
    for dtype in (np.int16, np.uint16, np.float16):
        assert read_arrays(npz(tmp_path, x=X.astype(dtype), y=Y)).inputs.max() == 23


def test_one_number_per_sample_is_one_feature(tmp_path):
    assert read_arrays(npz(tmp_path, x=X[:, 0, 0], y=Y)).features == 1


def test_the_digits_are_those_of_the_paper():
    data = read_arrays("digits")
    assert data.inputs.shape == (1437, 64)
    assert data.test_inputs.shape == (360, 64)
    assert data.labels.shape == (1437,)
    assert data.test_labels.shape == (360,)
    assert (data.inputs.min(), data.inputs.max()) == (0, 16)
    assert (data.inputs.dtype, data.classes, data.features) == (np.float32, 10, 64)
    assert data.labels[:10].tolist() == list(range(10))


class Bomb:
    """Unpickling this would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("kind", ["npz", "npy", "pickle as npz", "pickle as npy"])
def test_pickles_are_refused_and_not_executed(tmp_path, kind):
    import pickle

    mark = tmp_path / "executed"
    objects = np.array([Bomb(mark), None], dtype=object)
    folder = tmp_path / "data"
    folder.mkdir()
    path = folder / ("x.npz" if kind.endswith("npz") else "x.npy")
    if kind.startswith("pickle"):
        path.write_bytes(pickle.dumps(Bomb(mark)))
    elif kind == "npz":
        np.savez(path, x=objects, y=np.array([0, 1]))
    else:
        np.save(path, objects, allow_pickle=True)
    with pytest.raises(TaskError, match="cannot be read"):
        read_arrays(path if kind.endswith("npz") else folder)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "Expected `x_train` with `y_train`.* but found x"),
        ({}, "but found no arrays"),
        ({"x": X, "y_train": Y}, "but found x, y_train"),
        ({"x": X, "y": Y[:3]}, r"equally many samples.*\(4, 3, 2\) and \(3,\)"),
        ({"x": X[:0], "y": Y[:0]}, "at least one"),
        ({"x": X, "y": np.eye(4, dtype=int)}, "one number each"),
        ({"x": np.float64(3), "y": Y[:1]}, "equally many"),
        ({"x": X, "y": np.int64(3)}, "one number each"),
        ({"x": X, "y": Y - 1.0}, "class numbers from 0, but has float64 such as -1.0"),
        ({"x": X, "y": Y.astype(int) - 1}, "class numbers from 0, but has int64 such as -1"),
        ({"x": X, "y": np.array(list("abca"))}, "but has <U1 such as a"),
        ({"x": X, "y": Y > 1}, "but has bool"),
        ({"x": np.where(X == 5, np.nan, X), "y": Y}, "finite"),
        ({"x": np.where(X == 5, -np.inf, X), "y": Y}, "finite"),
        ({"x": np.where(X == 5, 1e300, X), "y": Y}, "finite float32"),
        ({"x": X.astype(str), "y": Y}, "must hold numbers"),
        ({"x": X + 1j, "y": Y}, "must hold numbers, but has complex128"),
        ({"x": X > 3, "y": Y}, "must hold numbers, but has bool"),
        ({"x": X, "y": Y, "x_test": X[:, :2], "y_test": Y}, r"shape \(3, 2\), test inputs \(2, 2\)"),
        ({"x": X, "y": Y, "x_test": X, "y_test": Y[:2]}, "`x_test` and `y_test`"),
        ({"x": X, "y": Y, "x_test": X[:0], "y_test": Y[:0]}, "`x_test` and `y_test`.*at least one"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, arrays, message):
    with pytest.raises(TaskError, match=message):
        read_arrays(npz(tmp_path, **arrays))


def broken_idx(folder, data, gz=False):
    idx_folder(folder)
    (folder / "train-images-idx3-ubyte").unlink()
    (folder / ("train-images-idx3-ubyte" + ".gz" * gz)).write_bytes(data)
    return folder


IMAGES = idx(np.zeros((3, 2, 2), np.uint8))


@pytest.mark.parametrize(
    ("data", "gz", "message"),
    [
        (b"", False, "begins with nothing"),
        (b"\x00\x00", False, "begins with 0000"),
        (b"\x00\x00\x0d\x03" + IMAGES[4:], False, "begins with 00000d03"),
        (b"\x89PNG" + IMAGES[4:], False, "begins with 89504e47"),
        (IMAGES[:-1], False, "truncated: its header promises 12 values, it holds 11"),
        (IMAGES + b"\x00", False, "promises 12 values, it holds 13"),
        (IMAGES[:9], False, "at least one"),
        (b"\x00\x00\x08\x00\x07", False, "equally many"),
        (b"not gzip", True, "cannot be read"),
        (gzip.compress(IMAGES, mtime=0)[:-5], True, "cannot be read"),
        (gzip.compress(IMAGES, mtime=0)[:14] + b"\xff" * 20, True, "cannot be read"),
        (gzip.compress(IMAGES, mtime=0)[:-8] + b"\x00" * 8, True, "cannot be read"),
        (b"", True, "begins with nothing"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path, data, gz, message):
    with pytest.raises(TaskError, match=message):
        read_arrays(broken_idx(tmp_path, data, gz))


def test_idx_labels_of_other_images_are_refused(tmp_path):
    with pytest.raises(TaskError, match="equally many"):
        read_arrays(idx_folder(tmp_path, labels=np.array([1, 0], np.uint8), test=False))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_npz_is_read_or_refused_and_never_anything_else(tmp_path, data):
    good = npz(tmp_path, x=X, y=Y) if data.draw(st.booleans()) else tmp_path / "data.npz"
    np.savez_compressed(good, x=X, y=Y)
    raw = bytearray(good.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "bad.npz").write_bytes(raw[: data.draw(st.integers(len(raw) // 2, len(raw)))])
    with contextlib.suppress(TaskError):
        read_arrays(tmp_path / "bad.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x93NUMPY", b"hello"])
@pytest.mark.parametrize("name", ["bad.npz", "x.npy"])
def test_files_that_are_something_else_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TaskError, match=f"{name} cannot be read"):
        read_arrays(tmp_path / name if name.endswith("npz") else tmp_path)


def test_an_npy_file_under_the_name_of_an_npz_is_refused(tmp_path):
    with (tmp_path / "bad.npz").open("wb") as file:
        np.save(file, X)
    with pytest.raises(TaskError, match="cannot be read as npz"):
        read_arrays(tmp_path / "bad.npz")


def test_members_that_are_no_arrays_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.npz", "w") as file:
        file.writestr("x", "hello")
        file.writestr("y", "world")
    with pytest.raises(TaskError, match="equally many"):
        read_arrays(tmp_path / "bad.npz")


@pytest.mark.parametrize("reference", ["nowhere.npz", "nowhere", "data.csv", "Digits"])
def test_references_to_nothing_say_what_was_expected(tmp_path, reference):
    (tmp_path / "data.csv").write_text("1,2")
    with pytest.raises(TaskError, match=r"Expected `digits`, an .npz file, or a folder"):
        read_arrays(tmp_path / reference)


def test_an_empty_folder_says_what_it_lacks(tmp_path):
    with pytest.raises(TaskError, match="found no arrays"):
        read_arrays(tmp_path)


def test_the_digits_are_the_same_from_their_file_and_from_the_library(monkeypatch):
    from_file = read_arrays("digits")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    from_library = read_arrays("digits")
    assert (from_file.inputs == from_library.inputs).all()
    assert (from_file.test_labels == from_library.test_labels).all()
