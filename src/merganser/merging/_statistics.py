"""What was measured of a model with data, as a file that can be shared in the data's place.

A file of statistics is a checkpoint: one tensor for each weight, under the weight's name. What it was measured on and
how stands in its metadata:

| key | value |
| --- | --- |
| ``format``, ``version`` | ``merganser/statistics``, ``1`` |
| ``kind`` | ``gram``, ``merged_gram`` or ``fisher`` |
| ``model`` | the fingerprint of the model |
| ``samples``, ``tokens`` | how many were looked at |
| ``inputs_first`` | names of weights whose inputs are along the first axis, as a JSON list |
| ``prefix`` | for ``merged_gram``: models and parameters of what was merged meanwhile, as JSON |

Gram matrices are square, (inputs, inputs), and means over inputs; Fisher information has the weight's shape. Layers
with the same inputs share one matrix: the others' names are tied to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, get_args

from merganser._errors import CheckpointError
from merganser.merging.methods import StatisticsKind
from merganser.weights import Checkpoint, open_checkpoint, save

STATISTICS_FORMAT = "merganser/statistics"
"""What tells these files from models."""

_VERSION = "1"


@dataclass(frozen=True, eq=False)
class Statistics:
    """What was measured of one model.

    Args:
        kind: What it is.
        model: Fingerprint of the model.
        tensors: The numbers, under the weights' names.
        samples: How many samples were looked at.
        tokens: How many tokens; of models that know none, as many as samples.
        inputs_first: Weights whose inputs are along the first axis, as in GPT-2.
        prefix: Of `merged_gram`: which models were merged meanwhile (`models`, fingerprints) and how (`parameters`).
    """

    kind: StatisticsKind
    model: str
    tensors: Checkpoint
    samples: int
    tokens: int
    inputs_first: frozenset[str] = frozenset()
    prefix: Mapping[str, Any] | None = None

    @property
    def source(self) -> str:
        """Where it lies."""
        return self.tensors.source

    def name_of(self, weight: str) -> str | None:
        """The tensor that was measured for a weight; None if there is none."""
        return weight if weight in self.tensors else self.tensors.tied.get(weight)


StatisticsLike: TypeAlias = "str | Path | Statistics"
"""Statistics, or where they lie."""


def opened_statistics(statistics: StatisticsLike) -> Statistics:
    """Statistics as they are, or from where they lie."""
    return statistics if isinstance(statistics, Statistics) else open_statistics(statistics)


def save_statistics(statistics: Statistics, path: str | Path, *, overwrite: bool = False) -> Statistics:
    """Write statistics, atomically, and open what was written.

    Args:
        statistics: What to write.
        path: Where to: a file if the name ends in ``.safetensors``, otherwise a folder.
        overwrite: Whether what is there may be replaced.

    Raises:
        OutputError: If it exists and may not be replaced, or cannot be written.
    """
    metadata = {
        "format": STATISTICS_FORMAT,
        "version": _VERSION,
        "kind": statistics.kind,
        "model": statistics.model,
        "samples": str(statistics.samples),
        "tokens": str(statistics.tokens),
        "inputs_first": json.dumps(sorted(statistics.inputs_first)),
    }
    if statistics.prefix is not None:
        metadata["prefix"] = json.dumps(statistics.prefix, sort_keys=True)
    save(statistics.tensors, path, metadata=metadata, overwrite=overwrite)
    return open_statistics(path)


def open_statistics(reference: str | Path) -> Statistics:
    """Open statistics. The header is read and checked; numbers wait until they are asked for.

    Args:
        reference: A path or hub id, as [`merganser.weights.open_checkpoint`][] takes it.

    Raises:
        CheckpointError: If nothing is there, or it is damaged, no statistics, or of a newer version.
    """
    tensors = open_checkpoint(reference)
    said = tensors.metadata
    if said.get("format") != STATISTICS_FORMAT:
        raise CheckpointError(
            f"{tensors.source} holds no statistics: expected the format {STATISTICS_FORMAT!r}, found "
            f"{said.get('format')!r}. `merganser statistics MODEL --data FILE --out FILE` makes them."
        )
    if said.get("version") != _VERSION:
        raise CheckpointError(
            f"{tensors.source} holds statistics of version {said.get('version')!r}; this release reads version "
            f"{_VERSION}. Measure them again, or upgrade."
        )
    try:
        statistics = _read(tensors, said)
        _check_shapes(statistics)
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"{tensors.source} holds damaged statistics: {error} Measure them again."
        ) from error
    return statistics


def _read(tensors: Checkpoint, said: Mapping[str, str]) -> Statistics:
    if said["kind"] not in get_args(StatisticsKind):
        raise ValueError(f"their kind is {said['kind']!r}.")
    inputs_first, prefix = json.loads(said["inputs_first"]), json.loads(said.get("prefix", "null"))
    if not isinstance(inputs_first, list) or not all(isinstance(name, str) for name in inputs_first):
        raise ValueError(f"`inputs_first` is {inputs_first!r}.")
    if (prefix is None) == (said["kind"] == "merged_gram") or not isinstance(prefix, dict | None):
        raise ValueError(f"`prefix` is {prefix!r}.")
    return Statistics(
        said["kind"],  # pyright: ignore[reportArgumentType]
        said["model"],
        tensors,
        int(said["samples"]),
        int(said["tokens"]),
        frozenset(inputs_first),
        prefix,
    )


def _check_shapes(statistics: Statistics) -> None:
    for name in statistics.tensors:
        spec = statistics.tensors.spec(name)
        if not spec.is_floating:
            raise ValueError(f"{name!r} is {spec.dtype}, which is no floating type.")
        is_square = len(spec.shape) == 2 and spec.shape[0] == spec.shape[1]
        if statistics.kind != "fisher" and not is_square:
            raise ValueError(f"{name!r} must be a square matrix, but has the shape {spec.shape}.")
