"""The library lm_eval, and the conditions under which its code runs here.

| condition | why |
| --- | --- |
| its log says errors only, no progress bars | what matters is said by us, as an error or a notice |
| the global generators start at lm-eval's 0 and 1234 and are put back | some tasks shuffle while they read |
| scripts of the Hugging Face Hub are not loaded as metrics, unless trusted | they run as soon as they are loaded |
| templates of task files run in jinja's sandbox, unless trusted | in the open they reach Python's internals |
"""

from __future__ import annotations

import importlib.metadata
import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

from merganser._errors import TaskError

_SEEDS = (0, 1234)


def lm_eval_library() -> ModuleType:
    """The library.

    Raises:
        TaskError: If it is not installed.
    """
    try:
        import lm_eval.tasks
    except ImportError as error:
        raise TaskError(
            "Tasks of lm-evaluation-harness need the library lm_eval, which is not installed or does not load "
            f"({error}). Install it with: pip install 'merganser[lm-eval]'"
        ) from error
    return lm_eval


def lm_eval_version() -> str:
    """Version of the library."""
    return importlib.metadata.version("lm_eval")


@contextmanager
def lm_eval_conditions(*, trust: bool) -> Iterator[None]:
    """Within this, code of lm-eval and of its tasks runs under the conditions of this module.

    Args:
        trust: Whether templates may reach whatever Python can reach, and scripts of the Hub may be loaded.
    """
    import datasets
    import evaluate
    import lm_eval.utils

    log = logging.getLogger("lm_eval")
    level, bars = log.level, not datasets.are_progress_bars_disabled()
    templates, load = lm_eval.utils.env, evaluate.load
    states = random.getstate(), np.random.get_state()
    log.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    lm_eval.utils.env = _templates(trust)
    if not trust:
        evaluate.load = _refused
    random.seed(_SEEDS[0])
    np.random.seed(_SEEDS[1])
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        lm_eval.utils.env, evaluate.load = templates, load
        if bars:
            datasets.enable_progress_bars()
        log.setLevel(level)


def _refused(path: str, *_: Any, **__: Any) -> NoReturn:
    raise TaskError(
        f"The metric {path!r} is loaded as code from the Hugging Face Hub. Say `trust: true` if it may run here, or "
        "take a task with a metric of lm-eval's own."
    )


@lru_cache(maxsize=2)
def _templates(trust: bool) -> Any:
    """lm-eval's environment of templates, which remembers what it has compiled: the same few come back all the time."""
    import jinja2
    import jinja2.sandbox
    import lm_eval.utils

    kind = jinja2.Environment if trust else jinja2.sandbox.SandboxedEnvironment
    environment: Any = kind(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters.update(lm_eval.utils.env.filters)
    environment.from_string = lru_cache(maxsize=256)(environment.from_string)
    return environment
