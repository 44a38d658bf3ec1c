"""Which papers a run rests on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from merganser.run._directory import RunDirectory

SEARCHES: Mapping[str, tuple[str, ...]] = {
    "natural-niches": ("2508.16204",),
    "ga": ("2508.16204",),
    "map-elites": ("1504.04909", "2508.16204"),
    "cma-es": ("1604.00772", "2403.13187"),
    "random": (),
    "brute-force": (),
}
"""Sources of each search, by its name."""

_SLERP = "https://dl.acm.org/doi/10.1145/325334.325242"


def sources_of_run(run: str | Path) -> tuple[str, ...]:
    """Sources of a run's search, and of the rule by which it combines models: arXiv numbers or addresses.

    Raises:
        RunError: If there is no run.
    """
    settings = RunDirectory(Path(run)).settings()
    by_slerp = settings.genome.rule == "slerp"
    return (*SEARCHES[settings.search.method], *([_SLERP] if by_slerp else []))
