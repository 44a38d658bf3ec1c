"""Where in a model a tensor stands: in which block of which stack, or before or after the blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from merganser.weights import Checkpoint, Stream, streams_of


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

        That is the one whose path it shares (``encoder.norm`` goes with ``encoder.layers``), or else the first for what
        stands before all blocks, and the last for what stands after.
        """
        found: list[Outside] = []
        begun: set[int] = set()
        homes = [_home(stream) for stream in self.stacks]
        numbers = {block: i for i, stream in enumerate(self.stacks) for block in stream.blocks}
        for layer in self.checkpoint.layers:
            if layer.kind == "block":
                begun.add(numbers[layer.name])
                continue
            for name in layer.tensors:
                of_path = [i for i, home in enumerate(homes) if home and name.startswith(f"{home}.")]
                longest = max(of_path, key=lambda i: len(homes[i]), default=None)
                fallback = 0 if not begun else len(self.stacks) - 1
                is_shared = longest is None or sum(homes[i] == homes[longest] for i in of_path) > 1
                stack = fallback if longest is None or is_shared else longest
                is_before = layer.kind == "embeddings" or (layer.kind == "module" and stack not in begun)
                found.append(Outside(name, stack, is_before))
        return tuple(found)

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


def _home(stream: Stream) -> str:
    """The module that holds a stack: ``encoder`` for ``encoder.layers.{}``."""
    return stream.pattern.removesuffix(".{}").rpartition(".")[0]
