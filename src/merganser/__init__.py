"""Merganser grows a capable model out of models that already exist.

| function | what it does |
| --- | --- |
| [`evolve`][] | search for the best combination of models on a task |
| [`resume`][] | go on with a run that was interrupted |
| [`compare`][] | say whether models fit together, and what to do with every two of them |
| [`merge`][] | combine models by rule: linear, slerp, ties and others |
| [`verify`][] | rebuild a merged model from its recipe and compare |
| [`load`][] | a language model brought to life: it generates, scores, and becomes other models in place |
| [`open`][] | a checkpoint: named tensors, read lazily |
| [`materialise`][] | the model that a recipe describes |

Rooms: `weights`, `merging`, `models`, `evaluation`, `comparison`, `evolution`, `run`, `report`. Importing this package
loads none of them; each is loaded when one of its names is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from merganser._errors import CheckpointError, ConfigError, MerganserError, OutputError, RunError, TaskError
from merganser._version import __version__

if TYPE_CHECKING:
    from merganser.comparison import compare
    from merganser.merging import Combination, materialise, merge, read_recipe, verify
    from merganser.report import write_report
    from merganser.routing import load
    from merganser.run import Outcome, evolve, resume
    from merganser.weights import Checkpoint, save
    from merganser.weights import open_checkpoint as open  # noqa: A004

_HOMES = {
    "Checkpoint": ("weights", "Checkpoint"),
    "Combination": ("merging", "Combination"),
    "Outcome": ("run", "Outcome"),
    "compare": ("comparison", "compare"),
    "evolve": ("run", "evolve"),
    "load": ("routing", "load"),
    "materialise": ("merging", "materialise"),
    "merge": ("merging", "merge"),
    "open": ("weights", "open_checkpoint"),
    "read_recipe": ("merging", "read_recipe"),
    "resume": ("run", "resume"),
    "save": ("weights", "save"),
    "verify": ("merging", "verify"),
    "write_report": ("report", "write_report"),
}

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Combination",
    "ConfigError",
    "MerganserError",
    "Outcome",
    "OutputError",
    "RunError",
    "TaskError",
    "__version__",
    "compare",
    "evolve",
    "load",
    "materialise",
    "merge",
    "open",
    "read_recipe",
    "resume",
    "save",
    "verify",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room, attribute = _HOMES[name]
    value = getattr(importlib.import_module(f"{__name__}.{room}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
