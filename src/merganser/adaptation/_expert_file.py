"""An expert as one safetensors file: its vectors, and in the header what they mean.

| key of the header | value |
| --- | --- |
| ``merganser_expert`` | version of this table, ``1`` |
| ``parametrisation`` | ``sigmoid`` or ``plain`` |
| ``base`` | JSON object: digest of each matrix |
| ``means`` | JSON object: mean mask of each matrix, of logits |
| ``facts`` | JSON object: what is known of the training |
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from merganser._errors import CheckpointError
from merganser.adaptation._expert import ExpertVector
from merganser.adaptation._parametrise import PARAMETRISATIONS
from merganser.weights import Checkpoint, open_checkpoint, save

_SUFFIX = ".safetensors"
_VERSION = "1"
_MARK = "merganser_expert"


def save_expert(expert: ExpertVector, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write an expert, atomically.

    Args:
        expert: The expert.
        path: Where to; a name that ends in ``.safetensors``.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        ValueError: If the name ends otherwise, or a fact is nothing that JSON holds.
        OutputError: If the file exists and may not be replaced, or cannot be written.
    """
    place = Path(path).expanduser()
    if place.suffix != _SUFFIX:
        raise ValueError(f"An expert is a file whose name ends in {_SUFFIX}, but {place.name!r} does not.")
    try:
        facts = json.dumps(dict(expert.facts), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Facts must be texts, finite numbers, true, false or None: {error}.") from error
    header = {
        _MARK: _VERSION,
        "parametrisation": expert.parametrisation,
        "base": json.dumps(dict(expert.base)),
        "means": json.dumps(dict(expert.means)),
        "facts": facts,
    }
    save(expert.vectors, place, metadata=header, overwrite=overwrite)
    return place


def open_expert(path: str | Path) -> ExpertVector:
    """Open an expert's file; all of it is read and checked.

    Raises:
        CheckpointError: If there is no such file, or it holds no expert.
    """
    file = open_checkpoint(Path(path).expanduser())
    version = file.metadata.get(_MARK)
    if version != _VERSION:
        found = "no `merganser_expert` in its header" if version is None else f"version {version}"
        raise CheckpointError(
            f"{path} is no expert of version {_VERSION}: it has {found}. Expected a file that `save_expert` wrote."
        )
    parametrisation = file.metadata.get("parametrisation")
    for each in PARAMETRISATIONS:
        if each == parametrisation:
            base, means, facts = (_object(file, key) for key in ("base", "means", "facts"))
            vectors = {name: file.read(name).clone() for name in file}
            try:
                return ExpertVector(vectors, each, base, means, facts)
            except (ValueError, TypeError) as error:
                raise CheckpointError(f"{path} is damaged: {error}") from error
    raise CheckpointError(
        f"{path}: expected `parametrisation` among {', '.join(PARAMETRISATIONS)}, found {parametrisation!r}."
    )


def is_expert(file: Checkpoint) -> bool:
    """Whether an opened file holds an expert, of any version."""
    return _MARK in file.metadata


def _object(file: Checkpoint, key: str) -> dict[str, Any]:
    try:
        found = json.loads(file.metadata.get(key, ""))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file.source}: `{key}` in its header is no JSON: {error}.") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{file.source}: `{key}` in its header must be an object, but is {found!r}.")
    return found
