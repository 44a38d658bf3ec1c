"""What licences ask of whoever merges models, as far as it decides whether and how their weights may be mixed.

**No legal advice.** Whether merged weights are a derivative work at all is unsettled; this table takes the careful side
and treats them as one, as nearly all model licences say of themselves.

| kind | asks of a merge | examples |
| --- | --- | --- |
| public domain | nothing | cc0-1.0, unlicense |
| permissive | keep the notices | mit, bsd, apache-2.0 |
| attribution | name the authors, say what was changed | cc-by, odc-by |
| weak copyleft | share what is mixed with it under the same licence | lgpl, mpl-2.0 |
| copyleft | share the whole under the same licence, with no further restriction | gpl, agpl, cc-by-sa |
| non-commercial | no commercial use | cc-by-nc, research licences |
| non-commercial copyleft | both of these | cc-by-nc-sa |
| community | rules of use that go with the weights | llama, gemma, openrail |
| no derivatives | do not share changed versions | cc-by-nd |
| unread | we have not read it | other, names of one's own |

The first three are in order: a stricter one takes in the lighter ones, whose notices are kept; so does every kind
below them. From weak copyleft on none takes in another, but for the pairs in `_TAKES_IN` and later versions of one
Creative Commons licence. What is weak about weak copyleft is meant for linked libraries; in a weighted sum nothing is
linked, so here it binds the whole as copyleft does. Non-commercial and community terms add up: the result is under all
of them. Copyleft allows no additions, so it clashes with them, and with other copyleft.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal[
    "public domain",
    "permissive",
    "attribution",
    "weak copyleft",
    "copyleft",
    "non-commercial",
    "non-commercial copyleft",
    "community",
    "no derivatives",
    "unread",
]

_TABLE: Mapping[Kind, tuple[str, ...]] = {
    "public domain": ("unlicense", "cc0-1.0", "pddl", "wtfpl"),
    "permissive": (
        "isc",
        "zlib",
        "mit",
        "ncsa",
        "postgresql",
        "bsl-1.0",
        "bsd",
        "bsd-2-clause",
        "bsd-3-clause",
        "bsd-3-clause-clear",
        "cdla-permissive-1.0",
        "cdla-permissive-2.0",
        "openmdw-1.0",
        "ecl-2.0",
        "afl-3.0",
        "artistic-2.0",
        "apache-2.0",
    ),
    "attribution": ("odc-by", "etalab-2.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0"),
    "weak copyleft": ("mpl-2.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "epl-1.0", "epl-2.0", "ms-pl"),
    "copyleft": ("gpl", "gpl-2.0", "gpl-3.0", "agpl-3.0", "eupl-1.1", "eupl-1.2", "osl-3.0", "odbl", "gfdl"),
    "non-commercial": (
        "h-research",
        "intel-research",
        "apple-amlr",
        "fair-noncommercial-research-license",
        "qwen-research",
        "tongyi-qianwen-research",
        "mrl",
        "mnpl",
    ),
    "community": (
        "llama2",
        "llama3",
        "llama3.1",
        "llama3.2",
        "llama3.3",
        "llama4",
        "gemma",
        "openrail",
        "openrail++",
        "bigscience-openrail-m",
        "bigscience-bloom-rail-1.0",
        "bigcode-openrail-m",
        "creativeml-openrail-m",
        "deepfloyd-if-license",
        "grok2-community",
        "tongyi-qianwen",
        "qwen",
        "deepseek",
    ),
}
"""Lightest first within a kind. The last of non-commercial and community are names under `license: other`."""

_KINDS: Mapping[str, Kind] = {name: kind for kind, names in _TABLE.items() for name in names}
_ORDER = {name: i for i, name in enumerate(name for names in _TABLE.values() for name in names)}
_LIGHT = ("public domain", "permissive", "attribution")
_SHARE_ALIKE = ("weak copyleft", "copyleft", "non-commercial copyleft")

_CREATIVE_COMMONS = re.compile(r"cc-by-(?P<parts>nc-nd|nc-sa|nc|nd|sa)-(?P<version>[1-4]\.[0-9])")
_COMMONS_KINDS: Mapping[str, Kind] = {
    "nc": "non-commercial",
    "nc-sa": "non-commercial copyleft",
    "sa": "copyleft",
    "nd": "no derivatives",
    "nc-nd": "no derivatives",
}

_TAKES_IN: Mapping[str, frozenset[str]] = {
    "lgpl-2.1": frozenset({"mpl-2.0"}),
    "lgpl-3.0": frozenset({"mpl-2.0"}),
    "gpl-2.0": frozenset({"mpl-2.0", "lgpl-2.1"}),
    # Creative Commons declared version 3 compatible with cc-by-sa-4.0, in this direction only (2015)
    "gpl-3.0": frozenset({"mpl-2.0", "lgpl-2.1", "lgpl-3.0", "cc-by-sa-4.0"}),
    "agpl-3.0": frozenset({"mpl-2.0", "lgpl-2.1", "lgpl-3.0", "gpl-3.0"}),
}
"""Licences that allow what is under others to be passed on under them."""

# the patent clause of Apache 2.0 is a further restriction under version 2 of the GNU licences
_REFUSES_LIGHT: Mapping[str, frozenset[str]] = {
    "gpl-2.0": frozenset({"apache-2.0"}),
    "lgpl-2.1": frozenset({"apache-2.0"}),
}

_OBLIGATIONS: Mapping[str, str] = {
    "permissive": "Keep the copyright and licence notices of {}.",
    "attribution": "Name the authors under {} and say that their work was changed.",
    "weak copyleft": "Share the merged weights under the licence; {} asks for it.",
    "copyleft": "Share the merged weights, and what they are made with, under the licence; {} asks for it.",
    "non-commercial": "No commercial use: {} forbids it.",
    "non-commercial copyleft": "No commercial use, and the same licence for what is shared: {} asks for it.",
    "community": "Pass on the text of {} and its rules of use with the model.",
    "llama2": 'Pass on the text of {}, its rules of use and the notice it asks for ("Llama 2 is licensed …").',
    "llama3": 'Begin the model\'s name with "Llama 3", display "Built with Meta Llama 3", pass on the text of {}.',
    "llama": 'Begin the model\'s name with "Llama", display "Built with Llama", pass on the text of {}.',
}


def kind_of(name: str) -> Kind:
    """The kind of a licence, by its identifier on the Hugging Face hub or its `license_name`.

    Examples:
        >>> kind_of("apache-2.0"), kind_of("cc-by-nc-sa-3.0"), kind_of("my own")
        ('permissive', 'non-commercial copyleft', 'unread')
    """
    commons = _CREATIVE_COMMONS.fullmatch(name)
    return _COMMONS_KINDS[commons["parts"]] if commons else _KINDS.get(name, "unread")


def known_names() -> tuple[str, ...]:
    """Every licence of the table; of the Creative Commons variants only the latest version."""
    return (*_KINDS, *(f"cc-by-{parts}-4.0" for parts in _COMMONS_KINDS))


def takes_in(first: str, second: str) -> bool:
    """Whether what is under the second licence may be part of something under the first.

    Examples:
        >>> takes_in("gpl-3.0", "mit"), takes_in("mit", "gpl-3.0"), takes_in("gpl-3.0", "gemma")
        (True, False, False)
    """
    kinds = kind_of(first), kind_of(second)
    if "unread" in kinds or first == second:
        return first == second
    if second in _REFUSES_LIGHT.get(first, ()):
        return False
    if kinds[1] in _LIGHT:
        return kinds[0] not in _LIGHT or _ORDER[first] > _ORDER[second]
    return second in _TAKES_IN.get(first, ()) or _is_later_commons(first, second)


def clash(first: str, second: str) -> bool:
    """Whether no result can keep the terms of both, as far as the table knows.

    Examples:
        >>> clash("gpl-3.0", "cc-by-nc-4.0"), clash("gpl-3.0", "lgpl-3.0"), clash("llama3", "cc-by-nc-4.0")
        (True, False, False)
    """
    kinds = kind_of(first), kind_of(second)
    if "unread" in kinds or takes_in(first, second) or takes_in(second, first):
        return False
    return any(kind in _SHARE_ALIKE for kind in kinds)


def obligation(name: str) -> str | None:
    """What a licence asks of whoever passes the merged model on, in a sentence; None if nothing is known."""
    own = name if name in _OBLIGATIONS else "llama" if name.startswith("llama") else kind_of(name)
    return _OBLIGATIONS[own].format(name) if own in _OBLIGATIONS else None


def _is_later_commons(first: str, second: str) -> bool:
    """Adaptations may be under a later version; one with share-alike takes in the one without."""
    new, old = _CREATIVE_COMMONS.fullmatch(first), _CREATIVE_COMMONS.fullmatch(second)
    if not (new and old) or "nd" in new["parts"] + old["parts"]:
        return False
    if old["version"] == "1.0" and old["parts"].endswith("sa"):  # has no clause on later versions
        return False
    same = new["parts"] == old["parts"] and new["version"] > old["version"]
    return same or (new["parts"] == "nc-sa" and old["parts"] == "nc")
