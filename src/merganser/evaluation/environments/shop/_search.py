r"""A small search engine: BM25.

A text $d$ is as good for the words $q$ as
$\sum_{w \in q} \ln\!\left(1 + \frac{N - n_w + 0.5}{n_w + 0.5}\right) \cdot
\frac{f_{wd} (k + 1)}{f_{wd} + k (1 - b + b\, |d| / \overline{|d|})}$, where $f_{wd}$ counts $w$ in $d$, $n_w$ the texts
that have it, $N$ all texts; $k = 1.5$, $b = 0.75$.

References:
    Robertson and Zaragoza, *The Probabilistic Relevance Framework: BM25 and Beyond*, 2009.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

_WORD = re.compile(r"[a-z0-9]+")
_K, _B = 1.5, 0.75


class Index:
    """Texts by their words.

    Args:
        texts: What is searched.

    Examples:
        >>> Index(["red shoes", "blue shoes", "red red wine"]).find("Red shoes", 2)
        [0, 2]
    """

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(_WORD.findall(text.lower())) for text in texts]
        lengths = [count.total() for count in counts]
        mean = sum(lengths) / max(len(lengths), 1)
        self._found: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for i, (count, length) in enumerate(zip(counts, lengths, strict=True)):
            for word, n in count.items():
                worth = n * (_K + 1) / (n + _K * (1 - _B + _B * length / mean))
                self._found[word].append((i, worth))
        self._size = len(texts)

    def find(self, words: str, most: int) -> list[int]:
        """Positions of the best texts for these words, the best first; of equals the earlier.

        Args:
            words: What is looked for; each word counts once.
            most: How many at most; texts without any of the words are never found.
        """
        scores: dict[int, float] = defaultdict(float)
        for word in dict.fromkeys(_WORD.findall(words.lower())):
            found = self._found.get(word, ())
            rarity = math.log(1 + (self._size - len(found) + 0.5) / (len(found) + 0.5))
            for i, worth in found:
                scores[i] += rarity * worth
        return sorted(scores, key=lambda i: (-scores[i], i))[:most]
