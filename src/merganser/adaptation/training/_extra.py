"""The libraries that training needs, and what they say that nobody here can act on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec

from merganser._errors import ConfigError

_LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")


def versions() -> dict[str, str]:
    """Versions of the libraries, which are not imported.

    Raises:
        ConfigError: If one is not installed.
    """
    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"Training needs the libraries {', '.join(_LIBRARIES[1:])}, but {missing[0]} is not installed. Install "
            "them with: pip install 'merganser[rl]'"
        )
    return {name: version(name) for name in _LIBRARIES}


@contextmanager
def without_notices() -> Iterator[None]:
    """Keep notices of these libraries to their own developers from the user."""
    with warnings.catch_warnings():
        for old in ("is_gradient_checkpointing", "gradient_checkpointing"):
            warnings.filterwarnings("ignore", message=f".{old}. is deprecated", category=FutureWarning)
        yield
