"""Writing children into a module's memory: the sink that the merge executor fills, and what of it can stay.

A tensor stays if what it follows from is what it was made from last time: the same tensors of the same open
checkpoints, by the same method with the same parameters. Checkpoints are compared as objects, so whoever opens a file
anew writes anew.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from merganser._errors import CheckpointError
from merganser.merging import Engine, MergePlan, Target
from merganser.models._build import listed
from merganser.weights import DTYPES, Checkpoint, Execution, TensorSpec, is_derived

_STORED = {getattr(torch, row.library): row.name for row in DTYPES.values() if hasattr(torch, row.library)}
"""Names of element types on disk."""


@dataclass(frozen=True, slots=True)
class Written:
    """What becoming a child took.

    Attributes:
        tensors: Tensors written.
        bytes: Their bytes in the module.
        kept: Tensors that were there already.
        kept_bytes: Their bytes.
    """

    tensors: int
    bytes: int
    kept: int
    kept_bytes: int


class _Content(NamedTuple):
    """What a tensor follows from; equal for equal tensors."""

    sources: tuple[tuple[Checkpoint, str], ...]
    treatment: Hashable


class Memory:
    """A module's memory, by the names of tensors on disk; a sink that lends its memory to the executor.

    Args:
        places: For each tensor on disk the view it is written to.
        source: What messages call the model that the module was built for.
    """

    def __init__(self, places: Mapping[str, Tensor], source: str) -> None:
        self._places, self._source = places, source
        self._contents: dict[str, _Content] = {}
        self._measured: tuple[Hashable, object] = (None, None)
        self._flat = {name: place.view(-1) for name, place in places.items() if place.is_contiguous()}

    @property
    def is_whole(self) -> bool:
        """Whether every tensor has been written, and none left half-written."""
        return len(self._contents) == len(self._places)

    def merge(self, plan: MergePlan, execution: Execution) -> Written:
        """Carry a plan out into the module.

        Raises:
            CheckpointError: If it does not make exactly the tensors of this module, or an input is damaged.
            ValueError: If a method cannot work with what it found.
        """
        targets = {t.spec.name: self._fitted(t) for t in plan.targets if not is_derived(t.spec)}
        self._check({name: target.spec for name, target in targets.items()}, plan.method_name)
        contents = {name: self._content(target, plan) for name, target in targets.items()}

        def write(names: list[str]) -> None:
            fitted = replace(plan, targets=tuple(targets.values()))
            Engine(fitted, execution).run([targets[name] for name in names], self)

        return self._renew(contents, write)

    def copy(self, checkpoint: Checkpoint) -> Written:
        """Copy a checkpoint into the module, converting where element types differ.

        Raises:
            CheckpointError: If it does not hold exactly the tensors of this module, or is damaged.
        """
        specs = (checkpoint.spec(name) for name in checkpoint)
        self._check({spec.name: spec for spec in specs if not is_derived(spec)}, checkpoint.source)

        def write(names: list[str]) -> None:
            for name in names:
                self._places[name].copy_(checkpoint.read(name))

        return self._renew({name: _Content(((checkpoint, name),), None) for name in self._places}, write)

    def room(self, name: str, begin: int, end: int) -> Tensor | None:
        """Lend the memory of elements [begin, end) of a tensor, if they lie side by side."""
        flat = self._flat.get(name)
        return None if flat is None else flat[begin:end]

    def write_at(self, name: str, offset: int, chunk: memoryview) -> None:
        """Take bytes of a tensor, from any thread, in any order."""
        place = self._places[name]
        values = torch.from_numpy(np.frombuffer(chunk, dtype=np.uint8).copy()).view(place.dtype)
        write_range(place, offset // place.element_size(), values)

    def _renew(self, contents: Mapping[str, _Content], write: Callable[[list[str]], None]) -> Written:
        """Write the tensors whose content is another than before."""
        changed = [name for name, content in contents.items() if self._contents.get(name) != content]
        for name in changed:  # if writing fails, nobody knows what they hold
            self._contents.pop(name, None)
        write(changed)
        self._contents.update({name: contents[name] for name in changed})
        total = sum(place.nbytes for place in self._places.values())
        written = sum(self._places[name].nbytes for name in changed)
        return Written(len(changed), written, len(contents) - len(changed), total - written)

    def _fitted(self, target: Target) -> Target:
        """A target with the element type that its tensor has in the module."""
        place = self._places.get(target.spec.name)
        if place is None or target.method is None:
            return target
        return replace(target, spec=replace(target.spec, dtype=_STORED[place.dtype]))

    def _content(self, target: Target, plan: MergePlan) -> _Content:
        if target.method is None:
            return _Content(target.sources.sources[:1], None)
        treatment = target.method.treatment(target.spec.name, target.spec.numel)
        measured = self._measurement(plan) if target.method.scope == "model" else None
        return _Content(target.sources.sources, (treatment, target.has_base, plan.seed, measured))

    def _measurement(self, plan: MergePlan) -> object:
        """Stands for everything that is measured of the whole model: the same object for equal plans."""
        of = tuple(
            (target.method, target.sources.sources, target.has_base)
            for target in plan.targets
            if target.method is not None and target.method.scope == "model"
        )
        if self._measured[0] != (of, plan.seed):
            self._measured = ((of, plan.seed), object())
        return self._measured[1]

    def _check(self, specs: Mapping[str, TensorSpec], child: str) -> None:
        """Make sure that a child has the tensors of this module, and no others."""
        lacking = [name for name in self._places if name not in specs]
        foreign = [name for name in specs if name not in self._places]
        if lacking or foreign:
            what = f"lacks {listed(lacking)}" if lacking else f"has {listed(foreign)}, which have no place"
            raise CheckpointError(
                f"Expected the tensors of {self._source}, but {child} {what}. Load a model of its own for it."
            )
        for name, spec in specs.items():
            if tuple(self._places[name].shape) != spec.shape:
                raise CheckpointError(
                    f"Expected {name!r} of shape {tuple(self._places[name].shape)}, as in {self._source}, but in "
                    f"{child} it has {spec.shape}. Load a model of its own for it."
                )


def write_range(place: Shaped[Tensor, "..."], begin: int, values: Shaped[Tensor, " elements"]) -> None:
    """Write elements [begin, begin + elements), counted row-major, of a tensor that need not be contiguous.

    Examples:
        >>> square = torch.zeros(2, 2)
        >>> write_range(square.T, 1, torch.tensor([5.0, 6.0]))
        >>> square
        tensor([[0., 6.],
                [5., 0.]])
    """
    end = begin + len(values)
    if place.is_contiguous():
        place.view(-1)[begin:end].copy_(values)
        return
    width = place[0].numel()
    first, last = -(-begin // width), end // width  # whole rows
    if first > last:
        write_range(place[last], begin % width, values)
        return
    head, tail = first * width - begin, last * width - begin
    if head:
        write_range(place[first - 1], begin % width, values[:head])
    rows = place[first:last]
    rows.copy_(values[head:tail].view(rows.shape))
    if tail < len(values):
        write_range(place[last], 0, values[tail:])
