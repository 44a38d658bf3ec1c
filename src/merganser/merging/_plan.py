"""What a merge is going to do, tensor by tensor.

| object | what |
| --- | --- |
| [`MergePlan`][] | everything: targets, models, where configuration and tokenizer come from |
| [`Target`][] | one tensor of the result, the tensors it is made of, and how |

How plans are made from blueprints: `_planning`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from merganser.merging._blueprint import Blueprint
from merganser.merging._statistics import Statistics
from merganser.merging.methods import MergeMethod
from merganser.merging.vocabulary import Vocabulary
from merganser.weights import Aligned, Checkpoint, Execution, TensorSpec

if TYPE_CHECKING:
    from merganser.merging._cores import MergedCores

_SCRATCH_ROWS = 4
"""Rows of a block's length that a formula needs beside its inputs, roughly."""

_GRAMS = 8
"""Gram matrices in float32 that take as much as a regression needs of them."""


@dataclass(frozen=True, slots=True)
class Target:
    """One tensor of the result.

    Args:
        spec: Name, element type and shape it is written with.
        sources: The tensors it is made of: the base's first, if there is one, then the models'.
        method: What it is computed by; None to copy the first source.
        has_base: Whether the first source is a base.
        statistics: What was measured of the tensor on each model, if the method uses it.
        inputs_first: Whether the inputs of its layer are along its first axis; statistics say so.
        transposed: Whether the method is shown it with its two axes exchanged.
    """

    spec: TensorSpec
    sources: Aligned
    method: MergeMethod | None
    has_base: bool = False
    statistics: Aligned | None = None
    inputs_first: bool = False
    transposed: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape, as the method sees it."""
        return self.spec.shape[::-1] if self.transposed else self.spec.shape

    @property
    def is_merged(self) -> bool:
        """Whether it is computed."""
        return self.method is not None

    @property
    def models(self) -> int:
        """How many models it is made of, beside the base."""
        return len(self.sources.sources) - self.has_base

    @property
    def passes(self) -> int:
        """How often it is read, as a rule."""
        return 1 if self.method is None or self.method.scope == "none" else 2

    @property
    def bytes_once(self) -> int:
        """Bytes of its sources, and of what was measured on them."""
        measured = () if self.statistics is None else self.statistics.sources
        return sum(c.spec(name).nbytes for c, name in (*self.sources.sources, *measured))

    @property
    def bytes_in(self) -> int:
        """Bytes read, counting every pass."""
        return self.bytes_once * self.passes


@dataclass(frozen=True)
class MergePlan:
    """A merge, ready to be carried out.

    Args:
        method_name: The method as users call it.
        inputs: All models, the base among them.
        donor: Whose tokenizer the result has.
        targets: The result's tensors, in the order in which they are written.
        config: The result's configuration, but for what follows from its tensors.
        blueprint: What it was made from; None for a combination of seeds.
        base: The base, if there is one.
        vocabulary: Whose tokens the result has; None where all models have the same.
        chat_template: How conversations are laid out; None as the donor's files say.
        seed: Key of all random numbers.
        statistics: What was measured on each of the inputs, in their order; None where nothing was, or is used.
        cores: The changes of low rank that are merged in core space, if the merge is made there.
    """

    method_name: str
    inputs: tuple[Checkpoint, ...]
    donor: Checkpoint
    targets: tuple[Target, ...]
    config: Mapping[str, Any]
    blueprint: Blueprint | None = None
    base: Checkpoint | None = None
    vocabulary: Vocabulary | None = None
    chat_template: str | None = None
    seed: int = 0
    statistics: tuple[Statistics | None, ...] = ()
    cores: MergedCores | None = None

    @property
    def is_adapter(self) -> bool:
        """Whether the result is an adapter, and `config` its configuration."""
        return self.blueprint is not None and self.blueprint.as_adapter

    @property
    def models(self) -> tuple[Checkpoint, ...]:
        """The models beside the base."""
        return tuple(checkpoint for checkpoint in self.inputs if checkpoint is not self.base)

    @cached_property
    def methods(self) -> tuple[MergeMethod, ...]:
        """The methods at work, each with its parameters; several where parameters vary over the model."""
        return tuple({target.method: None for target in self.targets if target.method is not None})

    @property
    def passes(self) -> int:
        """How often a merged tensor is read, as a rule."""
        return max((target.passes for target in self.targets), default=1)

    @cached_property
    def bytes_in(self) -> int:
        """Bytes of tensors that are read, counting every pass."""
        return sum(target.bytes_in for target in self.targets)

    @cached_property
    def bytes_out(self) -> int:
        """Bytes of tensors that are written."""
        return sum(target.spec.nbytes for target in self.targets)

    def memory(self, execution: Execution) -> int:
        """Bytes of buffers that carrying it out takes, about; mapped files are not counted."""
        most = max((_scratch(target, execution) for target in self.targets), default=0)
        return execution.workers * (most + (0 if self.cores is None else self.cores.memory))

    def groups(self) -> list[dict[str, Any]]:
        """What happens to which tensors: one row for each kind of layer, treatment and element type."""
        kinds = {name: layer.kind for layer in self.donor.layers for name in layer.tensors}
        rows: dict[tuple[str, str, str], dict[str, Any]] = {}
        for target in self.targets:
            kind, spec = kinds.get(target.spec.name, "module"), target.spec
            action = self.method_name if target.is_merged else "copy"
            row = rows.setdefault(
                (kind, action, spec.dtype),
                {
                    "part": kind,
                    "method": action,
                    "dtype": spec.dtype,
                    "tensors": 0,
                    "parameters": 0,
                    "bytes": 0,
                },
            )
            row["tensors"] += 1
            row["parameters"] += spec.numel
            row["bytes"] += spec.nbytes
        return list(rows.values())


def _scratch(target: Target, execution: Execution) -> int:
    """Bytes of buffers that one target takes, about."""
    if target.method is None:
        return 0
    step = min(target.sources.step(execution.chunk), target.spec.numel)
    block = step * (len(target.sources.sources) * (1 + target.transposed) + _SCRATCH_ROWS)
    whole = target.spec.numel * target.method.whole_tensors(target.models)
    if target.statistics is not None:
        whole += _GRAMS * target.statistics.numel if target.method.scope == "tensor" else target.models * step
    return (block + whole) * (8 if target.sources.is_double else 4)
