"""Samples that are the same, and samples that are nearly the same.

The same content twice would count twice: only the first is kept. *Nearly* the same are two questions whose letters and
digits share four fifths of their 5-character pieces (Jaccard similarity); candidates are found by MinHash, 64 values in
16 bands of 4, and then compared exactly. They stay where they are, but are told: a held-out sample that is nearly a
search sample flatters.

References:
    Broder, *On the resemblance and containment of documents*, 1997.
"""

from __future__ import annotations

import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt64

from merganser.evaluation._question import Question

_PIECE = 5
_BANDS, _ROWS = 16, 4
_SIMILAR = 0.8
_MOST_COMPARED = 32


class Near(NamedTuple):
    """A held-out sample that is nearly one of the search."""

    held_out: int
    search: int


def without_doubles(
    questions: Sequence[Question], hashes: Sequence[str]
) -> tuple[tuple[Question, ...], tuple[str, ...]]:
    """The first of each content, and a note about the others.

    Args:
        questions: Questions, perhaps some twice.
        hashes: Hash of each one's content.
    """
    first: dict[str, Question] = {}
    doubles = conflicts = 0
    for question, each in zip(questions, hashes, strict=True):
        if each in first:
            doubles += 1
            conflicts += question.answers != first[each].answers
        else:
            first[each] = question
    if not doubles:
        return tuple(questions), ()
    other = f", {conflicts:,} of them with another answer" if conflicts else ""
    note = f"{doubles:,} questions stand there more than once{other}; the first of each is kept."
    return tuple(first.values()), (note,)


def near_doubles(search: Sequence[str], held_out: Sequence[str]) -> list[Near]:
    """Held-out texts that are nearly one of the search's, each with the first such one.

    Args:
        search: Texts of the search.
        held_out: Texts of validation or test.
    """
    pieces = [_pieces(text) for text in search]
    buckets: dict[bytes, list[int]] = defaultdict(list)
    for i, each in enumerate(pieces):
        for key in _keys(each):
            buckets[key].append(i)
    found = []
    for j, text in enumerate(held_out):
        mine = _pieces(text)
        candidates = dict.fromkeys(i for key in _keys(mine) for i in buckets.get(key, ())[:_MOST_COMPARED])
        twin = next((i for i in sorted(candidates) if _similarity(mine, pieces[i]) >= _SIMILAR), None)
        if twin is not None:
            found.append(Near(j, twin))
    return found


def _pieces(text: str) -> UInt64[np.ndarray, " pieces"]:
    """Hashes of the distinct pieces of a text, blanks and punctuation left out."""
    plain = "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())
    pieces = {plain[i : i + _PIECE] for i in range(max(1, len(plain) - _PIECE + 1))}
    return np.array(sorted(zlib.crc32(piece.encode()) for piece in pieces), dtype=np.uint64)


def _similarity(a: np.ndarray, b: np.ndarray) -> float:
    shared = len(np.intersect1d(a, b))
    return shared / (len(a) + len(b) - shared)


def _keys(pieces: UInt64[np.ndarray, " pieces"]) -> list[bytes]:
    """One key per band; similar texts share one."""
    multipliers, shifts = _HASHES
    values = (multipliers[:, None] * pieces + shifts[:, None]) >> np.uint64(32)
    bands = values.min(axis=1).reshape(_BANDS, _ROWS)
    return [bytes([k]) + band.tobytes() for k, band in enumerate(bands)]


def _draw_hashes() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.Generator(np.random.Philox(key=_PIECE))
    drawn = generator.integers(0, 2**63, (2, _BANDS * _ROWS), dtype=np.uint64)
    return drawn[0] * np.uint64(2) + np.uint64(1), drawn[1]


_HASHES = _draw_hashes()
