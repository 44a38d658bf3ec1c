"""Arrays with a few words about them, in one npz file that is written whole or not at all; nothing is unpickled."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from merganser._errors import ConfigError
from merganser.weights import atomic_write_bytes

_VERSION = 1
_ABOUT = "about"


def write_arrays(
    path: str | Path, kind: str, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write a file.

    Args:
        path: The file.
        kind: What it holds, checked when it is read.
        about: Plain data, as JSON has it.
        arrays: By name.

    Raises:
        OutputError: If it cannot be written.
    """
    words = json.dumps({"kind": kind, "version": _VERSION, **about})
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{_ABOUT: np.array(words), **arrays})
    atomic_write_bytes(path, buffer.getvalue())


def read_arrays(path: str | Path, kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what `write_arrays` wrote.

    Raises:
        ConfigError: If the file cannot be read, or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(str(arrays.pop(_ABOUT)))
        found = (about["kind"], about["version"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path} cannot be read as {kind}: {error}. Write it again.") from error
    if found != (kind, _VERSION):
        raise ConfigError(
            f"Expected {kind}, version {_VERSION}, but {path} holds {found[0]}, version {found[1]}."
        )
    return about, arrays
