"""Element types agree with torch and numpy, and specs refuse what no tensor has."""

import numpy as np
import pytest
import torch

from merganser.weights import DTYPES, TensorSpec
from merganser.weights._decode import decode

rows = pytest.mark.parametrize("row", DTYPES.values(), ids=DTYPES.keys())


@rows
def test_itemsize_and_floating_are_those_of_torch(row):
    dtype = getattr(torch, row.library)
    assert row.itemsize == dtype.itemsize == np.dtype(row.storage).itemsize
    assert row.is_floating == dtype.is_floating_point


@rows
def test_every_bit_pattern_decodes_as_torch_decodes_it(row):
    count = min(2 ** (8 * row.itemsize), 65536) * row.itemsize
    raw = np.arange(count // row.itemsize, dtype=f"<u{row.itemsize}").view(np.uint8)
    raw = raw % 2 if row.name == "BOOL" else raw
    expected = torch.from_numpy(raw).view(getattr(torch, row.library))
    expected = expected.to(torch.float32) if row.storage[1] == "u" and row.is_floating else expected
    np.testing.assert_array_equal(decode(raw.view(row.storage), row.name), expected.numpy())


def test_sizes_follow_from_type_and_shape():
    spec = TensorSpec("w", "BF16", (3, 0, 5))
    assert (spec.numel, spec.nbytes, TensorSpec("s", "F64", ()).nbytes) == (0, 0, 8)


@pytest.mark.parametrize(
    ("dtype", "shape", "message"),
    [
        ("F31", (1,), "unknown element type 'F31'. Known are: F64, F32"),
        ("F32", (-1,), r"non-negative integers, but is \(-1,\)"),
        ("F32", (True,), r"\(True,\)"),
        ("F32", (1.0,), r"\(1.0,\)"),
        ("F32", [1], r"must be a tuple .* \[1\]"),
    ],
)
def test_impossible_specs_are_refused(dtype, shape, message):
    with pytest.raises(ValueError, match=message):
        TensorSpec("w", dtype, shape)
