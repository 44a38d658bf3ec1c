r"""A base with a PEFT adapter on it, as one source of tensors that are computed when they are read.

With factors $A \in \mathbb{R}^{r \times n}$ and $B \in \mathbb{R}^{m \times r}$ and the scaling
$s = \alpha / r$ (or $\alpha / \sqrt r$), a weight $W \in \mathbb{R}^{m \times n}$ becomes

| kind | the rows $R$ of the new weight |
| --- | --- |
| LoRA | $V_R = W_R + s\, B_R A$ |
| stored as (in, out), or an embedding | $V_R = W_R + s\, (A^\top)_R B^\top$ |
| DoRA | $(m_i / \lVert V_i \rVert_2)\, V_i$ for each row $i \in R$ |
| a bias of the adapter | $b_R + s\, c_R$ |
| a module that was saved | the saved one's rows |

Every row needs the same row of the base and the factors alone, so nothing is held beyond the factors and the rows
asked for. Convolutions count as matrices of their first dimension against the rest.

The product is taken in blocks of rows that begin at fixed places, whatever range is asked for: a BLAS may round
differently for matrices of different heights, and results must not depend on how a tensor is cut. `reader` gives
the sum unrounded in float32 or float64; bytes are computed in float64 and rounded once to the base's type.

Where base and adapter share a tensor under two names (tied embeddings), both change, as with PEFT's
`merge_and_unload`.

References:
    Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models*, 2021, https://arxiv.org/abs/2106.09685
    Liu et al., *DoRA: Weight-Decomposed Low-Rank Adaptation*, 2024, https://arxiv.org/abs/2402.09353
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from merganser._errors import CheckpointError
from merganser.weights._adapter_config import LoraSettings
from merganser.weights._adapter_names import read_changes
from merganser.weights._architecture import vocabulary_hint
from merganser.weights._checkpoint import Checkpoint
from merganser.weights._low_rank import LowRank, Placement, check_base_type, place
from merganser.weights._source import Bytes, FileStamp, Reader, part_chunks, part_of
from merganser.weights._spec import DTYPES, TensorSpec

if TYPE_CHECKING:
    import torch

BLOCK = 1 << 15
"""Elements of the blocks of rows in which products are taken, or one row if that is longer."""


def adapted(base: Checkpoint, adapter: Checkpoint, settings: LoraSettings, stamp: FileStamp) -> Checkpoint:
    """A base with an adapter on it; reads nothing but headers.

    Args:
        base: The base; perhaps itself one with an adapter.
        adapter: The adapter's own tensors.
        settings: What its configuration says.
        stamp: State of the file the settings were read from.

    Raises:
        CheckpointError: If the adapter does not belong to the base.
    """
    return Checkpoint(
        AdaptedSource(base, adapter, settings, stamp),
        source=f"{base.source}+{adapter.source}",
        home=base.home,
        config=base.config,
        metadata=base.metadata,
        tied=base.tied,
    )


class AdaptedSource:
    """Tensors of a base, those that an adapter changes computed row by row.

    Args:
        base: The base.
        adapter: The adapter's own tensors.
        settings: What its configuration says.
        stamp: State of the file the settings were read from.
    """

    def __init__(
        self, base: Checkpoint, adapter: Checkpoint, settings: LoraSettings, stamp: FileStamp
    ) -> None:
        self._base, self._adapter, self._stamp = base, adapter, stamp
        self.specs: Mapping[str, TensorSpec] = base.tensors.specs
        self._replaced: dict[str, str] = {}
        self._placed: dict[str, Placement] = {}
        for name, change in read_changes(adapter, base).items():
            if change.replacement is not None:
                self._replaced[name] = _checked_replacement(change.replacement, base, name, adapter)
            if change.factors is not None:
                self._placed[name] = place(change, base.spec(name), adapter, settings)

    @property
    def stamps(self) -> tuple[FileStamp, ...]:
        """State of all files that the tensors follow from; empty if some are in memory."""
        base, adapter = self._base.tensors.stamps, self._adapter.tensors.stamps
        return (*base, *adapter, self._stamp) if base and adapter else ()

    def view(self, name: str) -> Bytes:
        """All bytes of a tensor; computed if the adapter changes it."""
        if name in self._placed or name in self._replaced:
            return self.part(name, 0, self.specs[name].numel)
        return self._base.tensors.view(name)

    def part(self, name: str, begin: int, end: int) -> Bytes:
        """Bytes of the elements [begin, end), rounded once to the base's element type."""
        import torch

        if name not in self._placed and name not in self._replaced:
            return part_of(self._base.tensors, name, begin, end)
        exact = torch.empty(end - begin, dtype=torch.float64)
        self.reader(name)(begin, exact)
        stored = exact.to(getattr(torch, DTYPES[self.specs[name].dtype].library))
        return stored.view(torch.uint8).numpy()

    def chunks(self, name: str) -> Iterator[memoryview]:
        """The same bytes in order."""
        if name in self._placed or name in self._replaced:
            return part_chunks(self, name)
        return self._base.tensors.chunks(name)

    def reader(self, name: str) -> Reader:
        """A function that computes elements, in the type and on the device of what it fills."""
        replaced = name in self._replaced
        before = self._adapter.reader(self._replaced[name]) if replaced else self._base.reader(name)
        if name not in self._placed:
            return before
        return _updated(before, self._placed[name].load(self._adapter), self.specs[name])


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


def _checked_replacement(key: str, base: Checkpoint, name: str, adapter: Checkpoint) -> str:
    found, expected = adapter.spec(key), base.spec(name)
    if found.shape != expected.shape:
        raise CheckpointError(
            f"{adapter.source}: {key!r} should take the place of {name!r} of shape {expected.shape}, but has the "
            f"shape {found.shape}.{vocabulary_hint(name, expected.shape, found.shape)} "
            "Was the adapter trained on another base?"
        )
    check_base_type(expected, adapter)
    if not found.is_floating:
        raise CheckpointError(
            f"{adapter.source}: {key!r} is {found.dtype}, but takes the place of {name!r}, which holds real numbers. "
            "Save the adapter without quantising it."
        )
    return key
