"""BibTeX of what was used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from merganser.merging._combination import Combination
from merganser.merging._dialect import method_named
from merganser.merging._layer_path import LayerPath
from merganser.merging._recipe import Recipe

_CORE_SPACE = "2509.17786"
_PATHS = "2403.13187"
_SOURCE = re.compile(r"^  (?:eprint|url) = \{(.*)\}", re.MULTILINE)


@cache
def references() -> Mapping[str, str]:
    """BibTeX entries by their sources: arXiv numbers or addresses."""
    text = files("merganser.merging").joinpath("references.bib").read_text(encoding="utf-8")
    entries = (f"@{entry.strip()}\n" for entry in re.split(r"^@", text, flags=re.MULTILINE)[1:])
    return MappingProxyType({source: entry for entry in entries for source in _SOURCE.findall(entry)})


def citations(sources: Iterable[str]) -> str:
    """The entries of some sources, each once, as one BibTeX text.

    Args:
        sources: arXiv numbers or addresses, such as methods have in `rule.paper`.

    Raises:
        ValueError: If one is not known.

    Examples:
        >>> print(citations(["2306.01708"]).splitlines()[0])
        @inproceedings{yadav2023ties,
    """
    known = references()
    wanted = dict.fromkeys(sources)
    if missing := next((source for source in wanted if source not in known), None):
        raise ValueError(f"There is no reference with the source {missing!r}.")
    return "\n".join(known[source] for source in wanted)


def sources_of(recipe: Recipe) -> tuple[str, ...]:
    """Sources of the methods that a recipe uses, those of models made on the way first; none for a combination.

    Where adapters were merged in core space, its own source comes last.
    """
    if isinstance(recipe, LayerPath):
        return (_PATHS,)
    if isinstance(recipe, Combination):
        return ()
    before = [s for each in recipe.ingredients if each.recipe is not None for s in sources_of(each.recipe)]
    own = method_named(recipe.blueprint.method, recipe.blueprint.dialect).rule.paper
    space = [_CORE_SPACE] if recipe.blueprint.space == "core" else []
    return tuple(dict.fromkeys([*before, own, *space]))
