"""A score matrix as a PNG of one colour, see-through where scores are low: for light and dark pages alike.

Written by hand, since the format needs little for this: a palette of sixteen strengths of one colour, half
a byte a pixel, each row compressed as its difference from the row above (which is nothing where rows
repeat).
"""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from jaxtyping import Float

_LEVELS = 16


def matrix_png(
    scores: Float[np.ndarray, "rows columns"], *, colour: tuple[int, int, int], height: int = 12, gap: int = 2
) -> bytes:
    """The matrix as a PNG; one pixel a column.

    Args:
        scores: What to draw, in [0, 1].
        colour: Red, green and blue of score 1, 0 to 255 each.
        height: Pixels of each row.
        gap: How many of them are left empty between rows.
    """
    rows, columns = scores.shape
    levels = np.zeros((rows, height, columns + columns % 2), dtype=np.uint8)
    levels[:, : height - gap, :columns] = np.rint(scores * (_LEVELS - 1))[:, None, :]
    levels = levels.reshape(rows * height, -1)
    packed = levels[:, 0::2] << 4 | levels[:, 1::2]
    above = np.vstack([np.zeros_like(packed[:1]), packed[:-1]])
    lines = np.insert(packed - above, 0, 2, axis=1)  # filter type 2: difference from the line above
    strengths = bytes(round(255 * k / (_LEVELS - 1)) for k in range(_LEVELS))
    header = struct.pack(">IIBBBBB", columns, rows * height, 4, 3, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        (b"PLTE", bytes(colour) * _LEVELS),
        (b"tRNS", strengths),
        (b"IDAT", zlib.compress(lines.astype(np.uint8).tobytes(), 9)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def data_uri(png: bytes) -> str:
    """The picture as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
