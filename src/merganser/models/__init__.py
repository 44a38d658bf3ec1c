"""Models brought to life.

| names | what |
| --- | --- |
| [`LiveModel`][] | takes inputs; its parameters are replaced child after child |
| [`Perceptron`][], [`perceptron_tensors`][], [`perceptron_size`][] | networks of plain layers, numpy only |
| [`TorchModel`][] | any torch module |
| [`train_perceptron`][] | the specialists of the demonstrations |
| [`TextModel`][] | continues texts and says how probable they are |
| [`GenerationRequest`][], [`Response`][], [`Continuation`][], [`LogLikelihood`][] | what it is asked, and its answers |
| [`LanguageModel`][], [`load`][], [`open_child`][] | a language model of transformers, written in place |
"""

from merganser.models._language import LanguageModel
from merganser.models._live import LiveModel
from merganser.models._load import load, open_child
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
    "LanguageModel",
    "LiveModel",
    "LogLikelihood",
    "Perceptron",
    "Response",
    "TextModel",
    "TorchModel",
    "load",
    "open_child",
    "perceptron_size",
    "perceptron_tensors",
    "train_perceptron",
]
