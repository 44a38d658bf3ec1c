r"""Tables of tokens with their rows in another order, put together while they are read.

A table is an embedding, a head or a bias: its vocabulary's axis has any place in its shape. Seen as
$(\text{outer}, \text{rows}, \text{width})$ with that axis in the middle, a range of elements is walked in blocks of
rows; each block is gathered from the model's own rows, those of other models where it has none, and their means (see
`_rows`). Rows that follow each other in the model are read as they lie, so a vocabulary that only grew is read straight
through. Means are taken in float64.

Nothing is held but a block and, for tables with rows that have no token, the mean of the others, for which the first
reader makes a pass of its own.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

from merganser._errors import CheckpointError
from merganser.merging.vocabulary._rows import NONE, Rows
from merganser.weights import (
    DTYPES,
    Architecture,
    Checkpoint,
    ComputingSource,
    PartialSource,
    Reader,
    TensorSpec,
    tied_to,
)

if TYPE_CHECKING:
    import torch

BLOCK = 1 << 18
"""Elements that are put together at a time, or one row if that is longer."""

_CHUNK_BYTES = 1 << 22

Gather: TypeAlias = "Callable[[int, Int[np.ndarray, 'rows'], Float[torch.Tensor, 'rows width']], None]"
"""Copies rows of a table, given by their numbers within an outer index, into a matrix."""


class Mean:
    """The mean of a table's rows that have a token: taken once, by whoever needs it first."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._value: Float[np.ndarray, "outer width"] | None = None

    def of(self, table: Table) -> Float[np.ndarray, "outer width"]:
        """The mean, of a table that is always the same."""
        with self._lock:
            if self._value is None:
                self._value = table.mean()
        return self._value


class Table:
    """One table of one model in the order of the result.

    Args:
        shape: Outer size, rows of the result, width.
        rows: Where its rows come from.
        own: Reads the model's own rows.
        givers: Reads those of every model that gives rows to others; None for the rest.
        mean: What its rows without a token are.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        rows: Rows,
        own: Gather,
        givers: Sequence[Gather | None],
        mean: Mean,
    ) -> None:
        self._outer, self._size, self._width = shape
        self._rows, self._own, self._givers, self._mean = rows, own, givers, mean

    def read(self, begin: int, out: torch.Tensor) -> None:
        """Copy the elements [begin, begin + len(out)) into `out`."""
        done = 0
        while done < len(out):
            row, column = divmod(begin + done, self._width)
            outer, first = divmod(row, self._size)
            if column or len(out) - done < self._width:
                whole = out.new_empty(1, self._width)
                self._fill(outer, first, whole)
                part = whole[0, column : column + len(out) - done]
                out[done : done + len(part)] = part
                done += len(part)
                continue
            count = min(self._step, self._size - first, (len(out) - done) // self._width)
            target = out[done : done + count * self._width].view(count, self._width)
            self._fill(outer, first, target)
            done += target.numel()

    def mean(self) -> Float[np.ndarray, "outer width"]:
        """Mean of the rows that have a token, summed in the same blocks whoever asks."""
        total = np.zeros((self._outer, self._width))
        for outer in range(self._outer):
            for first in range(0, self._size, self._step):
                block = np.empty((min(self._step, self._size - first), self._width))
                self._fill(outer, first, _tensor(block), padded=False)
                total[outer] += block.sum(axis=0)
        return total / self._rows.is_token.sum()

    @property
    def _step(self) -> int:
        return max(1, BLOCK // self._width)

    def _fill(
        self, outer: int, first: int, target: Float[torch.Tensor, "rows width"], *, padded: bool = True
    ) -> None:
        """Put the rows of the result from `first` on into a matrix; unless padded, rows without a token are zeros."""
        own = self._rows.own[first : first + len(target)]
        has = own != NONE
        if has.all():
            self._own(outer, own, target)
            return
        target.zero_()
        if has.any():
            found = target.new_empty(int(has.sum()), self._width)
            self._own(outer, own[has], found)
            _put(target, np.flatnonzero(has), found)
        self._fill_means(outer, first, target)
        lacking = np.flatnonzero(~self._rows.is_token[first : first + len(target)])
        if padded and len(lacking):
            _put(target, lacking, _tensor(self._mean.of(self)[outer]).expand(len(lacking), -1))

    def _fill_means(self, outer: int, first: int, target: Float[torch.Tensor, "rows width"]) -> None:
        """Put the means over models' rows where they belong."""
        begin, end = np.searchsorted(self._rows.filled, [first, first + len(target)])
        if begin == end:
            return
        given = self._rows.given[:, begin:end]
        total = np.zeros((end - begin, self._width))
        for gather, numbers in zip(self._givers, given, strict=True):
            at = np.flatnonzero(numbers != NONE)
            if gather is None or not len(at):
                continue
            found = np.empty((len(at), self._width))
            gather(outer, numbers[at], _tensor(found))
            total[at] += found
        total /= np.maximum((given != NONE).sum(axis=0), 1)[:, None]
        _put(target, self._rows.filled[begin:end] - first, _tensor(total))


