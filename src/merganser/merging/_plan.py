"""What a merge is going to do, checked whole before a byte of data is read.

| object | what |
| --- | --- |
| [`MergePlan`][] | everything: models, method, targets, where configuration and tokenizer come from |
| [`Target`][] | one tensor of the result, and the tensors it is made of |

Planning reads headers only. Every target has one tensor in each model, of one shape; element types may differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from merganser._errors import CheckpointError
from merganser.merging.methods import METHODS, MergeMethod, bind
from merganser.weights import DTYPES, Aligned, Checkpoint, Execution, TensorSpec, misfit, tied_to

_SCRATCH_ROWS = 4
"""Rows of a block's length that a formula needs beside its inputs, roughly."""

_FLOATS = {row.library: row.name for row in DTYPES.values() if row.is_floating}


@dataclass(frozen=True, slots=True)
class Target:
    """One tensor of the result.

    Args:
        spec: Name, element type and shape it is written with.
        sources: The tensors it is made of: the base's first, if there is one, then the models'.
        is_merged: Whether it is computed; otherwise the first source is copied.
    """

    spec: TensorSpec
    sources: Aligned
    is_merged: bool


@dataclass(frozen=True)
class MergePlan:
    """A merge, ready to be carried out.

    Args:
        method_name: The method as users call it.
        method: The method with its parameters.
        models: The models beside the base, in the order given.
        base: The base, if the method works from one.
        donor: Whose configuration, tokenizer, tensor names and element types the result has.
        targets: The result's tensors, in the order in which they are written.
        seed: Key of all random numbers.
    """

    method_name: str
    method: MergeMethod
    models: tuple[Checkpoint, ...]
    base: Checkpoint | None
    donor: Checkpoint
    targets: tuple[Target, ...]
    seed: int = 0

    @property
    def inputs(self) -> tuple[Checkpoint, ...]:
        """All checkpoints that are read: the base first, then the models."""
        return self.models if self.base is None else (self.base, *self.models)

    @property
    def passes(self) -> int:
        """How often a merged tensor is read, as a rule."""
        return 1 if self.method.scope == "none" else 2

    @cached_property
    def bytes_in(self) -> int:
        """Bytes of tensors that are read, counting every pass."""
        return sum(target_bytes_in(target, self.passes) for target in self.targets)

    @cached_property
    def bytes_out(self) -> int:
        """Bytes of tensors that are written."""
        return sum(target.spec.nbytes for target in self.targets)

    def memory(self, execution: Execution) -> int:
        """Bytes of buffers that carrying it out takes, about; mapped files are not counted."""
        merged = [target for target in self.targets if target.is_merged]
        blocks = [
            min(t.sources.step(execution.chunk), t.spec.numel)
            * (len(t.sources.sources) + _SCRATCH_ROWS)
            * (8 if t.sources.is_double else 4)
            for t in merged
        ]
        return execution.workers * max(blocks, default=0)

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


def target_bytes_in(target: Target, passes: int) -> int:
    """Bytes read for one target."""
    once = sum(checkpoint.spec(name).nbytes for checkpoint, name in target.sources.sources)
    return once * (passes if target.is_merged else 1)


def plan_merge(
    models: Sequence[Checkpoint],
    method: str = "linear",
    *,
    base: Checkpoint | None = None,
    donor: Checkpoint | None = None,
    dtype: str | None = None,
    seed: int = 0,
    parameters: Mapping[str, Any] | None = None,
) -> MergePlan:
    """Check that models, method and parameters fit, and say what will be done.

    Args:
        models: The models, without the base.
        method: A name in `METHODS`.
        base: The base that the models were tuned from.
        donor: Whose configuration, names and element types the result has; the base, or else the first model.
        dtype: Element type of all merged tensors, as torch names it; by default that of the donor's tensor.
        seed: Key of random numbers.
        parameters: The method's parameters.

    Raises:
        ValueError: If the method is unknown or does not take these models or parameters.
        CheckpointError: If the models do not fit together.
    """
    rule_class = method_named(method)
    _check_base(method, base)
    bound = bind(method, rule_class, len(models), parameters or {})
    inputs = tuple(models) if base is None else (base, *models)
    for checkpoint in inputs:
        _refuse_quantised(checkpoint)
    donor = inputs[0] if donor is None else donor
    targets = tuple(_targets(inputs, donor, bound, _stored_type(dtype)))
    return MergePlan(method, bound, tuple(models), base, donor, targets, seed)


def method_named(name: str) -> type[MergeMethod]:
    """A row of `METHODS`.

    Raises:
        ValueError: If there is none of that name, with the one that may have been meant.
    """
    if name in METHODS:
        return METHODS[name]
    import difflib

    close = difflib.get_close_matches(name, METHODS, n=1)
    hint = f"Did you mean `{close[0]}`?" if close else f"Known are {', '.join(METHODS)}."
    raise ValueError(f"There is no merge method `{name}`. {hint}")


def _check_base(method: str, base: Checkpoint | None) -> None:
    wanted = METHODS[method].rule.base
    if wanted == "required" and base is None:
        raise ValueError(
            f"`{method}` works on differences from a base model, but none was given. Name the model that the others "
            "were tuned from as `base`, or use `linear`."
        )
    if wanted == "refused" and base is not None:
        raise ValueError(
            f"`{method}` takes no base model. Name it among the models if it is to be merged with them."
        )


def _refuse_quantised(checkpoint: Checkpoint) -> None:
    if checkpoint.config.get("quantization_config"):
        raise CheckpointError(
            f"{checkpoint.source} is quantised (its configuration has a `quantization_config`), and packed numbers "
            "cannot be added up. Use the model it was quantised from, or dequantise it first."
        )


def _stored_type(dtype: str | None) -> str | None:
    if dtype is None:
        return None
    name = dtype.removeprefix("torch.")
    if name not in _FLOATS:
        raise ValueError(f"`dtype` must be one of {', '.join(_FLOATS)}, but is {dtype!r}.")
    return _FLOATS[name]


def _targets(
    inputs: Sequence[Checkpoint], donor: Checkpoint, method: MergeMethod, dtype: str | None
) -> Iterable[Target]:
    for name in _names(inputs, donor):
        holder = donor if name in donor else next(checkpoint for checkpoint in inputs if name in checkpoint)
        sources = tuple((checkpoint, _resolve(checkpoint, name, holder)) for checkpoint in inputs)
        spec, aligned = holder.spec(name), Aligned(sources, method.whole_rows)
        stored = TensorSpec(name, dtype or spec.dtype, spec.shape) if spec.is_floating else spec
        yield Target(stored, aligned, is_merged=spec.is_floating)


def _names(inputs: Sequence[Checkpoint], donor: Checkpoint) -> list[str]:
    """The donor's tensors, and those that it ties but another model holds apart."""
    others = sorted({name for checkpoint in inputs for name in checkpoint if name not in donor})
    for name in others:
        if tied_to(name, donor) is None:
            holder = next(checkpoint for checkpoint in inputs if name in checkpoint)
            raise CheckpointError(misfit(name, holder, donor))
    return [*donor, *others]


def _resolve(checkpoint: Checkpoint, name: str, holder: Checkpoint) -> str:
    """What a checkpoint calls a tensor of another: the same, or the tensor it ties it to."""
    tied = None if name in checkpoint else tied_to(name, checkpoint)
    if tied is not None and checkpoint.spec(tied).shape == holder.spec(name).shape:
        return tied
    if why := misfit(name, holder, checkpoint):
        raise CheckpointError(why)
    return name
