"""A checkpoint with some tensors changed by updates of low rank, which are added when they are read.

The product is taken in blocks of rows that begin at fixed places, whatever range is asked for: a BLAS may round
differently for matrices of different heights, and results must not depend on how a tensor is cut. `reader` gives
the sum unrounded in float32 or float64; bytes are computed in float64 and rounded once to the checkpoint's type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias, final

from merganser.weights._checkpoint import Checkpoint
from merganser.weights._low_rank import LowRank
from merganser.weights._source import Bytes, FileStamp, Reader, part_chunks, part_of
from merganser.weights._spec import DTYPES, TensorSpec

if TYPE_CHECKING:
    import torch

BLOCK = 1 << 15
"""Elements of the blocks of rows in which products are taken, or one row if that is longer."""

Update: TypeAlias = Callable[[], LowRank]
"""Gives what is added to a tensor; asked whenever reading of the tensor begins."""


@final
class UpdatedSource:
    """Tensors of a checkpoint, some of them computed row by row.

    Args:
        base: The checkpoint.
        updates: What is added, by the name of the tensor.
        replaced: What takes the place of a tensor before anything is added: checkpoint and name there.
        stamps: State of the files that the updates follow from; empty if they are in memory.
    """

    def __init__(
        self,
        base: Checkpoint,
        updates: Mapping[str, Update],
        *,
        replaced: Mapping[str, tuple[Checkpoint, str]] | None = None,
        stamps: tuple[FileStamp, ...] = (),
    ) -> None:
        self._base, self._updates, self._replaced = base, updates, replaced or {}
        self.specs: Mapping[str, TensorSpec] = base.tensors.specs
        self.stamps = stamps

    def view(self, name: str) -> Bytes:
        """All bytes of a tensor; computed if it is changed."""
        if self._is_changed(name):
            return self.part(name, 0, self.specs[name].numel)
        return self._base.tensors.view(name)

    def part(self, name: str, begin: int, end: int) -> Bytes:
        """Bytes of the elements [begin, end), rounded once to the stored element type."""
        import torch

        if not self._is_changed(name):
            return part_of(self._base.tensors, name, begin, end)
        exact = torch.empty(end - begin, dtype=torch.float64)
        self.reader(name)(begin, exact)
        stored = exact.to(getattr(torch, DTYPES[self.specs[name].dtype].library))
        return stored.view(torch.uint8).numpy()

    def chunks(self, name: str) -> Iterator[memoryview]:
        """The same bytes in order."""
        return part_chunks(self, name) if self._is_changed(name) else self._base.tensors.chunks(name)

    def reader(self, name: str) -> Reader:
        """A function that computes elements, in the type and on the device of what it fills."""
        checkpoint, held = self._replaced.get(name, (self._base, name))
        before = checkpoint.reader(held)
        return _updated(before, self._updates[name](), self.specs[name]) if name in self._updates else before

    def _is_changed(self, name: str) -> bool:
        return name in self._updates or name in self._replaced


def _updated(before: Reader, update: LowRank, spec: TensorSpec) -> Reader:
    """Reads a tensor and updates it, in blocks of rows at fixed places."""
    width = math.prod(spec.shape[1:])
    step = max(1, BLOCK // max(1, width))
    moved: dict[tuple[torch.dtype, torch.device], LowRank] = {}

    def read(begin: int, out: torch.Tensor) -> None:
        if not len(out):
            return
        first = begin // width // step * step
        last = min(-(-(begin + len(out)) // (width * step)) * step, spec.shape[0])
        if (out.dtype, out.device) not in moved:
            moved[out.dtype, out.device] = update.to(out)
        rows = out.new_empty(last - first, width)
        before(first * width, rows.view(-1))
        for top in range(first, last, step):
            moved[out.dtype, out.device].apply(rows[top - first : top - first + step], top)
        skipped = begin - first * width
        out.copy_(rows.view(-1)[skipped : skipped + len(out)])

    return read
