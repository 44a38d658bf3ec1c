"""The libraries that training needs, and what they say that nobody here can act on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from merganser._errors import ConfigError


def check_extra() -> None:
    """Make sure that the libraries are there.

    Raises:
        ConfigError: If one is not installed.
    """
    try:
        import accelerate  # noqa: F401
        import datasets  # noqa: F401
        import peft  # noqa: F401
        import trl  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"Training needs the libraries trl, peft, accelerate and datasets, but {error.name} is not installed. "
            "Install them with: pip install 'merganser[rl]'"
        ) from error


@contextmanager
def without_notices() -> Iterator[None]:
    """Keep notices of these libraries to their own developers from the user."""
    with warnings.catch_warnings():
        for old in ("is_gradient_checkpointing", "gradient_checkpointing"):
            warnings.filterwarnings("ignore", message=f".{old}. is deprecated", category=FutureWarning)
        yield
