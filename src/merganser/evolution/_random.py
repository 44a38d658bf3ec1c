"""Random numbers keyed by what they are for, never drawn from a shared stream.

Child $k$ of a run with seed $s$ owns the numbers at position $k$ of a counter-based generator keyed by
$s$. Which other children exist, in which order they are made, and where a run was interrupted has no
influence on them.

| need | source | here |
| --- | --- | --- |
| a handful of uniforms per child | Philox counter $[2k, 2k + 2)$ | [`KeyedUniforms`][] |
| a generator for one purpose | SeedSequence over the key's parts | [`keyed_generator`][] |
| a normal vector as long as the genome | two windows of one table | [`NormalTable`][] |

References:
    Salmon et al., *Parallel Random Numbers: As Easy as 1, 2, 3*, SC 2011 (Philox).
    Salimans et al., *Evolution Strategies as a Scalable Alternative*, 2017,
    https://arxiv.org/abs/1703.03864 (a shared table of normal noise).
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from jaxtyping import Float, Float32

DRAWS_PER_CHILD = 8
"""Uniform numbers a child owns: two parents, weight, split point, two windows of noise, two to spare."""

_CHUNK = 1024
_TABLE_SLACK = 1 << 20


def _entropy(parts: tuple[int | str, ...]) -> list[int]:
    """Words for a SeedSequence; text goes through a hash that does not change between processes."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).digest()
    return [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]


def keyed_generator(*key: int | str) -> np.random.Generator:
    """A generator for one purpose, such as `keyed_generator(seed, "start", 3)`.

    Examples:
        >>> bool(keyed_generator(7, "start").random() == keyed_generator(7, "start").random())
        True
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(_entropy(key))))


class KeyedUniforms:
    """Eight uniform numbers in [0, 1) for every child of a run.

    Drawn a thousand children at a time because starting a generator costs more than the numbers; the
    chunk is a cache and has no influence on them.

    Args:
        seed: Seed of the run.
        stream: What the numbers are for; different streams are independent.
    """

    def __init__(self, seed: int, stream: str) -> None:
        self._key = np.random.SeedSequence(_entropy((seed, stream))).generate_state(2, np.uint64)
        self._first, self._chunk = -1, np.empty((0, DRAWS_PER_CHILD))

    def __call__(self, child: int) -> Float[np.ndarray, " draws"]:
        """The numbers of one child; the same at every call."""
        first = child - child % _CHUNK
        if first != self._first:
            counter = first * DRAWS_PER_CHILD // 4  # Philox makes four 64-bit words per counter
            generator = np.random.Generator(np.random.Philox(key=self._key, counter=counter))
            self._chunk, self._first = generator.random((_CHUNK, DRAWS_PER_CHILD)), first
        return self._chunk[child - first]


def two_of(count: int, u: float, v: float) -> tuple[int, int]:
    """Two different indices below `count`, drawn uniformly; twice the same one if there is only one.

    Args:
        count: Number of indices, at least 1.
        u: A uniform number in [0, 1).
        v: Another.
    """
    first = int(u * count)
    return (first, (first + 1 + int(v * (count - 1))) % count) if count > 1 else (0, 0)


class NormalTable:
    r"""Normal vectors for mutation: the sum of two windows into one table, $(T_{i:i+P} + T_{j:j+P})\,\sigma/\sqrt2$.

    Each coordinate is exactly $N(0, \sigma^2)$ over the draw of the table; two children share a window at
    the same place with a chance of about one in a million. Drawing the vector afresh would cost more
    than evaluating a child of a small network.

    Args:
        seed: Seed of the run; the table follows from it.
        size: Length P of the vectors.
        sigma: Standard deviation, at least 0.
    """

    def __init__(self, seed: int, size: int, sigma: float) -> None:
        if sigma < 0:
            raise ValueError(f"The mutation's standard deviation must be at least 0, but is {sigma:g}.")
        self._size = size
        table = keyed_generator(seed, "normal table").standard_normal(size + _TABLE_SLACK, np.float32)
        self._table = table * np.float32(sigma / math.sqrt(2))

    def add_to(self, vector: Float32[np.ndarray, " positions"], first: float, second: float) -> None:
        """Add the normal vector that belongs to two uniform numbers in [0, 1), in place."""
        for u in (first, second):
            start = int(u * _TABLE_SLACK)
            vector += self._table[start : start + self._size]
