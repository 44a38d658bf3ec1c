"""Mazes drawn with their shortest routes, many at once.

    make bench-mazes

| figure | what |
| --- | --- |
| ours | CPU-seconds for all of them, walls and routes |
| a_second | mazes of one CPU-second |
| floor | CPU-seconds to look at the four neighbours of one cell of each maze, for every cell twice: into it, and back |
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from _measure import report

from merganser.thinking.mazes import FAMILIES, draw_mazes, routes


def main() -> None:
    """Measure all families and sizes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[9, 39, 99])
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    for family in FAMILIES:
        for size in asked.sizes:
            measure(family, size, asked.rounds)


def measure(family: str, size: int, rounds: int) -> None:
    """One family and size; a quarter of a million cells in all."""
    number = 4 * 250_000 // (size - 1) ** 2

    def work() -> None:
        routes(draw_mazes(number, size, family=family, rng=np.random.default_rng(0)))

    wide, cells = size // 2 + 2, (size // 2) ** 2
    around = np.array([-wide, wide, -1, 1])
    new, now = np.ones(number * wide**2, dtype=bool), np.arange(number) * wide**2 + wide + 1

    def look() -> None:
        for _ in range(2 * cells):
            new.take(now[:, None] + around)

    ours, floor = median(work, rounds), median(look, rounds)
    figures = {"ours": ours, "floor": floor, "vs_floor": floor / ours, "a_second": number / ours}
    report("mazes", f"{family} {size}x{size}, {number} mazes", figures)


def median(work: Callable[[], object], rounds: int) -> float:
    """CPU-seconds of some work, the median of several times."""
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
