"""How a checkpoint is named: a path, a hub id, or a base with adapters on it.

| form | example | rule |
| --- | --- | --- |
| path | ``out/model``, ``m.gguf``, ``c++/a@b`` | whatever exists is a path, also with ``+`` or ``@`` in its name |
| base with adapters | ``llama+lora``, ``org/base@main+a+b`` | split at the last ``+`` where both sides make sense |
| hub id | ``org/name``, ``org/name@v1.0``, ``gpt2@main`` | looks like one, and is no path |

The rows are tried from top to bottom. A side of ``+`` makes sense if it is an existing path or looks like a hub
id; adapters are applied from left to right. A name without an organisation is a hub id only with its
``@revision``, and nothing that ends like a file of tensors is one: a mistyped path is not looked for in the network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

from merganser._errors import CheckpointError

_FILES = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".json")
_SEGMENT = r"(?![^/@]*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_REVISION = r"(?!.*\.\.)[^\s~^:?*\[\\]+"  # what git allows, and nothing that leads out of a folder
_HUB_ID = re.compile(rf"(?P<name>(?:(?P<owner>{_SEGMENT})/)?{_SEGMENT})(?:@(?P<revision>{_REVISION}))?")


@dataclass(frozen=True, slots=True)
class HubId:
    """A model on the Hugging Face hub.

    Args:
        name: ``org/name``, or ``name`` for the few models without an organisation.
        revision: Branch, tag or commit; None for the default branch.
    """

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"


Place: TypeAlias = Path | HubId
"""Where one model or adapter is."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A model, and the adapters to apply to it from left to right.

    `str` gives the canonical form: absolute paths, hub ids as they are, joined by ``+``. It opens the same
    checkpoint from any working directory.

    Args:
        model: The model.
        adapters: What is applied to it.

    Examples:
        >>> reference = parse_reference("org/base@main+someone/lora")
        >>> reference.model, reference.adapters
        (HubId(name='org/base', revision='main'), (HubId(name='someone/lora', revision=None),))
        >>> str(reference)
        'org/base@main+someone/lora'
    """

    model: Place
    adapters: tuple[Place, ...] = ()

    def __str__(self) -> str:
        return "+".join(str(place) for place in (self.model, *self.adapters))


def parse_reference(text: str) -> Reference:
    """Read a reference; looks at the file system for what exists, and at nothing else.

    Args:
        text: ``path``, ``org/name[@revision]``, or ``base+adapter``.

    Raises:
        CheckpointError: If the text is nothing of this kind, saying what was looked for.
    """

    @cache  # every split asks for the same beginnings again
    def parse(part: str) -> Reference | None:
        return _whole(part) or _split(part) or _hub(part)

    def _split(part: str) -> Reference | None:
        for i in (i for i in range(len(part) - 1, 0, -1) if part[i] == "+"):
            adapter = _place(part[i + 1 :])
            base = parse(part[:i]) if adapter is not None else None
            if adapter is not None and base is not None:
                return Reference(base.model, (*base.adapters, adapter))
        return None

    reference = parse(text)
    if reference is None:
        raise CheckpointError(_explain(text))
    return reference


def local_path(text: str | Path) -> Path:
    """A path as it stays valid after a change of directory."""
    return Path(text).expanduser().absolute()


def _whole(text: str) -> Reference | None:
    path = _existing(text)
    return None if path is None else Reference(path)


def _hub(text: str) -> Reference | None:
    hub_id = _hub_id(text)
    return None if hub_id is None else Reference(hub_id)


def _place(text: str) -> Place | None:
    return _existing(text) or _hub_id(text)


def _existing(text: str) -> Path | None:
    try:
        path = local_path(text)
        return path if text and path.exists() else None
    except (OSError, RuntimeError):  # a name that is too long, a home that is not known
        return None


def _hub_id(text: str) -> HubId | None:
    match = _HUB_ID.fullmatch(text)
    if match is None or match["name"].lower().endswith(_FILES):
        return None
    if match["owner"] is None and match["revision"] is None:
        return None
    return HubId(match["name"], match["revision"])


def _explain(text: str) -> str:
    message = f"There is no checkpoint at {text!r}: no such file or folder"
    missing = [part for part in text.split("+") if _place(part) is None]
    if "+" in text and missing:
        message += f", and as base+adapter it lacks {' and '.join(map(repr, missing))}"
    if (alone := _hub_id(f"{text}@main")) is not None:
        message += f", and a hub id has the form org/name[@revision] ({str(alone)!r} if it has no org)"
    return f"{message}."
