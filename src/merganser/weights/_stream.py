r"""The one streaming loop: the same elements of several tensors, side by side, chunk after chunk.

A tensor of $k$ checkpoints is walked in blocks of a few hundred thousand elements, small enough for the
cache. Every block is a matrix of $k$ rows, in float32 (float64 for double-precision tensors), in a buffer that
the next block reuses: memory does not grow with the model. What consumes the blocks may overwrite them.

Blocks begin at multiples of [`REDUCTION`][] elements, or of as many whole rows as hold that many where rows matter
([`row_run`][]), whatever their size: sums over a tensor that are taken over runs of that length first do not depend on
how it was cut.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy.typing as npt
from jaxtyping import Float

from merganser.weights._checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch

REDUCTION = 4096
"""Elements over which partial sums are taken; blocks begin at multiples of it."""

_AHEAD = 2
"""Items in flight for each worker."""

_T = TypeVar("_T")
_R = TypeVar("_R")

DEFAULT_CHUNK = 1 << 18
"""Elements of a block: a megabyte a row in float32. A few rows stay in the cache, and calls cost little beside work."""


def row_run(columns: int) -> int:
    """Elements of the fewest whole rows that hold at least `REDUCTION`."""
    columns = max(columns, 1)
    return -(-REDUCTION // columns) * columns


class Block(NamedTuple):
    """Elements [begin, begin + n) of one tensor of k checkpoints.

    Args:
        begin: First element, counted within the tensor, row-major.
        values: The elements, one checkpoint a row; valid until the next block, and the consumer's to overwrite.
    """

    begin: int
    values: Float[torch.Tensor, "checkpoints elements"]


@dataclass(frozen=True, slots=True)
class Execution:
    """How to walk: nothing here changes a result.

    Args:
        workers: Threads that work on different parts at the same time.
        chunk: Elements of a block; rounded up to whole runs of `REDUCTION` elements or to whole rows.
        device: Where to compute, as torch names it: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.

    Raises:
        ValueError: If there are no workers or no elements.
    """

    workers: int = 1
    chunk: int = DEFAULT_CHUNK
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.workers < 1 or self.chunk < 1:
            raise ValueError(
                f"Expected at least one worker and one element a chunk, but found {self.workers} workers and "
                f"chunks of {self.chunk}."
            )

    def map(self, function: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
        """Apply a function to items with all workers; results come in the items' order, few of them held at a time.

        An exception in one ends the others as soon as they can.
        """
        if self.workers == 1:
            yield from map(function, items)
            return
        pending: deque[Future[_R]] = deque()
        pool = ThreadPoolExecutor(self.workers, "merganser")
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= self.workers * _AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class Buffers(threading.local):
    """Memory that blocks are read into, one set for each thread; grows to the largest block and stays."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, torch.dtype], torch.Tensor] = {}

    def matrix(self, rows: int, columns: int, dtype: torch.dtype, device: str) -> torch.Tensor:
        """An uninitialised matrix; valid until the next call of the same thread."""
        import torch

        held = self._held.get((device, dtype))
        if held is None or held.numel() < rows * columns:
            held = self._held[device, dtype] = torch.empty(rows * columns, dtype=dtype, device=device)
        return held[: rows * columns].view(rows, columns)


@dataclass(frozen=True, slots=True)
class Aligned:
    """One tensor of several checkpoints, of one shape in all, under the name it has in each.

    Args:
        sources: Checkpoint and name, row after row.
        whole_rows: Whether a block must hold whole rows.
        neurons: Whether a row is all that belongs to one index of the first dimension, rather than the last dimension.
        in_one: Whether there is a single block, however large.
    """

    sources: tuple[tuple[Checkpoint, str], ...]
    whole_rows: bool = False
    neurons: bool = False
    in_one: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensors' common shape."""
        checkpoint, name = self.sources[0]
        return checkpoint.spec(name).shape

    @property
    def numel(self) -> int:
        """Elements of each."""
        checkpoint, name = self.sources[0]
        return checkpoint.spec(name).numel

    @property
    def columns(self) -> int:
        """Length of a row; a vector is one row, a scalar one of a single element."""
        if self.neurons and len(self.shape) > 1:
            return math.prod(self.shape[1:])
        return self.shape[-1] if self.shape else 1

    @property
    def is_double(self) -> bool:
        """Whether any of the tensors is double-precision, so that all are computed with in float64."""
        return any(checkpoint.spec(name).dtype == "F64" for checkpoint, name in self.sources)

    @property
    def dtype(self) -> str | None:
        """Element type of all of the tensors; None if they differ."""
        types = {checkpoint.spec(name).dtype for checkpoint, name in self.sources}
        return types.pop() if len(types) == 1 else None

    def bits(self) -> list[npt.NDArray[Any]] | None:
        """The tensors as they are stored, flat, without a copy; None where one is decoded or computed."""
        rows = [checkpoint.bits(name) for checkpoint, name in self.sources]
        return None if any(row is None for row in rows) else [row for row in rows if row is not None]

    def step(self, chunk: int) -> int:
        """Elements from one block to the next."""
        if self.in_one:
            return max(self.numel, 1)
        unit = row_run(self.columns) if self.whole_rows else REDUCTION
        return -(-chunk // unit) * unit

    def will_need(self, begin: int, end: int) -> None:
        """Have the disk begin to read the elements [begin, end) of all rows; returns at once."""
        for checkpoint, name in self.sources:
            checkpoint.will_need(name, begin, end)

    def blocks(
        self, execution: Execution, buffers: Buffers, begin: int = 0, end: int | None = None, stride: int = 1
    ) -> Iterator[Block]:
        """Walk the elements [begin, end), or a sample of them.

        Args:
            execution: How.
            buffers: Where to.
            begin: First element; a multiple of the step.
            end: One past the last; None for all that follow.
            stride: With more than 1, a sample: one run of `REDUCTION` elements out of `stride`.
        """
        import torch

        end = self.numel if end is None else end
        dtype = torch.float64 if self.is_double else torch.float32
        readers = [checkpoint.reader(name) for checkpoint, name in self.sources]
        length = self.step(REDUCTION if stride > 1 else execution.chunk)
        for first in range(begin, end, length * stride):
            count = min(length, end - first)
            values = buffers.matrix(len(readers), count, dtype, execution.device)
            for reader, row in zip(readers, values, strict=True):
                reader(first, row)
            yield Block(first, values)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Keep torch from splitting single operations, here and in threads begun meanwhile.

    On blocks this small its barriers cost more than the work.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
