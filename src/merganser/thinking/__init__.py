"""The Continuous Thought Machine: a network that thinks about its inputs for a number of ticks.

| names | what |
| --- | --- |
| [`CTMConfig`][], [`PRESETS`][] | sizes and parts; the paper's experiments by name |
| [`CTM`][] | the model |
| [`LSTM`][], [`FeedForward`][], [`BaselineConfig`][] | what it is compared with, behind the same eyes |
| [`matched`][], [`parameter_count`][], [`BASELINES`][] | baselines with as many parameters |
| [`open_thinker`][], [`new_thinker`][], [`Thinker`][], [`ThinkerConfig`][] | any of them, by its configuration |
| [`from_official`][] | a model from the official code's tensors and arguments |
| [`Thought`][], [`Trace`][] | what it makes of its inputs, tick by tick, and what happened inside |
| [`ThoughtState`][], [`LSTMState`][] | what it remembers between inputs |
| [`Thinking`][], [`Tick`][] | thinking tick by tick, to stop early |
| [`certainty`][], [`CERTAINTIES`][] | how certain predictions are, on the mean over positions or at the least |
| [`split_positions`][] | predictions as answers at several positions |
| [`thought_loss`][], [`ThoughtLoss`][], [`tick_losses`][] | what is trained: the best and the surest tick |
| [`READOUTS`][], [`Readout`][], [`readout_named`][] | one answer of many ticks |
| [`ctc_loss`][], [`ctc_greedy`][] | answers that are written over time |
| [`think_until`][], [`Stopped`][] | stop when sure enough |
| [`answers_of`][], [`Answers`][] | what a model answers to samples whose classes are known |
| [`halting_curve`][], [`halting_point`][], [`HaltingPoint`][], [`halting_ticks`][] | what stopping saves and costs |
| [`calibration`][], [`Calibration`][], [`CalibrationBin`][] | how often answers are as right as they say |
| [`LiveThinker`][] | one whose parameters are replaced child after child |
| [`find_ways`][], [`Ways`][] | through mazes larger than a model's routes |
| `merganser.thinking.mazes` | mazes and their routes |
| `merganser.thinking.training` | training on tasks |
| `merganser.thinking.watching` | what there is to see while a model thinks, as arrays |

Importing this room does not import torch; using the model does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from merganser.thinking._baseline_config import BASELINES, BaselineConfig, ThinkerConfig
from merganser.thinking._config import CTMConfig
from merganser.thinking._presets import PRESETS

if TYPE_CHECKING:
    from merganser.thinking._answers import Answers, answers_of
    from merganser.thinking._calibration import Calibration, CalibrationBin, calibration
    from merganser.thinking._ctc import ctc_greedy, ctc_loss
    from merganser.thinking._feed_forward import FeedForward
    from merganser.thinking._halting import (
        HaltingPoint,
        Stopped,
        halting_curve,
        halting_point,
        halting_ticks,
        think_until,
    )
    from merganser.thinking._live import LiveThinker
    from merganser.thinking._loss import ThoughtLoss, thought_loss, tick_losses
    from merganser.thinking._lstm import LSTM
    from merganser.thinking._lstm_cell import LSTMState
    from merganser.thinking._matched import matched, parameter_count
    from merganser.thinking._model import CTM
    from merganser.thinking._pretrained import from_official, new_thinker, open_thinker
    from merganser.thinking._readout import READOUTS, Readout, readout_named
    from merganser.thinking._think import Thinking, Tick
    from merganser.thinking._thinker import Thinker
    from merganser.thinking._thought import (
        CERTAINTIES,
        Thought,
        ThoughtState,
        Trace,
        certainty,
        split_positions,
    )
    from merganser.thinking._ways import Ways, find_ways

_HOMES = {
    "Answers": "_answers",
    "CERTAINTIES": "_thought",
    "CTM": "_model",
    "Calibration": "_calibration",
    "CalibrationBin": "_calibration",
    "FeedForward": "_feed_forward",
    "HaltingPoint": "_halting",
    "LiveThinker": "_live",
    "LSTM": "_lstm",
    "LSTMState": "_lstm_cell",
    "READOUTS": "_readout",
    "Readout": "_readout",
    "Stopped": "_halting",
    "Thinker": "_thinker",
    "Thinking": "_think",
    "Thought": "_thought",
    "ThoughtLoss": "_loss",
    "ThoughtState": "_thought",
    "Tick": "_think",
    "Trace": "_thought",
    "Ways": "_ways",
    "answers_of": "_answers",
    "calibration": "_calibration",
    "certainty": "_thought",
    "ctc_greedy": "_ctc",
    "ctc_loss": "_ctc",
    "find_ways": "_ways",
    "from_official": "_pretrained",
    "halting_curve": "_halting",
    "halting_point": "_halting",
    "halting_ticks": "_halting",
    "matched": "_matched",
    "new_thinker": "_pretrained",
    "open_thinker": "_pretrained",
    "parameter_count": "_matched",
    "readout_named": "_readout",
    "split_positions": "_thought",
    "think_until": "_halting",
    "thought_loss": "_loss",
    "tick_losses": "_loss",
}

__all__ = [
    "BASELINES",
    "CERTAINTIES",
    "CTM",
    "LSTM",
    "PRESETS",
    "READOUTS",
    "Answers",
    "BaselineConfig",
    "CTMConfig",
    "Calibration",
    "CalibrationBin",
    "FeedForward",
    "HaltingPoint",
    "LSTMState",
    "LiveThinker",
    "Readout",
    "Stopped",
    "Thinker",
    "ThinkerConfig",
    "Thinking",
    "Thought",
    "ThoughtLoss",
    "ThoughtState",
    "Tick",
    "Trace",
    "Ways",
    "answers_of",
    "calibration",
    "certainty",
    "ctc_greedy",
    "ctc_loss",
    "find_ways",
    "from_official",
    "halting_curve",
    "halting_point",
    "halting_ticks",
    "matched",
    "new_thinker",
    "open_thinker",
    "parameter_count",
    "readout_named",
    "split_positions",
    "think_until",
    "thought_loss",
    "tick_losses",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
