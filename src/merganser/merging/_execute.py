"""Carrying out a plan: read, measure, combine, round once, write; in parallel, in bounded memory.

A *unit* is a stretch of one target. Units of a tensor are independent, unless the method has to see the whole tensor
first: then the tensor is one unit, measured and combined by one worker. What a method wants to see of the whole model
is measured before anything is written. Nothing depends on the number of workers, the size of blocks, or the order in
which units are done.

Where bytes go is a *sink*: a shard on disk, memory, or a comparison with what is already there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

from merganser._errors import CheckpointError
from merganser.merging._fused import bits_of, is_worth_it, mix, takes
from merganser.merging._layout import exchanged
from merganser.merging._plan import MergePlan, Target
from merganser.merging.methods import Grams, MergeMethod, Noise, Part
from merganser.weights import (
    DTYPES,
    REDUCTION,
    Aligned,
    Block,
    Buffers,
    Checkpoint,
    Execution,
    TensorSpec,
    single_threaded,
)

if TYPE_CHECKING:
    import torch

_UNIT = 1 << 23
"""Elements of a unit, where a tensor may be cut; a multiple of every run and, rounded, of whole rows."""

_NARROW = ("F16", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0")
"""Element types whose range is smaller than that of the arithmetic."""

_R = TypeVar("_R")
_Room: TypeAlias = "Callable[[str, int, int], torch.Tensor | None]"


@runtime_checkable
class Sink(Protocol):
    """Where the result's bytes go."""

    def write_at(self, name: str, offset: int, chunk: memoryview) -> None:
        """Take bytes of a tensor, from any thread, in any order."""
        ...


@runtime_checkable
class RoomySink(Sink, Protocol):
    """A sink that lends its memory, so that rounding writes where the result is to be."""

    def room(self, name: str, begin: int, end: int) -> torch.Tensor | None:
        """A flat view of elements [begin, end) of a tensor, in the type it is written with; None if it has none."""
        ...


class Progress(NamedTuple):
    """How far a merge is.

    Args:
        done: Bytes read and written so far.
        total: Bytes that will be read and written.
        doing: What is being done, in a word or two.
    """

    done: int
    total: int
    doing: str


class _Unit(NamedTuple):
    target: Target
    begin: int
    end: int


