"""What was found as a JSON file that says what it is and by which rules it is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merganser.weights import atomic_write_text

VERSION = 1


def save_found(folder: str | Path, kind: str, found: Mapping[str, Any]) -> Path:
    """Write `KIND.json`, atomically.

    Args:
        folder: Where to.
        kind: What was found; also what the file is called.
        found: Plain data.

    Returns:
        The file.

    Raises:
        OutputError: If it cannot be written.
    """
    path = Path(folder) / f"{kind}.json"
    atomic_write_text(path, json.dumps({"kind": kind, "version": VERSION, **found}, allow_nan=False) + "\n")
    return path
