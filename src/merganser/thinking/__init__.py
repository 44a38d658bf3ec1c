"""The Continuous Thought Machine: a network that thinks about its inputs for a number of ticks.

| names | what |
| --- | --- |
| [`CTMConfig`][], [`PRESETS`][] | sizes and parts; the paper's experiments by name |
| [`CTM`][] | the model |
| [`from_official`][] | a model from the official code's tensors and arguments |
| [`Thought`][], [`Trace`][] | what it makes of its inputs, tick by tick, and what happened inside |
| [`ThoughtState`][] | what it remembers between inputs |
| [`Thinking`][], [`Tick`][] | thinking tick by tick, to stop early |
| [`certainty`][], [`split_positions`][] | how certain predictions are; predictions as answers at several positions |

Importing this room does not import torch; using the model does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from merganser.thinking._config import CTMConfig
from merganser.thinking._presets import PRESETS

if TYPE_CHECKING:
    from merganser.thinking._model import CTM
    from merganser.thinking._pretrained import from_official
    from merganser.thinking._think import Thinking, Tick
    from merganser.thinking._thought import Thought, ThoughtState, Trace, certainty, split_positions

_HOMES = {
    "CTM": "_model",
    "Thinking": "_think",
    "Thought": "_thought",
    "ThoughtState": "_thought",
    "Tick": "_think",
    "Trace": "_thought",
    "certainty": "_thought",
    "from_official": "_pretrained",
    "split_positions": "_thought",
}

__all__ = [
    "CTM",
    "PRESETS",
    "CTMConfig",
    "Thinking",
    "Thought",
    "ThoughtState",
    "Tick",
    "Trace",
    "certainty",
    "from_official",
    "split_positions",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