@dataclass
class Engine:
    """Carries out one plan.

    Args:
        plan: What to do.
        execution: How.
        progress: Called from the calling thread whenever a unit is done.

    Raises:
        ValueError: If torch cannot compute on the device.
    """

    plan: MergePlan
    execution: Execution
    progress: Callable[[Progress], None] | None = None

    def __post_init__(self) -> None:
        _check_device(self.execution.device)
        self._inputs, self._statistics, self._outputs = Buffers(), Buffers(), Buffers()
        self._done = 0
        self._model_stats: dict[Hashable, Any] | None = None
        elements = sum(target.spec.numel for target in self.plan.targets if target.is_merged)
        self._mixes = self.execution.device == "cpu" and is_worth_it(elements)
        self._to_measure = sum(target.bytes_once for target in self.plan.targets if _sees_model(target))

    def run(self, targets: Iterable[Target], sink: Sink) -> None:
        """Compute targets and hand their bytes to a sink.

        Raises:
            CheckpointError: If an input is damaged or holds NaN or infinite numbers, naming tensor and model.
            ValueError: If the method cannot work with what it found.
        """
        with single_threaded():
            self._measure_model()
            units = sorted(self._units(targets), key=lambda unit: unit.begin - unit.end)
            room = sink.room if isinstance(sink, RoomySink) else None  # asked once: the question is slow
            written = self.execution.map(lambda unit: self._write(unit, sink, room), _foreseen(units))
            for unit, _ in zip(units, written, strict=True):
                self._advance(_share(self._cost(unit.target), unit), "merging")

    def in_memory(self, config: Mapping[str, Any]) -> Checkpoint:
        """Compute everything and keep it in memory.

        Args:
            config: The result's configuration.

        Raises:
            CheckpointError: As `run`.
            ValueError: As `run`.
        """
        sink = MemorySink(self.plan.targets)
        self.run(self.plan.targets, sink)
        merged = Checkpoint.from_tensors(sink.tensors, config=config, copy=False)
        tied = {name: kept for name, kept in self.plan.donor.tied.items() if name not in merged}
        return dataclasses.replace(merged, tied=tied)

    def skip(self, targets: Iterable[Target]) -> None:
        """Count targets as done: an earlier attempt has written them."""
        self._done += sum(map(self._cost, targets))

    def _measure_model(self) -> None:
        """Measure what methods want to see of the whole model: of all tensors that they treat alike."""
        if self._model_stats is not None:
            return
        groups: dict[Hashable, list[Target]] = {}
        for target in self.plan.targets:
            if _sees_model(target):
                groups.setdefault(_group(target), []).append(target)
        self._model_stats = {}
        for group, targets in groups.items():
            assert targets[0].method is not None
            self._model_stats[group] = targets[0].method.prepare(_ModelScan(self, targets))
        if self._to_measure:
            self.measured(self._to_measure)

    def measured(self, count: int) -> None:
        """Count bytes of the whole model that were read to measure; reading them again is not in the total."""
        count = min(count, self._to_measure)
        self._to_measure -= count
        self._advance(count, "measuring")

    def _units(self, targets: Iterable[Target]) -> Iterator[_Unit]:
        for target in targets:
            length = target.spec.numel
            if target.method is not None and target.method.scope != "tensor":
                length = target.sources.step(_UNIT)
            for begin in range(0, target.spec.numel, max(length, 1)):
                yield _Unit(target, begin, min(begin + length, target.spec.numel))

    def _cost(self, target: Target) -> int:
        """Bytes read and written for a target, but for what measuring the whole model reads of it."""
        read = target.bytes_once if _sees_model(target) else target.bytes_in
        return read + target.spec.nbytes

    def _advance(self, count: int, doing: str) -> None:
        self._done += count
        if self.progress is not None:
            total = self.plan.bytes_in + self.plan.bytes_out
            self.progress(Progress(min(self._done, total), total, doing))

    def parts(
        self, target: Target, begin: int = 0, end: int | None = None, stride: int = 1
    ) -> Iterator[Part]:
        """The elements of a target's sources as the method wants them."""
        noise, shape = Noise(self.plan.seed, target.spec.name), target.shape
        columns = max(shape[-1] if target.transposed else target.sources.columns, 1)
        takes_deltas = target.method is not None and target.method.rule.space == "deltas"
        elementwise = self._fisher(target, begin, end, stride)
        for block in target.sources.blocks(self.execution, self._inputs, begin, end, stride):
            rows = exchanged(block.values, target.spec.shape) if target.transposed else block.values
            base, values = (rows[0], rows[1:]) if target.has_base else (None, rows)
            if base is not None and takes_deltas:
                values -= base
            fisher = None if elementwise is None else next(elementwise).values
            yield Part(values, base, block.begin, columns, noise, target.spec.name, shape, fisher)

    def _fisher(self, target: Target, begin: int, end: int | None, stride: int) -> Iterator[Block] | None:
        """Fisher information of the same elements, block by block, if the method uses it."""
        if target.statistics is None or target.method is None or target.method.rule.statistics != "fisher":
            return None
        return target.statistics.blocks(self.execution, self._statistics, begin, end, stride)

    def _write(self, unit: _Unit, sink: Sink, room: _Room | None) -> None:
        method = unit.target.method
        if method is None:
            _copy(unit.target, sink)
            return
        try:
            stats = None
            if method.scope == "tensor":
                stats = method.prepare(_TensorScan(self, unit.target))
            elif method.scope == "model" and self._model_stats is not None:
                stats = self._model_stats[_group(unit.target)]
            if self._mixed(unit, method, stats, sink, room):
                return
            for part in self.parts(unit.target, unit.begin, unit.end):
                merged = self._combined(method, part, stats, unit.target)
                self._store(merged, part.begin, unit.target.spec, sink, room)
        except ValueError as error:
            fault = self.find_fault(unit.target, unit.begin, unit.end)
            raise (fault or ValueError(f"Tensor {unit.target.spec.name!r}: {error}")) from error

    def _mixed(self, unit: _Unit, method: MergeMethod, stats: Any, sink: Sink, room: _Room | None) -> bool:
        """Write a unit in one pass if it is but a sum with given weights; whether it is written now.

        It is not where a number is not finite: the long way says which.
        """
        (name, dtype), (begin, end) = (unit.target.spec.name, unit.target.spec.dtype), (unit.begin, unit.end)
        if not self._mixes or not takes(dtype) or unit.target.sources.dtype != dtype:
            return False
        mixture = method.mixture(name, begin, end, stats=stats, has_base=unit.target.has_base)
        rows = None if mixture is None else unit.target.sources.bits()
        if mixture is None or rows is None:
            return False
        lent = None if room is None else room(name, begin, end)
        if lent is not None:
            return mix(mixture, dtype, [row[begin:end] for row in rows], bits_of(lent))
        step = self.execution.chunk
        for first in range(begin, end, step):
            last = min(first + step, end)
            rounded = self._outputs.matrix(1, last - first, _library_type(dtype), "cpu")[0]
            part = mixture.between(first - begin, last - begin)
            if not mix(part, dtype, [row[first:last] for row in rows], bits_of(rounded)):
                return False
            sink.write_at(name, first * unit.target.spec.itemsize, _bytes_of(rounded))
        return True

    def _combined(self, method: MergeMethod, part: Part, stats: Any, target: Target) -> torch.Tensor:
        """The merged numbers of a part, which fit the type they will have."""
        merged = method.combine(part, stats)
        if part.base is not None and method.rule.space == "deltas":
            merged.add_(part.base)
        if target.transposed:
            merged = exchanged(merged[None], target.shape)[0]
        if not _fits(merged, target.spec.dtype):
            raise ValueError(
                f"the merged numbers do not fit {DTYPES[target.spec.dtype].library}: they are infinite or no numbers. "
                "Check the parameters, or choose a wider `dtype`."
            )
        return merged

    def _store(
        self, merged: torch.Tensor, begin: int, spec: TensorSpec, sink: Sink, room: _Room | None
    ) -> None:
        """Round once, and hand over; straight into the sink's own memory where it lends some."""
        lent = None if room is None else room(spec.name, begin, begin + len(merged))
        if lent is not None:
            lent.copy_(merged)
        else:
            sink.write_at(spec.name, begin * spec.itemsize, _bytes_of(self._rounded(merged, spec.dtype)))

    def _rounded(self, merged: torch.Tensor, dtype: str) -> torch.Tensor:
        """The numbers in their stored type, on the CPU."""
        import torch

        if dtype == "F32" and merged.device.type == "cpu" and merged.dtype == torch.float32:
            return merged
        return self._outputs.matrix(1, len(merged), _library_type(dtype), "cpu")[0].copy_(merged)

    def find_fault(self, target: Target, begin: int = 0, end: int | None = None) -> CheckpointError | None:
        """The first number in a target's sources that is not finite, as an error that names it; None if all are.

        Of what was measured on them, too.
        """
        fault = self._fault_in(target.sources, "The model is damaged: use a sound copy.", begin, end)
        if fault is None and target.statistics is not None:
            fault = self._fault_in(target.statistics, "These statistics are damaged: measure them again.")
        return fault

    def _fault_in(
        self, aligned: Aligned, advice: str, begin: int = 0, end: int | None = None
    ) -> CheckpointError | None:
        import torch

        for block in aligned.blocks(self.execution, self._inputs, begin, end):
            for (checkpoint, name), row in zip(aligned.sources, block.values, strict=True):
                finite = torch.isfinite(row)
                if not finite.all():
                    at = int((~finite).nonzero()[0].item())
                    kind = "NaN" if torch.isnan(row[at]) else "infinite"
                    return CheckpointError(
                        f"Tensor {name!r} of {checkpoint.source} holds a number that is {kind}, at element "
                        f"{block.begin + at:,}. {advice}"
                    )
        return None


