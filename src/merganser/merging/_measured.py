"""Which statistics belong to which tensor of a merge; whether they were measured on these models at all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from merganser.merging._statistics import Statistics
from merganser.merging.methods import MergeMethod, StatisticsKind
from merganser.weights import Aligned, Checkpoint, TensorSpec, fingerprint

_WORDS: Mapping[StatisticsKind, tuple[str, str]] = {
    "gram": ("Gram matrices of every layer's inputs", "merganser statistics MODEL --data FILE --out FILE"),
    "merged_gram": (
        "Gram matrices of inputs that come through the merged layers",
        "merganser statistics MODEL MODEL … --merged --data FILE --data FILE … --out FOLDER",
    ),
    "fisher": (
        "Fisher information",
        "merganser statistics MODEL --kind fisher --data FILE --out FILE",
    ),
}
"""What each kind is for people, and the command that measures it."""


class MeasuredTensor(NamedTuple):
    """What was measured for a tensor on all models.

    Args:
        statistics: Where it lies, model by model; None if nothing was.
        inputs_first: Whether the inputs of its layer are along its first axis.
    """

    statistics: Aligned | None = None
    inputs_first: bool = False


def check_statistics(
    method: str,
    wanted: StatisticsKind | None,
    models: Mapping[int, Checkpoint],
    statistics: Sequence[Statistics | None],
) -> None:
    """Make sure that a method gets what it needs, measured on the models that it is given.

    Args:
        method: What the method is called.
        wanted: What it needs.
        models: The models beside the base, by their numbers.
        statistics: What was measured, by the same numbers; shorter, or None, where there is nothing.

    Raises:
        ValueError: If statistics are missing, superfluous, of another kind, of another model, or, where models were
            merged meanwhile, of another merge.
    """
    if wanted is None:
        if any(each is not None for each in statistics):
            raise ValueError(f"`{method}` uses no statistics. Leave them out.")
        return
    what, command = _WORDS[wanted]
    found = {number: statistics[number] if number < len(statistics) else None for number in models}
    missing = [models[number].source for number, each in found.items() if each is None]
    if missing:
        raise ValueError(
            f"`{method}` needs statistics of every model ({what}), but there are none of {', '.join(missing)}. Give "
            f"`--statistics FILE` for each model, in their order (`statistics=[…]` in Python). `{command}` makes them."
        )
    given = {number: each for number, each in found.items() if each is not None}
    for number, each in given.items():
        if each.kind != wanted:
            raise ValueError(
                f"`{method}` needs {what} (`{wanted}`), but {each.source} holds `{each.kind}`. `{command}` makes them."
            )
        looks_like = fingerprint(models[number])
        if each.model != looks_like:
            raise ValueError(
                f"The statistics {each.source} were measured on another model than {models[number].source}: expected "
                f"the fingerprint {looks_like}, found {each.model}. Name them in the order of the models, or measure "
                "again."
            )
    if wanted == "merged_gram":
        _check_prefix(method, [each.model for each in given.values()], list(given.values()))


def check_parameters(
    method: str, methods: Iterable[MergeMethod], statistics: Iterable[Statistics | None]
) -> None:
    """Make sure that layers are merged as they were when the inputs of those after them were measured.

    Raises:
        ValueError: If they are not.
    """
    prefixes = [each.prefix for each in statistics if each is not None and each.prefix is not None]
    for prefix in prefixes[:1]:
        for bound in methods:
            found = {name: getattr(bound, name) for name in prefix["parameters"]}
            if found != prefix["parameters"]:
                raise ValueError(
                    f"The statistics for `{method}` were measured while merging with "
                    f"{_listed(prefix['parameters'])}, but this merge has {_listed(found)}. Use the same, or measure "
                    "again."
                )


def measured_tensor(
    sources: Sequence[tuple[Checkpoint, str]], statistics: Sequence[Statistics], spec: TensorSpec
) -> MeasuredTensor:
    """What was measured for one tensor.

    Args:
        sources: The models beside the base, and what the tensor is called in each.
        statistics: What was measured on each.
        spec: The tensor.

    Raises:
        ValueError: If it was measured on some models only, or the numbers do not fit the tensor.
    """
    names = [each.name_of(name) for each, (_, name) in zip(statistics, sources, strict=True)]
    if all(name is None for name in names):
        return MeasuredTensor()
    if None in names:
        lacks, has = names.index(None), next(i for i, name in enumerate(names) if name is not None)
        raise ValueError(
            f"{statistics[lacks].source} holds nothing for {sources[lacks][1]!r}, but {statistics[has].source} does. "
            "Measure both in the same way, on data that reach every layer."
        )
    first = {name in each.inputs_first for each, (_, name) in zip(statistics, sources, strict=True)}
    if len(first) > 1:
        raise ValueError(f"The statistics disagree about which axis of {spec.name!r} is that of the inputs.")
    [inputs_first] = first
    expected = spec.shape
    if statistics[0].kind != "fisher":
        inputs = spec.shape[0] if inputs_first else math.prod(spec.shape[1:])
        expected = (inputs, inputs)
    for each, name in zip(statistics, names, strict=True):
        assert name is not None
        if each.tensors.spec(name).shape != expected:
            raise ValueError(
                f"{name!r} of {each.source} has the shape {each.tensors.spec(name).shape}, but for the weight "
                f"{spec.name!r} of shape {spec.shape} it must be {expected}. Measure again, on this model."
            )
    held = [(each.tensors, name) for each, name in zip(statistics, names, strict=True) if name is not None]
    return MeasuredTensor(Aligned(tuple(held)), inputs_first)


def _check_prefix(method: str, models: Sequence[str], statistics: Sequence[Statistics]) -> None:
    """All must come of one walk through the models of this merge."""
    for each in statistics:
        assert each.prefix is not None
        if each.prefix != statistics[0].prefix or sorted(each.prefix["models"]) != sorted(models):
            raise ValueError(
                f"`{method}` needs statistics that were measured together, on the models of this merge, but "
                f"{each.source} was measured while others were merged. Measure them again, all at once."
            )


def _listed(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in parameters.items())
