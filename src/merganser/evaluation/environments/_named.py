"""A user's environment by its reference, `module:function`; imported only because the user named it."""

from __future__ import annotations

import importlib
from typing import Any

from merganser._errors import ConfigError
from merganser.evaluation.environments._environment import EnvironmentSource
from merganser.evaluation.environments._own_process import Processes
from merganser.evaluation.scorers import source_digest


def environment_named(reference: str, *, seconds: float | None = None) -> EnvironmentSource:
    """The environments that `module:function` returns, one with each call.

    Args:
        reference: Module and function.
        seconds: Longest time of a step. With it each episode has a process of its own, and what hangs is ended; None
            plays in this process, without a limit.

    Raises:
        ConfigError: If there is no such module or function.
    """
    if seconds is not None:
        make: Any = Processes(reference, seconds).make
        return EnvironmentSource(f"{reference} {source_digest(reference)} {seconds:g} s", make)
    module, _, function = reference.partition(":")
    try:
        make = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"Expected an environment, `shop` or `module:function`, but {reference!r} cannot be found: {error}."
        ) from error
    return EnvironmentSource(f"{reference} {source_digest(reference)}", make)
