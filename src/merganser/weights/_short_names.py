"""Short names of models."""

from __future__ import annotations

from collections.abc import Sequence


def short_names(sources: Sequence[str]) -> dict[str, str]:
    """The ends of paths that tell models apart.

    Examples:
        >>> short_names(["runs/a/step-1", "runs/b/step-1"])
        {'runs/a/step-1': 'a/step-1', 'runs/b/step-1': 'b/step-1'}
        >>> short_names(["runs/a", "org/name"])
        {'runs/a': 'a', 'org/name': 'name'}
    """
    parts = {source: source.split("/") for source in sources}
    for depth in range(1, max(map(len, parts.values()), default=0) + 1):
        names = {source: "/".join(found[-depth:]) for source, found in parts.items()}
        if len(set(names.values())) == len(names):
            return names
    return {source: source for source in sources}
