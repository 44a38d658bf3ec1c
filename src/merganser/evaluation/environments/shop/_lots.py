"""Draws that are a function of what they are for: the same on every machine and in every version of Python."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeVar

_T = TypeVar("_T")


def lot(count: int, *key: object) -> int:
    """A number from 0 to below `count`, by a hash of the key."""
    return _hash(key) % count


def one(items: Sequence[_T], *key: object) -> _T:
    """One of the items, by a hash of the key."""
    return items[lot(len(items), *key)]


def some(items: Iterable[_T], count: int, *key: object) -> tuple[_T, ...]:
    """So many different items, in an order drawn by hashes of the key and each item."""
    return tuple(sorted(items, key=lambda item: _hash((*key, item)))[:count])


def _hash(key: Iterable[object]) -> int:
    text = "\n".join(map(str, key))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