def _library_type(dtype: str) -> torch.dtype:
    import torch

    return getattr(torch, DTYPES[dtype].library)


def _bytes_of(values: torch.Tensor) -> memoryview:
    import torch

    return values.view(torch.uint8).numpy().data


def _fits(merged: torch.Tensor, dtype: str) -> bool:
    """Whether all numbers are finite in their stored type."""
    import torch

    is_narrower = dtype in _NARROW or (merged.dtype == torch.float64 and dtype != "F64")
    if not is_narrower and math.isfinite(merged.sum().item()):
        return True
    limits = torch.finfo(getattr(torch, DTYPES[dtype].library))
    most = limits.max * (1 + limits.eps / 8)  # what the last bit of a float32 adds still rounds to it
    low, high = (value.item() for value in merged.aminmax())  # a NaN comes through both
    return -most <= low and high <= most


class _TensorScan:
    """Passes over one target."""

    def __init__(self, engine: Engine, target: Target) -> None:
        self._engine, self._target = engine, target
        self.models, self.has_base = target.models, target.has_base
        self.numel = target.spec.numel
        self.shape: tuple[int, ...] | None = target.shape
        self.grams = None if target.statistics is None else Grams(self._gram, target.inputs_first)

    def _gram(self, model: int) -> torch.Tensor:
        assert self._target.statistics is not None
        checkpoint, name = self._target.statistics.sources[model]
        return checkpoint.read(name)

    def __call__(self, measure: Callable[[Part], _R], *, stride: int = 1) -> Iterator[_R]:
        for part in self._engine.parts(self._target, stride=stride):
            yield measure(part)


