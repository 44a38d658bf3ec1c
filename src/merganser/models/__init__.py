"""Models brought to life.

| names | what |
| --- | --- |
| [`LiveModel`][] | takes inputs; its parameters are replaced child after child |
| [`Perceptron`][], [`perceptron_tensors`][], [`perceptron_size`][] | networks of plain layers, numpy only |
| [`TorchModel`][] | any torch module |
| [`train_perceptron`][] | the specialists of the demonstrations |
| [`collect`][], [`collect_merged`][], [`Batch`][], [`Names`][] | statistics of a module on data, to merge by |
| [`read_texts`][], [`text_batches`][], [`perceptron_module`][] | what is measured, and on what |
| [`TextModel`][] | continues texts and says how probable they are |
| [`GenerationRequest`][], [`Response`][], [`Rollout`][] | it is asked to go on, and its answers |
| [`Continuation`][], [`LogLikelihood`][] | it is asked how probable a text is, and its answers |
| [`evaluating`][], [`outputs_of`][], [`Call`][] | run a module, look into it, and leave it as it was |
| [`linear_layers`][], [`LinearLayer`][] | a module's layers that are linear in their inputs |
| [`threads_for`][] | how many threads pay for a model |
| [`LanguageModel`][], [`load`][], [`open_child`][] | a language model of transformers, written in place |
| [`SpokenModel`][], [`Voices`][] | what all language models in memory can do, one that speaks as several among them |
| [`Parents`][], [`PathModel`][] | blocks of several, resident once, and a model that follows a path |
"""

from merganser.models._batch import Batch, Call
from merganser.models._collect import collect
from merganser.models._collect_merged import collect_merged
from merganser.models._hooks import LinearLayer, evaluating, linear_layers, outputs_of
from merganser.models._language import LanguageModel
from merganser.models._live import LiveModel
from merganser.models._load import load, open_child
from merganser.models._names import Names
from merganser.models._path import Parents, PathModel
from merganser.models._perceptron import Perceptron, perceptron_size, perceptron_tensors
from merganser.models._perceptron_module import perceptron_module
from merganser.models._requests import (
    Continuation,
    GenerationRequest,
    LogLikelihood,
    Response,
    Rollout,
    TextModel,
)
from merganser.models._spoken import SpokenModel
from merganser.models._texts import read_texts, text_batches
from merganser.models._threads import threads_for
from merganser.models._torch import TorchModel
from merganser.models._training import train_perceptron
from merganser.models._voices import Voices

__all__ = [
    "Batch",
    "Call",
    "Continuation",
    "GenerationRequest",
    "LanguageModel",
    "LinearLayer",
    "LiveModel",
    "LogLikelihood",
    "Names",
    "Parents",
    "PathModel",
    "Perceptron",
    "Response",
    "Rollout",
    "SpokenModel",
    "TextModel",
    "TorchModel",
    "Voices",
    "collect",
    "collect_merged",
    "evaluating",
    "linear_layers",
    "load",
    "open_child",
    "outputs_of",
    "perceptron_module",
    "perceptron_size",
    "perceptron_tensors",
    "read_texts",
    "text_batches",
    "threads_for",
    "train_perceptron",
]