class RearrangedSource:
    """The tensors of a model, those with a vocabulary axis in the order of another vocabulary.

    Args:
        models: The models that rows come from.
        architectures: Theirs.
        index: The one whose tensors these are.
        rows: Where the rows of its tables come from.

    Raises:
        CheckpointError: If a row comes from a model that has no table that fits.
    """

    def __init__(
        self, models: Sequence[Checkpoint], architectures: Sequence[Architecture], index: int, rows: Rows
    ) -> None:
        self._models, self._model, self._rows = models, models[index], rows
        axes = architectures[index].axes
        self.specs: Mapping[str, TensorSpec] = {
            name: _resized(spec, axes[name], len(rows.own)) if name in axes else spec
            for name, spec in self._model.tensors.specs.items()
        }
        gives = (rows.given != NONE).any(axis=1)
        givers = list(zip(models, architectures, strict=True))
        self._axes, self._means = axes, {name: Mean() for name in axes}
        self._names = {
            name: [
                _counterpart(name, self._model, axis, *giver) if giving else None
                for giver, giving in zip(givers, gives, strict=True)
            ]
            for name, axis in axes.items()
        }

    @property
    def stamps(self) -> tuple[Any, ...]:
        """State of all files that the tensors follow from, and one that tells apart what was made of them."""
        stamps = [model.tensors.stamps for model in self._models]
        if not all(stamps):
            return ()
        state = hashlib.blake2b(digest_size=16)
        for array in (self._rows.own, self._rows.filled, self._rows.given, self._rows.is_token):
            state.update(array.tobytes())
        own = self._model.tensors.stamps
        made = own[0]._replace(path=Path(f"vocabulary-{state.hexdigest()}"), size=0, inode=0)
        return (*own, *(stamp for model in stamps for stamp in model), made)

    def view(self, name: str) -> npt.NDArray[np.uint8]:
        """All bytes of a tensor; put together if it is a table."""
        if name in self._axes:
            return self.part(name, 0, self.specs[name].numel)
        return self._model.tensors.view(name)

    def part(self, name: str, begin: int, end: int) -> npt.NDArray[np.uint8]:
        """Bytes of the elements [begin, end), rounded once to the element type of the model's table."""
        import torch

        if name not in self._axes:
            source, itemsize = self._model.tensors, self.specs[name].itemsize
            if isinstance(source, PartialSource):
                return source.part(name, begin, end)
            return source.view(name)[begin * itemsize : end * itemsize]
        exact = torch.empty(end - begin, dtype=torch.float64)
        self.reader(name)(begin, exact)
        stored = exact.to(getattr(torch, DTYPES[self.specs[name].dtype].library))
        return stored.view(torch.uint8).numpy()

    def chunks(self, name: str) -> Iterator[memoryview]:
        """The same bytes in order."""
        if name not in self._axes:
            yield from self._model.tensors.chunks(name)
            return
        spec = self.specs[name]
        step = _CHUNK_BYTES // spec.itemsize
        for begin in range(0, spec.numel, step):
            yield self.part(name, begin, min(begin + step, spec.numel)).data

    def reader(self, name: str) -> Reader:
        """A function that computes elements, in the type and on the device of what it fills."""
        if name not in self._axes:
            return self._model.reader(name)
        axis = self._axes[name]
        givers = [
            None if found is None else gather(model, found, axis)
            for model, found in zip(self._models, self._names[name], strict=True)
        ]
        shape, own = _folded(self.specs[name].shape, axis), gather(self._model, name, axis)
        return Table(shape, self._rows, own, givers, self._means[name]).read

    def will_need(self, name: str, begin: int, end: int) -> None:
        """Begin to read elements that lie as they did in the model; returns at once."""
        if name not in self._axes:
            self._model.will_need(name, begin, end)


def gather(checkpoint: Checkpoint, name: str, axis: int) -> Gather:
    """A function that copies rows of a table.

    Args:
        checkpoint: The model.
        name: Its table.
        axis: The vocabulary's axis.
    """
    import torch

    _, size, width = shape = _folded(checkpoint.spec(name).shape, axis)
    reader = checkpoint.reader(name)
    lies_there = not isinstance(checkpoint.tensors, PartialSource | ComputingSource)
    stored = checkpoint.read(name).reshape(shape) if lies_there else None

    def copy(outer: int, numbers: Int[np.ndarray, " rows"], out: Float[torch.Tensor, "rows width"]) -> None:
        cuts = np.flatnonzero(np.diff(numbers) != 1) + 1
        if len(cuts) and stored is not None:
            out.copy_(stored[outer].index_select(0, torch.from_numpy(numbers)))
            return
        for begin, end in zip([0, *cuts], [*cuts, len(numbers)], strict=True):
            reader((outer * size + int(numbers[begin])) * width, out[begin:end].view(-1))

    return copy


def _counterpart(
    name: str, model: Checkpoint, axis: int, other: Checkpoint, architecture: Architecture
) -> str:
    """What another model calls the table that has rows for one of this model."""
    found = name if name in other else tied_to(name, other)
    if found is None or architecture.axes.get(found) != axis:
        raise CheckpointError(
            f"{other.source} has tokens that {model.source} lacks, but no table like its {name!r} to take their "
            "rows from. Are the models of one architecture?"
        )
    expected, shape = model.spec(name).shape, other.spec(found).shape
    if _resized(model.spec(name), axis, 0).shape != _resized(other.spec(found), axis, 0).shape:
        raise CheckpointError(
            f"{other.source} has tokens that {model.source} lacks, but its {found!r} of shape {shape} has rows of "
            f"another length than {name!r} of shape {expected}. Only models of one width can be merged."
        )
    return found


def _folded(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def _resized(spec: TensorSpec, axis: int, size: int) -> TensorSpec:
    return TensorSpec(spec.name, spec.dtype, (*spec.shape[:axis], size, *spec.shape[axis + 1 :]))


def _tensor(array: npt.NDArray[np.float64]) -> torch.Tensor:
    import torch

    return torch.from_numpy(array)


def _put(target: torch.Tensor, at: npt.NDArray[np.int64], rows: torch.Tensor) -> None:
    """Put rows at their places, in the type and on the device of the matrix."""
    import torch

    target.index_copy_(0, torch.from_numpy(at).to(target.device), rows.to(target.device, target.dtype))
