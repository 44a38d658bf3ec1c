"""The models that a run starts from: given, random, or specialists trained on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from merganser._errors import ConfigError, TaskError
from merganser.adaptation import is_expert
from merganser.evaluation import Classification, Splits
from merganser.evolution import random_start
from merganser.models import perceptron_size, perceptron_tensors, train_perceptron
from merganser.run._settings import EvolveSettings
from merganser.weights import Checkpoint, open_checkpoint

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Parent:
    """A model that a run starts from.

    Attributes:
        name: What people call it.
        checkpoint: Its weights.
        reference: What opens it again, from any working directory; None if it lies in no file.
    """

    name: str
    checkpoint: Checkpoint
    reference: str | None = None


def open_parents(references: Sequence[str | Path]) -> list[Parent]:
    """The parents at these references; equal names are numbered.

    Raises:
        CheckpointError: If one cannot be read.
        ConfigError: If one is an expert, whose numbers are no weights.
    """
    opened = [open_checkpoint(reference) for reference in references]
    for checkpoint in opened:
        if is_expert(checkpoint):
            raise ConfigError(
                f"{checkpoint.source} is an expert. Say which base it is of: `adapt: {{base: model/}}`."
            )
    return [
        Parent(n, checkpoint, checkpoint.source)
        for n, checkpoint in zip(names_of(references), opened, strict=True)
    ]


def names_of(references: Sequence[str | Path]) -> list[str]:
    """What people call the models at these references; equal names are numbered."""
    stems = [Path(r).stem for r in references]
    return [s if stems.count(s) == 1 else f"{s}-{i}" for i, s in enumerate(stems)]


def make_parents(settings: EvolveSettings, splits: Splits, module: nn.Module | None) -> list[Parent]:
    """The models that the settings name.

    Args:
        settings: What was asked for.
        splits: The data, for networks from scratch and specialists.
        module: The network, if one was given.

    Raises:
        ConfigError: If networks cannot be made for this task.
        TaskError: If specialists cannot be trained on it.
        CheckpointError: If a model cannot be read.
    """
    if not isinstance(settings.models, str):
        return open_parents(settings.models)
    if settings.models == "specialists":
        return _specialists(settings, splits)
    if module is not None:
        template = Checkpoint.from_module(module)
        starts = [random_start(settings.seed, k, template.layout.size) for k in range(2)]
        named = [template.layout.unflatten(s) for s in starts]
        buffers = {name: template.read(name) for name in template.buffers}
        return [Parent(f"start {k}", Checkpoint.from_tensors({**buffers, **n})) for k, n in enumerate(named)]
    widths = _widths(settings, splits)
    starts = [random_start(settings.seed, k, perceptron_size(widths)) for k in range(2)]
    return [Parent(f"start {k}", _perceptron(start, widths)) for k, start in enumerate(starts)]


def _widths(settings: EvolveSettings, splits: Splits) -> tuple[int, ...]:
    parts = [splits.search, *(t for t in (splits.validation, splits.test) if t is not None)]
    tasks = [p for part in parts for p in getattr(part, "parts", (part,))]
    classified = [t for t in tasks if isinstance(t, Classification)]
    if len(classified) != len(tasks):
        raise ConfigError(
            "A network from scratch is built for classification tasks only. Give `models:` for this task, "
            "or `genome: {network: module:function}`."
        )
    features = {t.features for t in classified}
    if len(features) != 1:
        raise TaskError(
            f"All tasks must have equally many inputs per sample, but they have {sorted(features)}."
        )
    return (features.pop(), *settings.genome.hidden, max(t.classes for t in classified))


def _perceptron(flat: np.ndarray, widths: tuple[int, ...]) -> Checkpoint:
    config = {"model_type": "perceptron", "widths": list(widths), "activation": "relu"}
    return Checkpoint.from_tensors(perceptron_tensors(flat, widths), config=config)


def _specialists(settings: EvolveSettings, splits: Splits) -> list[Parent]:
    """Two networks, each trained for ten steps on one half of the classes, as in the authors' code."""
    task, widths = splits.search, _widths(settings, splits)
    if not isinstance(task, Classification) or task.samples.labels is None:
        raise ConfigError("Specialists are trained for a single classification task. Give `models:` instead.")
    half = widths[-1] // 2
    parents = []
    for k, (first, last) in enumerate([(0, half - 1), (half, widths[-1] - 1)]):
        mine = (task.samples.labels >= first) & (task.samples.labels <= last)
        if not mine.any():
            raise TaskError(
                f"No sample has a class from {first} to {last}, so there is nothing to specialise in."
            )
        inputs = task.inputs[mine].reshape(int(mine.sum()), -1)
        start = random_start(settings.seed, k, perceptron_size(widths))
        trained = train_perceptron(start, widths, inputs, task.samples.labels[mine])
        parents.append(Parent(f"classes {first}-{last}", _perceptron(trained, widths)))
    return parents
