"""A checkpoint as one vector: read any range of it, and make sure that positions mean the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from merganser.weights._architecture import tied_to, vocabulary_hint

if TYPE_CHECKING:
    from merganser.weights._checkpoint import Checkpoint
    from merganser.weights._layout import FlatLayout


def flat_read(
    checkpoint: Checkpoint,
    begin: int = 0,
    end: int | None = None,
    *,
    dtype: npt.DTypeLike | None = None,
    out: npt.NDArray[Any] | None = None,
) -> npt.NDArray[Any]:
    """Read the flat positions [begin, end) and nothing else.

    Args:
        checkpoint: Whose parameters to read.
        begin: First flat position.
        end: One past the last; None for all that follow.
        dtype: float64 or float32; by default that of `out`, else float64.
        out: Array of shape (end - begin,) to fill instead of a new one.

    Returns:
        Array of shape (end - begin,); `out` if that was given.

    Raises:
        ValueError: If the range leaves the parameters, or `out` does not fit it.
        TypeError: If a type other than float64 or float32 is asked for.

    Examples:
        >>> from merganser.weights import Checkpoint
        >>> flat_read(Checkpoint.from_tensors({"bias": np.ones(2), "weight": np.zeros((2, 2))}), 3)
        array([0., 1., 1.])
    """
    layout = checkpoint.layout
    end = layout.size if end is None else end
    pieces = layout.locate(begin, end)
    target = _target(end - begin, dtype, out)
    for piece in pieces:
        place = piece.position - begin
        target[place : place + piece.end - piece.begin] = checkpoint.elements(
            piece.name, piece.begin, piece.end
        )
    return target


def check_aligned(checkpoints: Sequence[Checkpoint]) -> FlatLayout:
    """Make sure that flat positions mean the same in all checkpoints; element types may differ.

    Returns:
        The layout they share.

    Raises:
        ValueError: Naming the first tensor, in flat order, that is missing from one or has another shape;
            or if no checkpoint is given.
    """
    if not checkpoints:
        raise ValueError("Expected at least one checkpoint to align, found none.")
    first, *others = checkpoints
    for other in others:
        _check_pair(first, other)
    return first.layout


def _check_pair(first: Checkpoint, other: Checkpoint) -> None:
    if first.layout == other.layout:
        return
    ours, theirs = set(first.layout.names), set(other.layout.names)
    for name in (*first.layout.names, *other.layout.names):
        present, absent = (other, first) if name not in ours else (first, other)
        if name not in ours or name not in theirs:
            raise ValueError(_absence(name, present, absent))
        if why := misfit(name, first, other):
            raise ValueError(why)


def misfit(name: str, first: Checkpoint, other: Checkpoint) -> str | None:
    """Why a tensor that one checkpoint has does not fit another, in words; None if it does.

    Args:
        name: A tensor of `first`, or of `other`.
        first: One checkpoint.
        other: Another.
    """
    if name not in first or name not in other:
        return _absence(name, *((other, first) if name not in first else (first, other)))
    spec, other_spec = first.spec(name), other.spec(name)
    if spec.is_floating != other_spec.is_floating:
        return _absence(name, *((first, other) if spec.is_floating else (other, first)))
    if spec.shape != other_spec.shape:
        hint = vocabulary_hint(name, spec.shape, other_spec.shape)
        hint = hint and f"{hint} A merge with `tokenizer` (`--tokenizer union`) brings them together."
        hint = hint or " Models to combine must share one architecture."
        where = f"has shape {spec.shape} in {first.source}, but {other_spec.shape} in {other.source}"
        return f"Tensor {name!r} {where}.{hint}"
    return None


def _absence(name: str, present: Checkpoint, absent: Checkpoint) -> str:
    if name in absent:
        floating, other = present.spec(name).dtype, absent.spec(name).dtype
        return (
            f"Tensor {name!r} is {floating} in {present.source}, but {other}, which is not floating, "
            f"in {absent.source}. Use a checkpoint that is not quantised."
        )
    return (
        f"Tensor {name!r} is in {present.source}, but not in {absent.source}. {_why(name, present, absent)}"
    )


def _why(name: str, present: Checkpoint, absent: Checkpoint) -> str:
    """What keeps a checkpoint from having a tensor that another has, as far as names tell."""
    tied = tied_to(name, absent)
    if tied is not None:
        return f"There it is tied to {tied!r}: tie both models or neither."
    blocks, others = (sum(layer.kind == "block" for layer in model.layers) for model in (present, absent))
    if blocks != others:
        return (
            f"They have {blocks} and {others} blocks; models to combine must share one architecture. A mergekit file "
            "with `slices` says which blocks of each to take."
        )
    for other in absent:
        if other.endswith(f".{name}") or name.endswith(f".{other}"):
            return f"There it may be called {other!r}; models to combine must share one architecture and its names."
    return "Models to combine must share one architecture and its names."


def _target(length: int, dtype: npt.DTypeLike | None, out: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
    wanted = np.dtype(dtype if dtype is not None else np.float64 if out is None else out.dtype)
    if wanted not in (np.float64, np.float32):
        raise TypeError(f"Parameters are read as float64 or float32, but {wanted} was asked for.")
    if out is None:
        return np.empty(length, wanted)
    if out.shape != (length,) or out.dtype != wanted:
        raise ValueError(
            f"`out` must have shape ({length},) and type {wanted}, but has {out.shape} and {out.dtype}."
        )
    return out