class _ModelScan:
    """Passes over many targets, in parallel; what is found comes in the order of the elements."""

    def __init__(self, engine: Engine, targets: Sequence[Target]) -> None:
        self._engine, self._targets = engine, targets
        self.models, self.has_base = targets[0].models, targets[0].has_base
        self.numel = sum(target.spec.numel for target in targets)
        self.shape: tuple[int, ...] | None = None
        self.grams: Grams | None = None

    def __call__(self, measure: Callable[[Part], _R], *, stride: int = 1) -> Iterator[_R]:
        engine = self._engine
        units = [
            _Unit(target, begin, min(begin + length, target.spec.numel))
            for target in self._targets
            for length in [target.sources.step(_UNIT)]
            for begin in range(0, target.spec.numel, length)
        ]

        def measure_unit(sampled: tuple[_Unit, int]) -> list[_R]:
            unit, first = sampled
            try:
                return [measure(part) for part in engine.parts(unit.target, first, unit.end, stride)]
            except ValueError as error:
                raise (engine.find_fault(unit.target, unit.begin, unit.end) or error) from error

        found_in = engine.execution.map(measure_unit, _with_starts(units, stride))
        for unit, found in zip(units, found_in, strict=True):
            if stride == 1:
                engine.measured(_share(unit.target.bytes_once, unit))
            yield from found


def _sees_model(target: Target) -> bool:
    return target.method is not None and target.method.scope == "model"


def _group(target: Target) -> Hashable:
    """What targets agree in that are measured together: what is measured, and of which models."""
    assert target.method is not None
    return (
        target.method.measured,
        target.has_base,
        tuple(id(checkpoint) for checkpoint, _ in target.sources.sources),
    )


def _share(whole: int, unit: _Unit) -> int:
    """A unit's part of what its target costs; those of all units add up to the whole."""
    return whole * unit.end // unit.target.spec.numel - whole * unit.begin // unit.target.spec.numel


def _foreseen(units: Sequence[_Unit]) -> Iterator[_Unit]:
    """Units, each asked for while the disk begins to read the one after it."""
    for unit, following in zip_longest(units, units[1:]):
        if following is not None:
            following.target.sources.will_need(following.begin, following.end)
        yield unit


def _with_starts(units: Iterable[_Unit], stride: int) -> Iterator[tuple[_Unit, int]]:
    """Units, and where in each a sample begins that takes every so many-th run of the whole model.

    A sample that began anew in every tensor would hold a model's many small tensors almost whole.
    """
    runs = 0
    for unit in units:
        length = unit.target.sources.step(REDUCTION)
        yield unit, unit.begin + -runs % stride * length
        runs += -(-(unit.end - unit.begin) // length)


class MemorySink:
    """Collects the result in memory."""

    def __init__(self, targets: Iterable[Target]) -> None:
        import torch

        self.tensors: Mapping[str, torch.Tensor] = {
            t.spec.name: torch.empty(t.spec.shape, dtype=getattr(torch, DTYPES[t.spec.dtype].library))
            for t in targets
        }
        self._bytes = {
            name: tensor.view(-1).view(torch.uint8).numpy() for name, tensor in self.tensors.items()
        }

    def room(self, name: str, begin: int, end: int) -> torch.Tensor:
        """The result's own memory."""
        return self.tensors[name].view(-1)[begin:end]

    def write_at(self, name: str, offset: int, chunk: memoryview) -> None:
        """Copy bytes to their place."""
        self._bytes[name].data[offset : offset + len(chunk)] = chunk


def _copy(target: Target, sink: Sink) -> None:
    """Hand over a tensor that is not merged, such as an integer buffer; it must be the same in all models."""
    (first, first_name), *others = target.sources.sources
    contents = [b"".join(c.chunks(n)) for c, n in others]
    offset = 0
    for chunk in first.chunks(first_name):
        for (other, name), content in zip(others, contents, strict=True):
            same_type = other.spec(name).dtype == first.spec(first_name).dtype
            if not same_type or content[offset : offset + len(chunk)] != chunk:
                raise CheckpointError(
                    f"Tensor {name!r} holds {other.spec(name).dtype}, which cannot be merged, and differs between "
                    f"{first.source} and {other.source}. Models to combine must agree in it."
                )
        sink.write_at(target.spec.name, offset, chunk)
        offset += len(chunk)


def _check_device(device: str) -> None:
    """Make sure that torch can compute there; it says no in many ways, some of them only in the middle of the work."""
    import torch

    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"torch cannot compute on the device {device!r} here: {why}") from error
