"""Requests as rows of numbers.

| embedding | what it is | needs |
| --- | --- | --- |
| [`Hashed`][] | n-grams of characters (to 4, within words) and words (to 2), hashed, weighted by rarity | nothing |
| [`Hidden`][] | mean hidden state of the last block of a local model, standardised | a model |

Every digit is read as 0, so that sums look like sums. Rows have length 1, so that products are cosines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Rows: TypeAlias = "csr_matrix | Float[np.ndarray, 'requests d']"

_CHARACTERS, _WORDS = 2**13, 2**13
_FEWEST = 8  # rows that a view of the comparison must have
_WORD = r"(?u)\w+|[^\w\s]"
_DIGIT = re.compile(r"\d")


class Embedding(Protocol):
    """Texts as rows."""

    def __call__(self, texts: Sequence[str], /) -> Rows:
        """A row of length 1 for each text."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """What was fitted."""
        ...


@dataclass(frozen=True, eq=False)
class Hashed:
    """Hashed n-grams.

    Attributes:
        rarity: Weight of each hash: log of the inverse share of texts that have it, smoothed.
    """

    rarity: Float[np.ndarray, " d"]

    @classmethod
    def fit(cls, texts: Sequence[str]) -> Hashed:
        """Weights from the texts that a router is fitted on."""
        counts = np.asarray((_counted(texts) != 0).sum(axis=0)).ravel()
        return cls((np.log((1 + len(texts)) / (1 + counts)) + 1).astype(np.float32))

    def __call__(self, texts: Sequence[str], /) -> Rows:
        """A row of length 1 for each text; a text without words has a row of zeros."""
        from sklearn.preprocessing import normalize

        rows: Any = _counted(texts).multiply(self.rarity).tocsr()
        return cast("Rows", normalize(rows))

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights."""
        return {"rarity": self.rarity}


@dataclass(frozen=True, eq=False)
class Hidden:
    """Mean hidden states of a local model.

    Attributes:
        model: Its reference.
        centre: Mean of each dimension over the texts that the router is fitted on.
        scale: Deviation of each.
    """

    model: str
    centre: Float[np.ndarray, " d"]
    scale: Float[np.ndarray, " d"]

    @classmethod
    def fit(cls, texts: Sequence[str], model: str) -> Hidden:
        """Centre and scale from the texts that a router is fitted on.

        Raises:
            CheckpointError: If the model cannot be opened.
        """
        states = _states(model, texts)
        return cls(model, states.mean(axis=0), states.std(axis=0) + 1e-6)

    def __call__(self, texts: Sequence[str], /) -> Rows:
        """A row of length 1 for each text."""
        rows = (_states(self.model, texts) - self.centre) / self.scale
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    def arrays(self) -> dict[str, np.ndarray]:
        """Centre and scale."""
        return {"centre": self.centre, "scale": self.scale}


def _counted(texts: Sequence[str]) -> Any:
    from scipy.sparse import hstack

    read = [_DIGIT.sub("0", text.casefold()) for text in texts]
    parts = [np.sqrt(vectoriser.transform(read)) for vectoriser in _vectorisers()]
    return hstack(parts, format="csr")


@cache
def _vectorisers() -> tuple[Any, Any]:
    from sklearn.feature_extraction.text import HashingVectorizer

    common: dict[str, Any] = {"norm": None, "alternate_sign": False, "lowercase": False, "dtype": np.float32}
    return (
        HashingVectorizer(analyzer="char_wb", ngram_range=(1, 4), n_features=_CHARACTERS, **common),
        HashingVectorizer(token_pattern=_WORD, ngram_range=(1, 2), n_features=_WORDS, **common),
    )


def _states(model: str, texts: Sequence[str]) -> Float[np.ndarray, "texts d"]:
    from merganser.comparison import View, features

    alive = _opened(model)
    padded = [*texts, *[texts[-1]] * max(0, _FEWEST - len(texts))]
    [found] = features(alive, [text or " " for text in padded], View(rows=len(padded)))
    return list(found.values())[-1][: len(texts)].astype(np.float64)


@cache
def _opened(model: str) -> Any:
    from merganser.models import load

    return load(model)
