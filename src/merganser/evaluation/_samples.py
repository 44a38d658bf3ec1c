"""Samples: what a task asks, known by the hash of their content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class Samples:
    """The samples of a task, in order.

    Attributes:
        hashes: Hash of each sample's content, 16 hex digits; what keeps splits apart.
        labels: Class of each sample, for tasks that have classes.
        split: Name of the split they belong to: `search`, `validation`, `test` or `all`.
    """

    hashes: tuple[str, ...]
    labels: Int[np.ndarray, " samples"] | None = None
    split: str = "all"

    def __len__(self) -> int:
        return len(self.hashes)

    @cached_property
    def digest(self) -> str:
        """Hash over all samples in order."""
        return hashlib.blake2b("".join(self.hashes).encode(), digest_size=16).hexdigest()


def drawn(hashes: Sequence[str], ids: Iterable[int], count: int, seed: int) -> list[int]:
    """Some of these positions, by the hashes of the contents there: a larger count keeps what a smaller one drew.

    Args:
        hashes: Hash of each sample's content.
        ids: Positions to draw from.
        count: How many to draw.
        seed: Another seed draws others.
    """

    def lot(i: int) -> bytes:
        return hashlib.blake2b(f"limit {seed} {hashes[i]}".encode()).digest()

    return sorted(ids, key=lot)[:count]


def content_hashes(contents: Iterable[bytes]) -> tuple[str, ...]:
    """Hash of each sample's content, 16 hex digits.

    Examples:
        >>> content_hashes([b"a", b"a"])[0] == content_hashes([b"a"])[0]
        True
    """
    return tuple(hashlib.blake2b(content, digest_size=8).hexdigest() for content in contents)
