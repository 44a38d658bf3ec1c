"""Models brought to life.

| names | what |
| --- | --- |
| [`LiveModel`][] | takes inputs; its parameters are replaced child after child |
| [`Perceptron`][], [`perceptron_tensors`][], [`perceptron_size`][] | networks of plain layers, numpy only |
| [`TorchModel`][] | any torch module |
| [`train_perceptron`][] | the specialists of the demonstrations |
| [`TextModel`][] | continues texts and says how probable they are |
| [`GenerationRequest`][], [`Response`][], [`Continuation`][], [`LogLikelihood`][] | what it is asked, and its answers |
"""

from merganser.models._live import LiveModel
from merganser.models._perceptron import Perceptron, perceptron_size, perceptron_tensors
from merganser.models._requests import (
    Continuation,
    GenerationRequest,
    LogLikelihood,
    Response,
    TextModel,
)
from merganser.models._torch import TorchModel
from merganser.models._training import train_perceptron

__all__ = [
    "Continuation",
    "GenerationRequest",
    "LiveModel",
    "LogLikelihood",
    "Perceptron",
    "Response",
    "TextModel",
    "TorchModel",
    "perceptron_size",
    "perceptron_tensors",
    "train_perceptron",
]
