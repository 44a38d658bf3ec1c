"""Which walls are alike but for their position: small mazes have few, so that held-out ones must be kept apart."""

from __future__ import annotations

import zlib

import numpy as np
from jaxtyping import Int

from merganser.thinking.mazes._mazes import Mazes


def wall_codes(mazes: Mazes) -> Int[np.ndarray, " mazes"]:
    """A number for the walls of each maze, the same in all eight positions and for all starts and goals.

    Different walls have, but for one pair in four milliards, different numbers.

    Args:
        mazes: Square mazes.

    Examples:
        >>> passages = np.zeros((2, 3, 3), dtype=bool)
        >>> passages[0, 1, :2] = passages[1, 1:, 1] = True  # open to the left, open below
        >>> places = np.array([[1, 1], [1, 1]])
        >>> codes = wall_codes(Mazes(passages, places, places))
        >>> bool(codes[0] == codes[1])
        True
    """
    turned = [np.rot90(mazes.passages, quarters, axes=(1, 2)) for quarters in range(4)]
    positions = [*turned, *(each[:, :, ::-1] for each in turned)]
    packed = [np.packbits(each.reshape(len(mazes), -1), axis=1) for each in positions]
    return np.array(
        [zlib.crc32(min(each[k].tobytes() for each in packed)) for k in range(len(mazes))], dtype=np.int64
    )
