"""Labelled arrays from what people have: scikit-learn's digits, npz files, IDX files, folders of npy files.

| reference | what is read |
| --- | --- |
| `digits` | scikit-learn's 1,797 images of 8x8 pixels from 0 to 16; the last 360 are the test set |
| `FILE.npz` | `x_train`, `y_train` and, if there, `x_test`, `y_test`; or `x`, `y`; or `images`, `labels` |
| folder with IDX files | `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-…`, each plain or `.gz` |
| folder with npy files | the same names as in an npz file |

Bytes (`uint8`) are divided by 255; everything else is taken as it is. Nothing is unpickled.
"""

from __future__ import annotations

import gzip
import importlib.util
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int

from merganser._errors import TaskError

DIGITS_TRAINING = 1_437

_PAIRS = (("x_train", "y_train"), ("x", "y"), ("images", "labels"), ("data", "target"))
_TEST_PAIR = ("x_test", "y_test")
_UNREADABLE = (
    *(OSError, EOFError, ValueError, TypeError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What numpy, zip and gzip raise on damaged files."""

_IDX = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


@dataclass(frozen=True)
class LabelledArrays:
    """Inputs and classes, with a test set where the data come with one.

    Attributes:
        name: What people call the data.
        inputs: One array per sample.
        labels: Their classes, from 0.
        test_inputs: The same for the test set, or None.
        test_labels: Their classes, or None.
    """

    name: str
    inputs: Float32[np.ndarray, "samples ..."]
    labels: Int[np.ndarray, " samples"]
    test_inputs: Float32[np.ndarray, "test ..."] | None = None
    test_labels: Int[np.ndarray, " test"] | None = None

    @property
    def features(self) -> int:
        """Numbers per sample."""
        return math.prod(self.inputs.shape[1:])

    @property
    def classes(self) -> int:
        """Number of classes: one more than the largest label."""
        return int(self.labels.max()) + 1


def read_arrays(reference: str | Path) -> LabelledArrays:
    """Read labelled arrays.

    Args:
        reference: `digits`, or the path of a file or folder of the kinds above.

    Raises:
        TaskError: If there is nothing of that kind, or inputs and labels do not fit together.
    """
    if str(reference) == "digits":
        return _digits()
    path = Path(reference)
    if path.suffix == ".npz" and path.is_file():
        arrays = _read_npz(path)
    elif path.is_dir():
        arrays = _read_folder(path)
    else:
        found = "none of them" if path.exists() else "not there"
        raise TaskError(
            "Expected `digits`, an .npz file, or a folder of IDX or .npy files as task data, "
            f"but {path} is {found}."
        )
    return _labelled(path, arrays)


def _digits() -> LabelledArrays:
    table = _digits_table()
    images, labels, first = table[:, :-1].astype(np.float32), table[:, -1].astype(np.int64), DIGITS_TRAINING
    return LabelledArrays("digits", images[:first], labels[:first], images[first:], labels[first:])


def _digits_table() -> np.ndarray:
    """scikit-learn's table: 64 pixels and the digit per row.

    Read from its file where that lies as expected, because importing the library takes longer than a small run.
    """
    spec = importlib.util.find_spec("sklearn")
    file = Path(str(spec and spec.origin)).parent / "datasets" / "data" / "digits.csv.gz"
    if file.is_file():
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return np.column_stack([np.asarray(images), np.asarray(labels)])


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: np.asarray(file[key]) for key in file.files}
    except _UNREADABLE as error:
        raise TaskError(f"{path} cannot be read as npz: {error}") from error


def _read_folder(path: Path) -> dict[str, np.ndarray]:
    arrays = {
        key: _read_idx(file) for key, name in _IDX.items() if (file := _plain_or_gz(path / name)) is not None
    }
    for file in sorted(path.glob("*.npy")):
        try:
            arrays[file.stem] = np.load(file, allow_pickle=False)
        except _UNREADABLE as error:
            raise TaskError(f"{file} cannot be read as npy: {error}") from error
    return arrays


def _plain_or_gz(path: Path) -> Path | None:
    return next((p for p in (path, path.with_name(path.name + ".gz")) if p.is_file()), None)


def _read_idx(path: Path) -> np.ndarray:
    """The IDX format: two zero bytes, type (8: unsigned bytes), number of axes, sizes as big-endian uint32, data."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except _UNREADABLE as error:
        raise TaskError(f"{path} cannot be read: {error}") from error
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise TaskError(
            f"{path} is no IDX file of unsigned bytes: it begins with {data[:4].hex() or 'nothing'}."
        )
    axes = data[3]
    shape = struct.unpack_from(f">{axes}I", data, 4) if len(data) >= 4 + 4 * axes else (0,)
    body = np.frombuffer(data, dtype=np.uint8, offset=min(len(data), 4 + 4 * axes))
    if body.size != math.prod(shape):
        raise TaskError(
            f"{path} is truncated: its header promises {math.prod(shape)} values, it holds {body.size}."
        )
    return body.reshape(shape)


def _labelled(path: Path, arrays: Mapping[str, np.ndarray]) -> LabelledArrays:
    pair = next((p for p in _PAIRS if p[0] in arrays and p[1] in arrays), None)
    if pair is None:
        expected = ", ".join(f"`{x}` with `{y}`" for x, y in _PAIRS)
        raise TaskError(
            f"Expected {expected} in {path}, but found {', '.join(sorted(arrays)) or 'no arrays'}."
        )
    inputs, labels = _checked(path, arrays[pair[0]], arrays[pair[1]], pair)
    if not all(key in arrays for key in _TEST_PAIR):
        return LabelledArrays(path.stem, inputs, labels)
    test = _checked(path, arrays["x_test"], arrays["y_test"], _TEST_PAIR)
    if test[0].shape[1:] != inputs.shape[1:]:
        raise TaskError(
            f"{path}: training inputs have shape {inputs.shape[1:]}, test inputs {test[0].shape[1:]}."
        )
    return LabelledArrays(path.stem, inputs, labels, *test)


def _checked(
    path: Path, inputs: np.ndarray, labels: np.ndarray, names: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    x, y = names
    if labels.ndim != 1 or inputs.shape[:1] != labels.shape or not len(labels):
        raise TaskError(
            f"{path}: `{x}` and `{y}` must hold equally many samples, at least one, and labels must be one number "
            f"each; they have shapes {inputs.shape} and {labels.shape}."
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        example = labels.min() if labels.dtype.kind in "iuf" else labels[0]
        raise TaskError(
            f"{path}: `{y}` must hold class numbers from 0, but has {labels.dtype} such as {example}."
        )
    if inputs.dtype.kind not in "iuf":
        raise TaskError(f"{path}: `{x}` must hold numbers, but has {inputs.dtype}.")
    with np.errstate(over="ignore"):
        values = inputs.astype(np.float32)
    if not np.isfinite(values).all():
        raise TaskError(f"{path}: `{x}` must hold finite float32 numbers, but some are not finite.")
    scale = 255 if inputs.dtype == np.uint8 else 1
    return values / np.float32(scale), labels.astype(np.int64)
