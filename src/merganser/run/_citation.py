"""Which papers a run rests on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from merganser.merging import method_named
from merganser.run._directory import RunDirectory

SEARCHES: Mapping[str, tuple[str, ...]] = {
    "natural-niches": ("2508.16204",),
    "ga": ("2508.16204",),
    "map-elites": ("1504.04909", "2508.16204"),
    "nsga2": ("https://doi.org/10.1109/4235.996017", "https://doi.org/10.1007/978-3-642-01020-0_18"),
    "cma-es": ("1604.00772", "2403.13187", "https://doi.org/10.1109/CEC.2005.1554902"),
    "cat-cma": ("2504.07884",),
    "random": (),
    "brute-force": (),
}
"""Sources of each search, by its name."""

_EVOLVED_RECIPES = "2403.13187"
_EXPERTS = "2501.06252"
_SLERP = "https://dl.acm.org/doi/10.1145/325334.325242"


def sources_of_run(run: str | Path) -> tuple[str, ...]:
    """Sources of a run's search, and of how it combines models: arXiv numbers or addresses.

    Raises:
        RunError: If there is no run.
    """
    settings = RunDirectory(Path(run)).settings()
    genome = settings.genome
    if genome.kind == "path":
        rule = [_EVOLVED_RECIPES]
    elif genome.is_recipe:
        rule = [_EVOLVED_RECIPES, method_named(str(genome.method)).rule.paper]
    else:
        rule = [_SLERP] if genome.rule == "slerp" else []
    experts = [] if settings.adapt is None else [_EXPERTS]
    return tuple(dict.fromkeys([*SEARCHES[settings.search.method], *rule, *experts]))
