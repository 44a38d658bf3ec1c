"""The model that is alive while a run lasts: which kind fits the task."""

from __future__ import annotations

import copy
import importlib
from typing import TYPE_CHECKING

from merganser._errors import ConfigError
from merganser.evaluation import Classification, OwnModels, Splits, Task
from merganser.merging import MergePlan
from merganser.models import LanguageModel, LiveModel, Perceptron, TorchModel
from merganser.weights import Checkpoint

if TYPE_CHECKING:
    from torch import nn


def is_spoken(splits: Splits, module: nn.Module | None) -> bool:
    """Whether the models are language models: no network was given, and the task is more than arrays and classes."""
    return module is None and not all(isinstance(part, Classification | OwnModels) for part in _parts(splits))


def living_model(
    checkpoint: Checkpoint,
    splits: Splits,
    module: nn.Module | None,
    *,
    device: str = "cpu",
    dtype: str | None = None,
    merge: MergePlan | None = None,
) -> LiveModel | LanguageModel:
    """The model that becomes child after child.

    Args:
        checkpoint: One of the models that it will become.
        splits: The data it will be scored on.
        module: The network, for models that are neither plain layers nor language models.
        device: Where a language model lives.
        dtype: Its element type; by default that of the checkpoint, or of the merge.
        merge: Of merges with a donor or tokenizer of their own: one of them, which gives a language model both.

    Raises:
        CheckpointError: If the task asks a language model, and the checkpoint is none.
        ValueError: If network, checkpoint and task do not fit together.
    """
    if module is not None:
        model = TorchModel(copy.deepcopy(module))
        if model.size != checkpoint.layout.size:
            raise ValueError(
                f"The network has {model.size} parameters, but {checkpoint.source} has {checkpoint.layout.size}."
            )
        return model
    if is_spoken(splits, module):
        return LanguageModel.of(checkpoint if merge is None else merge, dtype=dtype, device=device)
    first = _parts(splits)[0]
    if isinstance(first, OwnModels):
        return first.live(checkpoint)
    assert isinstance(first, Classification)
    perceptron = Perceptron.of(checkpoint, first.features)
    if perceptron.outputs < first.classes:
        raise ValueError(
            f"{first.name} has {first.classes} classes, but {checkpoint.source} answers with "
            f"{perceptron.outputs} values."
        )
    return perceptron


def _parts(splits: Splits) -> tuple[Task, ...]:
    return getattr(splits.search, "parts", (splits.search,))


def open_network(reference: str) -> nn.Module:
    """The torch module that `module:function` returns.

    Raises:
        ConfigError: If there is no such module or function.
    """
    name, _, function = reference.partition(":")
    try:
        make = getattr(importlib.import_module(name), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"Expected `module:function`, but {reference!r} cannot be found: {error}."
        ) from error
    return make()
