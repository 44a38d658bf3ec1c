"""Rows of scores as few bytes: one bit a sample where all are 0 or 1, four bytes otherwise."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

_BITS, _FLOATS = b"b", b"f"


def pack_scores(scores: Float[np.ndarray, " samples"], *, binary: bool) -> bytes:
    """Bytes of a row of scores; other than binary ones are rounded to float32.

    Examples:
        >>> len(pack_scores(np.ones(16), binary=True)), len(pack_scores(np.ones(16), binary=False))
        (3, 65)
    """
    if binary:
        return _BITS + np.packbits(scores > 0.5).tobytes()
    return _FLOATS + scores.astype("<f4").tobytes()


def unpack_scores(packed: bytes, samples: int) -> Float[np.ndarray, " samples"]:
    """The row of `samples` scores in these bytes, as float64.

    Raises:
        ValueError: If they hold no such row.
    """
    kind, body = packed[:1], np.frombuffer(packed, dtype=np.uint8, offset=1)
    if kind == _BITS and len(body) == -(-samples // 8):
        return np.unpackbits(body, count=samples).astype(np.float64)
    if kind == _FLOATS and len(body) == 4 * samples:
        return body.view("<f4").astype(np.float64)
    raise ValueError(
        f"Expected a packed row of {samples} scores, but found {len(packed)} bytes of kind {kind!r}."
    )


def pack_mask(mask: Bool[np.ndarray, " samples"]) -> bytes:
    """Bytes of a mask, one bit a sample."""
    return np.packbits(mask).tobytes()


def unpack_mask(packed: bytes, samples: int) -> Bool[np.ndarray, " samples"]:
    """The mask of `samples` samples in these bytes."""
    return np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=samples).astype(bool)
