"""The safetensors format: a strict parser for the header, and tensors read through a memory map.

A file is eight bytes of header length (unsigned, little-endian), a header in JSON, and data:

| part of the header | meaning |
| --- | --- |
| ``name`` | ``{"dtype": …, "shape": […], "data_offsets": [begin, end]}``, from the start of the data |
| ``__metadata__`` | optional; strings by string |

Everything the header claims is checked against the file before any of it is used: the tensors must fill
the data exactly, without overlap, hole or rest. A file that was cut short is thus found out when it is
opened, not when its last tensor is read.

References:
    https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from types import MappingProxyType
from typing import Any

from merganser._errors import CheckpointError
from merganser.weights._json import MAX_BYTES, JsonError, parse_object
from merganser.weights._mapped import MappedFile, aligned, open_regular, stamp_of
from merganser.weights._source import Bytes, FileStamp
from merganser.weights._spec import DTYPES, TensorSpec

LENGTH_BYTES = 8
MAX_ADDRESS = 2**63 - 1
MAX_DIMENSIONS = 32  # as many as every supported numpy takes
METADATA_KEY = "__metadata__"


@dataclass(frozen=True, slots=True)
class Extent:
    """A tensor and where its bytes lie, counted from the start of the file."""

    spec: TensorSpec
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """A header that has been checked against its file."""

    extents: Mapping[str, Extent]
    metadata: Mapping[str, str]


def read_header(path: Path) -> tuple[Header, FileStamp]:
    """Read and check the header of a safetensors file.

    Raises:
        CheckpointError: If the file cannot be read, or is not a whole safetensors file.
    """
    try:
        with open_regular(path) as file:
            stamp = stamp_of(path, file)
            text = _header_text(path, file, stamp.size)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        fields = parse_object(text)
    except JsonError as error:
        raise CheckpointError(f"{path} has a malformed safetensors header: {error}.") from error
    metadata = _metadata(path, fields.pop(METADATA_KEY, {}))
    start = LENGTH_BYTES + len(text)
    extents = {name: _extent(path, name, entry, start) for name, entry in fields.items()}
    _check_coverage(path, list(extents.values()), start, stamp.size)
    return Header(MappingProxyType(extents), MappingProxyType(metadata)), stamp


class SafetensorsFile:
    """One safetensors file as a source of tensors; opened by reading its header only."""

    def __init__(self, path: Path) -> None:
        self._header, stamp = read_header(path)
        self._file = MappedFile(path, stamp)
        self.specs: Mapping[str, TensorSpec] = MappingProxyType(
            {name: extent.spec for name, extent in self._header.extents.items()}
        )

    @property
    def metadata(self) -> Mapping[str, str]:
        """The free strings in the header."""
        return self._header.metadata

    @property
    def stamps(self) -> tuple[FileStamp, ...]:
        """State of the file when it was opened."""
        return (self._file.stamp,)

    def view(self, name: str) -> Bytes:
        """All bytes of a tensor, mapped; a copy only where the file has them misaligned.

        Raises:
            CheckpointError: If the file has changed since it was opened.
        """
        extent = self._header.extents[name]
        return aligned(self._file.mapped(extent.begin, extent.end), extent.spec.itemsize)

    def will_need(self, name: str, begin: int, end: int) -> None:
        """Have the system begin to read the elements [begin, end) of a tensor."""
        extent = self._header.extents[name]
        itemsize = extent.spec.itemsize
        if end > begin:
            self._file.will_need(extent.begin + begin * itemsize, extent.begin + end * itemsize)

    def chunks(self, name: str) -> Iterator[memoryview]:
        """The bytes of a tensor, read from the file: what was written into a view does not show here.

        Raises:
            CheckpointError: If the file has changed since it was opened, or cannot be read.
        """
        extent = self._header.extents[name]
        return self._file.chunks(extent.begin, extent.end, name)


def _header_text(path: Path, file: BufferedReader, size: int) -> bytes:
    if size < LENGTH_BYTES:
        raise CheckpointError(
            f"{path} is no safetensors file: expected at least {LENGTH_BYTES} bytes, found {size}. "
            "Was the download or copy cut short?"
        )
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    if length > min(size - LENGTH_BYTES, MAX_BYTES):
        raise CheckpointError(
            f"{path} is no whole safetensors file: it announces a header of {length} bytes, but has "
            f"{size - LENGTH_BYTES} bytes after the length, and a header has at most {MAX_BYTES}. "
            "The file is of another format or was cut short."
        )
    text = file.read(length)
    if len(text) != length:
        raise CheckpointError(f"{path} shrank while its header was read: expected {length} bytes.")
    return text


def _metadata(path: Path, value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(entry, str) for entry in value.values()):
        raise CheckpointError(f"{path}: {METADATA_KEY} must hold strings by string, but is {_short(value)}.")
    return value


def _extent(path: Path, name: str, entry: Any, start: int) -> Extent:
    def fault(expected: str, found: object) -> CheckpointError:
        return CheckpointError(f"{path}: tensor {name!r} {expected}, but has {_short(found)}.")

    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise fault("must have exactly the fields dtype, shape and data_offsets", entry)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise fault(f"must have one of the element types {', '.join(DTYPES)}", dtype)
    if not _are_lengths(shape) or not _is_addressable(shape, dtype):
        raise fault("must have a shape of non-negative integers that an array can have", shape)
    if not _are_lengths(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise fault("must have data_offsets [begin, end] with 0 <= begin <= end", offsets)
    spec = TensorSpec(name, dtype, tuple(shape))
    if offsets[1] - offsets[0] != spec.nbytes:
        raise fault(
            f"of type {dtype} and shape {_short(shape)} must take {_short(spec.nbytes)} bytes", offsets
        )
    return Extent(spec, start + offsets[0], start + offsets[1])


def _are_lengths(value: object) -> bool:
    # bool is an int to Python; `true` is no length.
    return isinstance(value, list) and all(type(entry) is int and entry >= 0 for entry in value)


def _is_addressable(shape: list[int], dtype: str) -> bool:
    # Zeros do not excuse the rest: numpy refuses [0, 2**62, 2**62] too.
    if len(shape) > MAX_DIMENSIONS or any(length > MAX_ADDRESS for length in shape):
        return False
    return math.prod(length or 1 for length in shape) * DTYPES[dtype].itemsize <= MAX_ADDRESS


def _check_coverage(path: Path, extents: list[Extent], start: int, size: int) -> None:
    """Tensors must follow each other without overlap or hole, from the header to the end of the file."""
    position = start
    for extent in sorted(extents, key=lambda extent: (extent.begin, extent.end)):
        if extent.begin != position:
            fault = "overlaps the tensor before it" if extent.begin < position else "leaves a hole before it"
            raise CheckpointError(
                f"{path}: tensor {extent.spec.name!r} {fault}: expected it to begin at byte "
                f"{_short(position - start)} of the data, found {_short(extent.begin - start)}."
            )
        if extent.end > size:
            raise CheckpointError(
                f"{path} is cut short at tensor {extent.spec.name!r}: expected at least "
                f"{_short(extent.end)} bytes, found {size}. Copy or download the file again."
            )
        position = extent.end
    if position != size:
        raise CheckpointError(
            f"{path} has {size - position} bytes after its last tensor: expected {position} bytes, "
            f"found {size}. The file is corrupted."
        )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"
