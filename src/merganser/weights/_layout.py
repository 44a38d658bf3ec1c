r"""Where each tensor lies in the flattened parameters.

The floating tensors of a checkpoint, in flat order and row-major each, form one vector of $P$ numbers.
Tensor $t$ with $n_t$ elements takes the positions $[s_t, s_t + n_t)$ with $s_t = \sum_{u < t} n_u$.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy.typing as npt

from merganser.weights._spec import TensorSpec


class Piece(NamedTuple):
    """The part of one tensor that a range of flat positions covers.

    Args:
        name: The tensor.
        begin: First element, counted within the tensor, row-major.
        end: One past the last element.
        position: Flat position of the first element.
    """

    name: str
    begin: int
    end: int
    position: int


@dataclass(frozen=True, slots=True)
class FlatLayout:
    """Names, shapes and flat positions of a checkpoint's floating tensors.

    Args:
        names: Tensors in flat order.
        shapes: Their shapes.
        starts: Flat position of each tensor's first element.
        size: Number of flat positions, $P$.

    Examples:
        >>> layout = FlatLayout.of([TensorSpec("0.weight", "F32", (2, 3)), TensorSpec("0.bias", "F32", (2,))])
        >>> layout.starts, layout.size
        ((0, 6), 8)
        >>> layout.locate(4, 7)
        (Piece(name='0.weight', begin=4, end=6, position=4), Piece(name='0.bias', begin=0, end=1, position=6))
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    starts: tuple[int, ...]
    size: int

    @classmethod
    def of(cls, specs: Iterable[TensorSpec]) -> FlatLayout:
        """Lay out the floating tensors among `specs`, which come in flat order."""
        floating = [spec for spec in specs if spec.is_floating]
        starts, size = [], 0
        for spec in floating:
            starts.append(size)
            size += spec.numel
        names, shapes = tuple(spec.name for spec in floating), tuple(spec.shape for spec in floating)
        return cls(names, shapes, tuple(starts), size)

    def locate(self, begin: int, end: int) -> tuple[Piece, ...]:
        """Parts of tensors that make up the flat positions [begin, end), in order.

        Raises:
            ValueError: Unless 0 <= begin <= end <= size.
        """
        if not 0 <= begin <= end <= self.size:
            raise ValueError(
                f"Flat positions must satisfy 0 <= begin <= end <= {self.size}, "
                f"but begin is {begin} and end is {end}."
            )
        pieces = []
        for i in range(max(bisect_right(self.starts, begin) - 1, 0), len(self.names)):
            start, stop = self._span(i)
            if start >= end:
                break
            first, last = max(begin, start), min(end, stop)
            if first < last:
                pieces.append(Piece(self.names[i], first - start, last - start, first))
        return tuple(pieces)

    def spans(self) -> dict[str, tuple[int, int]]:
        """Flat positions [begin, end) of each tensor."""
        return {name: self._span(i) for i, name in enumerate(self.names)}

    def unflatten(self, vector: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Cut a flat vector into tensors; they are views of it.

        Args:
            vector: All parameters, of shape (size,).

        Raises:
            ValueError: If the vector has another shape.
        """
        if vector.shape != (self.size,):
            raise ValueError(f"The flat vector must have shape ({self.size},), but has {vector.shape}.")
        return {
            name: vector[slice(*self._span(i))].reshape(self.shapes[i]) for i, name in enumerate(self.names)
        }

    def _span(self, i: int) -> tuple[int, int]:
        return self.starts[i], self.starts[i] + math.prod(self.shapes[i])
