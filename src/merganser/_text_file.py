"""Text files that people write: read as UTF-8, with errors that say what is wrong and where."""

from __future__ import annotations

from pathlib import Path

from merganser._errors import ConfigError


def read_text(path: Path | str) -> str:
    """The text of a file; ``~`` stands for the user's home.

    Raises:
        ConfigError: If it cannot be read, or is no text in UTF-8, with the line.
    """
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}, line {line}: this is no text in UTF-8: {error.reason}.") from error
