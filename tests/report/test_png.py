"""The picture holds the scores, to one part in fifteen."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.report._png import data_uri, matrix_png


def decoded(png):
    """Palette indices of every pixel, read back by the rules of the format."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length)[0] == zlib.crc32(kind + body)
        chunks[kind], at = body, at + 12 + length
    width, height, depth, colour = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    assert (depth, colour) == (4, 3)
    assert len(chunks[b"PLTE"]) == 3 * len(chunks[b"tRNS"]) == 48
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert (lines[:, 0] == 2).all()
    packed = np.cumsum(lines[:, 1:], axis=0, dtype=np.uint8)
    return np.stack([packed >> 4, packed & 15], axis=2).reshape(height, -1)[:, :width]


@given(st.integers(0, 99), st.integers(1, 5), st.integers(1, 9))
def test_every_score_is_drawn_in_its_place(seed, rows, columns):
    scores = np.random.default_rng(seed).random((rows, columns))
    pixels = decoded(matrix_png(scores, colour=(1, 2, 3), height=4, gap=1)).reshape(rows, 4, columns)
    assert pixels[:, 0] / 15 == pytest.approx(scores, abs=1 / 30)
    assert (pixels[:, 1] == pixels[:, 0]).all()
    assert (pixels[:, 3] == 0).all()


def test_repeated_lines_cost_next_to_nothing():
    scores = (np.random.default_rng(0).random((20, 2_000)) > 0.5).astype(float)
    small, tall = (len(matrix_png(scores, colour=(0, 0, 0), height=h, gap=1)) for h in (2, 20))
    assert tall < 1.2 * small + 4_000


def test_the_address_holds_the_picture():
    assert data_uri(b"\x89PNG").startswith("data:image/png;base64,iVBORw")
