"""Which number tells pairs that should be merged from pairs that should be routed? From what the others measured.

    make foretell-thresholds

A pair should be routed where a router that knows the task has at least two points more than the better of the average
and model stock. For every predictor: the threshold of the best balanced accuracy over both kinds of models, and how
well one does that was chosen on one kind alone and is tried on the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from _foretell import HERE, PREDICTORS, lines, loss_beside_router

KINDS = ("digits", "llama")
POINTS = 0.02
SIGNS = {"opposite": 1, "length": 1, "distance": 1, "unequal": 1, "line": 1}
"""Predictors of which large values speak for routing; of the others small ones do."""


class Kind:
    """Pairs of one kind of models.

    Args:
        found: What was measured.
        key: The predictor; values are turned so that large ones speak for routing.
    """

    def __init__(self, found: Sequence[dict[str, Any]], key: str) -> None:
        self.values = SIGNS.get(key, -1) * np.array([line["predictors"][key] for line in found])
        self.routed = np.array([loss_beside_router(line) > POINTS for line in found])

    def accuracy(self, threshold: float) -> float:
        """Balanced accuracy of a threshold."""
        said = self.values > threshold
        return float((said[self.routed].mean() + (~said[~self.routed]).mean()) / 2)


def best(kinds: Sequence[Kind]) -> float:
    """The threshold of the best mean accuracy; halfway between two values."""
    values = np.unique(np.concatenate([kind.values for kind in kinds]))
    halves = [(a + b) / 2 for a, b in pairwise(values)]
    return max(halves, key=lambda t: np.mean([kind.accuracy(t) for kind in kinds]))


def main() -> None:
    """Print the table."""
    found = {name: lines(HERE / "results" / f"foretell_{name}.jsonl") for name in KINDS}
    print("| predictor | threshold | digits | llama | from digits, on llama | from llama, on digits |")
    print("| --- | --- | --- | --- | --- | --- |")
    for key, words in PREDICTORS.items():
        first, second = (Kind(found[name], key) for name in KINDS)
        both, one, other = best([first, second]), best([first]), best([second])
        cells = [first.accuracy(both), second.accuracy(both), second.accuracy(one), first.accuracy(other)]
        print(
            f"| {words} | {SIGNS.get(key, -1) * both:.3f} |", " | ".join(f"{cell:.2f}" for cell in cells), "|"
        )
    for key, below in (("overlap", 0.167), ("lowest_cka", 0.951)):
        for name in KINDS:
            kind = Kind(found[name], key)
            said = kind.values > -below
            print(
                f"{name}, {PREDICTORS[key]} below {below}: {kind.routed[said].sum()} of {said.sum()}; others "
                f"{kind.routed[~said].sum()} of {(~said).sum()}"
            )


if __name__ == "__main__":
    main()
