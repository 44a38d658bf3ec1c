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

How that is done while streaming: `_updated`.

Where base and adapter share a tensor under two names (tied embeddings), both change, as with PEFT's
`merge_and_unload`.

References:
    Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models*, 2021, https://arxiv.org/abs/2106.09685
    Liu et al., *DoRA: Weight-Decomposed Low-Rank Adaptation*, 2024, https://arxiv.org/abs/2402.09353
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import final

from merganser._errors import CheckpointError
from merganser.weights._adapter_config import LoraSettings
from merganser.weights._adapter_names import Change, read_changes
from merganser.weights._architecture import vocabulary_hint
from merganser.weights._checkpoint import Checkpoint
from merganser.weights._low_rank import Placement, check_base_type, place
from merganser.weights._source import Bytes, FileStamp, Reader
from merganser.weights._spec import TensorSpec
from merganser.weights._updated import UpdatedSource


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


@final
class AdaptedSource:
    """Tensors of a base, those that an adapter changes computed row by row.

    Args:
        base: The base.
        adapter: The adapter's own tensors.
        settings: What its configuration says.
        stamp: State of the file the settings were read from.

    Attributes:
        base: The base.
        adapter: The adapter's own tensors.
        changes: What the adapter does, by the name of the base's tensor.
    """

    def __init__(
        self, base: Checkpoint, adapter: Checkpoint, settings: LoraSettings, stamp: FileStamp
    ) -> None:
        self.base, self.adapter = base, adapter
        self.changes: Mapping[str, Change] = read_changes(adapter, base)
        self._placed: dict[str, Placement] = {}
        replaced: dict[str, tuple[Checkpoint, str]] = {}
        for name, change in self.changes.items():
            if change.replacement is not None:
                replaced[name] = (adapter, _checked_replacement(change.replacement, base, name, adapter))
            if change.factors is not None:
                self._placed[name] = place(change, base.spec(name), adapter, settings)
        updates = {name: partial(placed.load, adapter) for name, placed in self._placed.items()}
        files, own = base.tensors.stamps, adapter.tensors.stamps
        stamps = (*files, *own, stamp) if files and own else ()
        self._updated = UpdatedSource(base, updates, replaced=replaced, stamps=stamps)

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """The base's."""
        return self._updated.specs

    @property
    def stamps(self) -> tuple[FileStamp, ...]:
        """State of all files that the tensors follow from; empty if some are in memory."""
        return self._updated.stamps

    def product(self, name: str) -> Placement | None:
        """How the factors lie whose product is all that changes a tensor; None where there is more, or nothing."""
        change = self.changes.get(name)
        if change is None or change.added or change.magnitude or change.replacement:
            return None
        return self._placed[name]

    def view(self, name: str) -> Bytes:
        """All bytes of a tensor; computed if the adapter changes it."""
        return self._updated.view(name)

    def part(self, name: str, begin: int, end: int) -> Bytes:
        """Bytes of the elements [begin, end), rounded once to the base's element type."""
        return self._updated.part(name, begin, end)

    def chunks(self, name: str) -> Iterator[memoryview]:
        """The same bytes in order."""
        return self._updated.chunks(name)

    def reader(self, name: str) -> Reader:
        """A function that computes elements, in the type and on the device of what it fills."""
        return self._updated.reader(name)


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
