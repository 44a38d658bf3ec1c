"""Where a checkpoint's bytes come from: a protocol, and the source that holds them in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from merganser.weights._spec import BY_LIBRARY_NAME, DType, TensorSpec

if TYPE_CHECKING:
    import torch

CHUNK_BYTES = 4 * 1024 * 1024
"""Bytes a stream hands over at a time."""

Bytes = npt.NDArray[np.uint8]


class FileStamp(NamedTuple):
    """What tells one state of a file from the next."""

    path: Path
    size: int
    mtime_ns: int
    inode: int


@runtime_checkable
class TensorSource(Protocol):
    """Named tensors and their bytes: all that a [`Checkpoint`][] asks of a format."""

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor, in no particular order."""
        ...

    @property
    def stamps(self) -> tuple[FileStamp, ...]:
        """State of the files when they were opened; empty if the bytes are in memory."""
        ...

    def view(self, name: str) -> Bytes:
        """All bytes of a tensor as one writable, aligned array, read when touched."""
        ...

    def chunks(self, name: str) -> Iterator[memoryview]:
        """The same bytes in order, at most `CHUNK_BYTES` at a time, each valid until the next."""
        ...


@runtime_checkable
class PartialSource(TensorSource, Protocol):
    """A source that gives part of a tensor for less than the whole: one that decodes or computes it."""

    def part(self, name: str, begin: int, end: int) -> Bytes:
        """Bytes of the elements [begin, end), row-major, as one writable, aligned array."""
        ...


Reader: TypeAlias = "Callable[[int, torch.Tensor], None]"
"""Copies elements [begin, begin + len(out)) of a tensor, row-major, into `out`: one-dimensional, float32 or
float64, on the CPU or a device."""


@runtime_checkable
class ComputingSource(TensorSource, Protocol):
    """A source that computes its tensors and can give them before they are rounded to their stored type."""

    def reader(self, name: str) -> Reader:
        """A function that computes a range of a tensor's elements."""
        ...


@runtime_checkable
class ForesightedSource(TensorSource, Protocol):
    """A source that can read from the disk while other things are done."""

    def will_need(self, name: str, begin: int, end: int) -> None:
        """Begin to read the elements [begin, end) of a tensor; returns at once."""
        ...


class MemorySource:
    """Tensors held in memory, under the same protocol as those in files."""

    def __init__(self, specs: Mapping[str, TensorSpec], contents: Mapping[str, Bytes]) -> None:
        self.specs: Mapping[str, TensorSpec] = MappingProxyType(dict(specs))
        self._contents = dict(contents)

    @property
    def stamps(self) -> tuple[FileStamp, ...]:
        """Empty: there are no files."""
        return ()

    def view(self, name: str) -> Bytes:
        """All bytes of a tensor, without a copy."""
        return self._contents[name]

    def chunks(self, name: str) -> Iterator[memoryview]:
        """Slices of the tensor's bytes."""
        content = self._contents[name].data
        for begin in range(0, len(content), CHUNK_BYTES):
            yield content[begin : begin + CHUNK_BYTES]


def part_of(source: TensorSource, name: str, begin: int, end: int) -> Bytes:
    """Bytes of the elements [begin, end) of a tensor, row-major, from whatever source."""
    if isinstance(source, PartialSource):
        return source.part(name, begin, end)
    itemsize = source.specs[name].itemsize
    return source.view(name)[begin * itemsize : end * itemsize]


def part_chunks(source: PartialSource, name: str) -> Iterator[memoryview]:
    """All bytes of a tensor, part after part: the `chunks` of a source that decodes or computes."""
    spec = source.specs[name]
    step = max(1, CHUNK_BYTES // spec.itemsize)
    for begin in range(0, spec.numel, step):
        yield source.part(name, begin, min(begin + step, spec.numel)).data


def memory_source(tensors: Mapping[str, Any], *, copy: bool) -> MemorySource:
    """Hold torch tensors or numpy arrays.

    Args:
        tensors: Name to tensor. Tensors on a device are brought to the CPU.
        copy: Whether to copy what could be shared with the caller.

    Raises:
        TypeError: If a name is no string, or a value is no tensor of a supported element type.
    """
    specs: dict[str, TensorSpec] = {}
    contents: dict[str, Bytes] = {}
    for name, value in tensors.items():
        if not isinstance(name, str):
            raise TypeError(f"Tensor names must be strings, but {name!r} is {type(name).__name__}.")
        dtype = _dtype_of(name, value)
        specs[name] = TensorSpec(name, dtype.name, tuple(int(length) for length in value.shape))
        is_array = isinstance(value, np.ndarray)
        contents[name] = _array_bytes(value, dtype, copy) if is_array else _tensor_bytes(name, value, copy)
    return MemorySource(specs, contents)


def _dtype_of(name: str, value: Any) -> DType:
    if not hasattr(value, "dtype") or not hasattr(value, "shape"):
        raise TypeError(
            f"Tensor {name!r} must be a torch tensor or a numpy array, but is {type(value).__name__}."
        )
    library_name = value.dtype.name if isinstance(value, np.ndarray) else str(value.dtype).split(".")[-1]
    if library_name not in BY_LIBRARY_NAME:
        raise TypeError(
            f"Tensor {name!r} has element type {library_name}, which a checkpoint cannot hold. "
            f"Cast it to one of: {', '.join(BY_LIBRARY_NAME)}."
        )
    return BY_LIBRARY_NAME[library_name]


def _array_bytes(array: npt.NDArray[Any], dtype: DType, copy: bool) -> Bytes:
    if dtype.storage[1:] == array.dtype.str[1:]:  # not so for the bfloat16 of ml_dtypes
        array = array.astype(dtype.storage, copy=False)  # to little-endian, where it is not
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return flat.copy() if copy or not flat.flags.writeable else flat


def _tensor_bytes(name: str, tensor: Any, copy: bool) -> Bytes:
    import torch

    if tensor.device.type == "meta" or tensor.layout != torch.strided:
        raise TypeError(
            f"Tensor {name!r} has no plain data to store: it is on device {tensor.device} with layout "
            f"{tensor.layout}. Load the model's weights first, or densify the tensor."
        )
    dense = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    if not dense.numel():  # whose strides may be anything, which torch then cannot view as bytes
        return np.empty(0, np.uint8)
    flat = dense.view(torch.uint8).numpy()
    shared = copy and dense.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr()
    return flat.copy() if shared else flat
