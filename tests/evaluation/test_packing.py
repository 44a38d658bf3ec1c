"""Rows as bytes: what goes in comes out, and other bytes are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.evaluation import pack_mask, pack_scores, unpack_mask, unpack_scores


@given(st.lists(st.sampled_from([0.0, 1.0]), max_size=70))
def test_binary_rows_come_back_and_take_a_bit_a_sample(row):
    packed = pack_scores(np.array(row), binary=True)
    assert len(packed) == 1 + -(-len(row) // 8)
    again = unpack_scores(packed, len(row))
    assert again.tolist() == row
    assert again.dtype == np.float64


@given(st.lists(st.floats(0, 1, width=32), max_size=40))
def test_other_rows_come_back_to_the_bit_if_they_are_float32(row):
    packed = pack_scores(np.array(row, dtype=np.float64), binary=False)
    assert unpack_scores(packed, len(row)).tolist() == row


@given(st.lists(st.floats(0, 1), max_size=40))
def test_rounding_once_is_rounding_for_ever_and_stays_within_nought_and_one(row):
    once = unpack_scores(pack_scores(np.array(row), binary=False), len(row))
    assert ((once >= 0) & (once <= 1)).all()
    np.testing.assert_allclose(once, row, atol=1e-7)
    assert pack_scores(once, binary=False) == pack_scores(np.array(row), binary=False)


@given(st.lists(st.booleans(), max_size=70))
def test_masks_come_back(mask):
    assert unpack_mask(pack_mask(np.array(mask, dtype=bool)), len(mask)).tolist() == mask


@pytest.mark.parametrize(
    ("packed", "samples"),
    [
        (b"", 3),
        (b"b", 3),
        (b"b\x00\x00", 3),
        (b"f\x00\x00\x00\x00", 2),
        (b"f\x00", 0),
        (b"x\x00", 3),
        (b"b\x00", 9),
    ],
)
def test_bytes_that_hold_no_such_row_are_refused(packed, samples):
    with pytest.raises(ValueError, match=r"packed row|offset"):
        unpack_scores(packed, samples)


def test_the_formats_are_those_of_the_journal():
    assert pack_scores(np.array([1.0, 0, 1, 1, 0, 0, 0, 0, 1]), binary=True) == b"b\xb0\x80"
    assert pack_scores(np.array([1.0]), binary=False) == b"f\x00\x00\x80\x3f"
    assert pack_mask(np.array([True, False, True])) == b"\xa0"
