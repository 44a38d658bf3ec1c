"""Where in a model a tensor stands: in which block of which stack, or before or after the blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import NamedTuple

from merganser.weights import Checkpoint, Stream, streams_of

_FINAL_NORM = ".embedding_norm"
"""What LFM models call the norm after their blocks; elsewhere norms of embeddings are within modules of such."""


class Outside(NamedTuple):
    """A tensor outside the blocks.

    Args:
        name: Its name.
        stack: Number of the stack it goes with.
        is_before: Whether it stands before that stack's blocks.
    """

    name: str
    stack: int
    is_before: bool


@dataclass(frozen=True)
class Anatomy:
    """A checkpoint's stacks of blocks, and what stands outside them.

    Args:
        checkpoint: The checkpoint.

    Examples:
        >>> import numpy as np
        >>> names = ["embed.weight", "layers.0.up.weight", "layers.1.up.weight", "lm_head.weight"]
        >>> model = Anatomy(Checkpoint.from_tensors({name: np.ones((4, 4), "float32") for name in names}))
        >>> model.blocks(0)[1]
        {'.up.weight': 'layers.1.up.weight'}
        >>> model.outside[0], model.depths["layers.1.up.weight"]
        (Outside(name='embed.weight', stack=0, is_before=True), 1.0)
    """

    checkpoint: Checkpoint

    @cached_property
    def stacks(self) -> tuple[Stream, ...]:
        """Its stacks."""
        return streams_of(self.checkpoint)

    def blocks(self, stack: int) -> tuple[dict[str, str], ...]:
        """Tensors of every block of a stack, by what follows the block's own name in theirs."""
        tensors = self._tensors
        return tuple(
            {name.removeprefix(block): name for name in tensors[block]} for block in self.stacks[stack].blocks
        )

    @cached_property
    def outside(self) -> tuple[Outside, ...]:
        """Tensors outside the blocks, in flat order, each with the stack it goes with.

        That is the one with which it shares most of its path (``vision.norm`` goes with ``vision.encoder.layers``). Of
        several that is the first for what stands before all of them, and the last for what stands after.

        Before a stack are embeddings, and modules that come earlier in flat order; but what stands beside the module
        that holds both embeddings and blocks is a head on top of it, whatever its name. Modules are not taken apart:
        all of a projector goes where the first of its tensors does.
        """
        found: list[Outside] = []
        begun: set[int] = set()
        placed: dict[str, tuple[int, bool]] = {}
        numbers = {block: i for i, stream in enumerate(self.stacks) for block in stream.blocks}
        for layer in self.checkpoint.layers:
            if layer.kind == "block":
                begun.add(numbers[layer.name])
                continue
            for name in layer.tensors:
                module, near = self._near(name)
                stack = near[-1] if begun.intersection(near) else near[0]
                is_on_top = self._root is not None and name.partition(".")[0] != self._root
                is_embedding = layer.kind == "embeddings" and not module.endswith(_FINAL_NORM)
                is_early = layer.kind == "module" and stack not in begun and not is_on_top
                place = placed.setdefault(module, (stack, is_embedding or is_early))
                found.append(Outside(name, *place))
        return tuple(found)

    def _near(self, name: str) -> tuple[str, list[int]]:
        """The module around a tensor that has no part in any stack, and the stacks nearest to it."""
        parts = name.split(".")
        shared = [_shared(parts, home) for home in self._homes]
        longest = max(shared, default=0)
        nearest = [i for i, length in enumerate(shared) if length == longest]
        return ".".join(parts[: longest + 1]), nearest or [0]

    @cached_property
    def _root(self) -> str | None:
        """The module that holds embeddings and the only stack, such as ``bert``; None if there is no such module."""
        root = self._homes[0][0] if len(self._homes) == 1 and self._homes[0] else None
        embeddings = (layer for layer in self.checkpoint.layers if layer.kind == "embeddings")
        has_embeddings = any(name.partition(".")[0] == root for layer in embeddings for name in layer.tensors)
        return root if has_embeddings else None

    @cached_property
    def _homes(self) -> list[list[str]]:
        """For each stack the path to the module that holds it: ``encoder`` for ``encoder.layers.{}``."""
        return [stream.pattern.split(".")[:-2] for stream in self.stacks]

    @cached_property
    def depths(self) -> Mapping[str, float]:
        """Depth of every tensor in its stack: 0 for the first block and before it, 1 for the last.

        What stands after the blocks is not listed.
        """
        found = {tensor.name: 0.0 for tensor in self.outside if tensor.is_before}
        for stack in self.stacks:
            for i, block in enumerate(stack.blocks):
                depth = depth_of(i, len(stack.blocks))
                found.update((name, depth) for name in self._tensors[block])
        return found

    @cached_property
    def _tensors(self) -> dict[str, tuple[str, ...]]:
        return {layer.name: layer.tensors for layer in self.checkpoint.layers if layer.kind == "block"}


def depth_of(block: int, count: int) -> float:
    """Depth of a block in a slice of so many; a slice of one block is at its end."""
    return block / (count - 1) if count > 1 else 1.0


def _shared(first: Sequence[str], second: Sequence[str]) -> int:
    """With how many equal components two paths begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
