"""Under which licence a model is, by what lies beside its weights.

| looked at, in this order | what counts |
| --- | --- |
| `README.md` | `license`, `license_name` and `license_link` between the lines of dashes at its top |
| `LICENSE`, `LICENCE`, `COPYING`, also with an ending | the first title of a licence in its text that is known |
| settings of a GGUF file | `general.license`, `general.license.name`, `general.license.link` |

Names are the identifiers of the Hugging Face hub. What says nothing is `unknown`, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merganser.merging.card._front_matter import front_matter, text_of
from merganser.merging.card._terms import Kind, kind_of
from merganser.weights import Checkpoint

_LICENCE_FILE = re.compile(r"(licen[sc]e|copying)([._-].*)?", re.IGNORECASE)

_TITLES: tuple[tuple[str, str], ...] = (
    (r"apache license,? version 2\.0", "apache-2.0"),
    (r"permission is hereby granted, free of charge, to any person obtaining a copy", "mit"),
    (r"redistribution and use in source and binary forms.{,2000}neither the name", "bsd-3-clause"),
    (r"redistribution and use in source and binary forms", "bsd-2-clause"),
    (r"permission to use, copy, modify, and(/or)? distribute this software for any purpose with", "isc"),
    (r"this is free and unencumbered software released into the public domain", "unlicense"),
    (r"gnu affero general public license,? version 3", "agpl-3.0"),
    (r"gnu lesser general public license,? version 3", "lgpl-3.0"),
    (r"gnu lesser general public license,? version 2\.1", "lgpl-2.1"),
    (r"gnu library general public license", "lgpl"),
    (r"gnu general public license,? version 3", "gpl-3.0"),
    (r"gnu general public license,? version 2", "gpl-2.0"),
    (r"boost software license - version 1\.0", "bsl-1.0"),
    (r"mozilla public license,? version 2\.0", "mpl-2.0"),
    (r"cc0 1\.0 universal", "cc0-1.0"),
    (r"llama 2 community license agreement", "llama2"),
    (r"llama 3 community license agreement", "llama3"),
    (r"llama (?P<version>3\.[1-3]|4) community license agreement", "llama{version}"),
    (r"gemma terms of use", "gemma"),
    (r"tongyi qianwen research license agreement", "tongyi-qianwen-research"),
    (r"tongyi qianwen license agreement", "tongyi-qianwen"),
    (r"qwen research license agreement", "qwen-research"),
    (r"qwen license agreement", "qwen"),
    (r"mistral ai research license", "mrl"),
    (r"mistral ai non-production license", "mnpl"),
    (r"deepseek license agreement", "deepseek"),
    (r"creativeml open ?rail\+\+-m", "openrail++"),
    (r"creativeml open ?rail-m", "creativeml-openrail-m"),
    (r"bigcode open ?rail-m", "bigcode-openrail-m"),
    (r"bigscience open ?rail-m", "bigscience-openrail-m"),
    (r"bigscience rail license", "bigscience-bloom-rail-1.0"),
)
_COMMONS = re.compile(
    r"attribution(?P<parts>(-(noncommercial|sharealike|noderiv(ative)?s))*) (?P<version>[1-4]\.[0-9])"
)
_OWN_NAMES = ("tongyi-qianwen", "tongyi-qianwen-research", "qwen-research", "qwen", "mrl", "mnpl", "deepseek")
"""Licences that have no identifier on the hub, but are `license: other` with these names."""


@dataclass(frozen=True, slots=True)
class Licence:
    """The licence of a model.

    Args:
        identifier: As the hub has it: `apache-2.0`, `llama3`, `other`, `unknown`.
        name: What `other` stands for.
        link: Where its text is.
    """

    identifier: str
    name: str | None = None
    link: str | None = None

    @property
    def known_as(self) -> str:
        """The name that tells it from others."""
        return self.name or self.link or "other" if self.identifier == "other" else self.identifier

    @property
    def kind(self) -> Kind:
        """What it asks of a merge."""
        return kind_of(self.known_as)


UNKNOWN = Licence("unknown")


def licence_of(checkpoint: Checkpoint) -> Licence:
    """The licence of a model, by what lies beside its weights; `unknown` if nothing that can be read does."""
    return (
        _declared(front_matter(checkpoint))
        or _in_files(checkpoint.home)
        or _declared(_settings(checkpoint.metadata))
        or UNKNOWN
    )


def licence_named(name: str) -> Licence:
    """The licence with an identifier or a `license_name`.

    Examples:
        >>> licence_named("Apache-2.0"), licence_named("qwen")
        (Licence(identifier='apache-2.0', name=None, link=None), Licence(identifier='other', name='qwen', link=None))
    """
    known = name.strip().lower()
    is_identifier = known not in _OWN_NAMES and (kind_of(known) != "unread" or known in ("other", "unknown"))
    own = known if kind_of(known) != "unread" else name.strip()
    return Licence(known) if is_identifier else Licence("other", own)


def _declared(settings: Mapping[str, Any]) -> Licence | None:
    found, name, link = (settings.get(key) for key in ("license", "license_name", "license_link"))
    listed = [str(each) for each in (found if isinstance(found, list) else [found]) if each]
    link = link if isinstance(link, str) else None
    if len(listed) > 1:
        return Licence("other", " and ".join(listed), link)
    if not listed or licence_named(listed[0]) == UNKNOWN:
        return None
    licence = licence_named(listed[0])
    if licence.identifier == "other" and licence.name is None and isinstance(name, str) and name.strip():
        licence = licence_named(name)
    return Licence(licence.identifier, licence.name, link)


def _settings(metadata: Mapping[str, str]) -> dict[str, str | None]:
    """What the metadata of a GGUF file say, under the names of a front matter."""
    return {
        "license": metadata.get("general.license"),
        "license_name": metadata.get("general.license.name"),
        "license_link": metadata.get("general.license.link"),
    }


def _in_files(home: Path | None) -> Licence | None:
    try:
        files = sorted(home.iterdir()) if home is not None else []
    except OSError:
        return None
    texts = (text_of(file) for file in files if _LICENCE_FILE.fullmatch(file.name))
    return next((found for found in map(_recognised, texts) if found is not None), None)


def _recognised(text: str) -> Licence | None:
    """The licence whose title comes first: the GNU licences name each other further down."""
    plain = re.sub(r"\s+", " ", text).lower()
    found = [
        (match.start(), row, identifier.format(**match.groupdict()))
        for row, (title, identifier) in enumerate(_TITLES)
        if (match := re.search(title, plain))
    ]
    if commons := _COMMONS.search(plain):
        short = (
            commons["parts"]
            .replace("noncommercial", "nc")
            .replace("sharealike", "sa")
            .replace("noderivatives", "nd")
            .replace("noderivs", "nd")
        )
        found.append((commons.start(), len(_TITLES), f"cc-by{short}-{commons['version']}"))
    return licence_named(min(found)[2]) if found else None
