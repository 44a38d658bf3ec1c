"""The header of a GGUF file: settings by name, and where each tensor lies; checked before any of it is used.

| part | content |
| --- | --- |
| beginning | ``GGUF``, version (2 or 3), number of tensors, number of settings |
| setting | name, type, value: a number, a text, or an array of such |
| tensor | name, dimensions (the fastest first), element type, offset in the data |
| data | begins at a multiple of the alignment, as does every tensor |

All integers are little-endian. The parser is our own, since the library's trusts lengths it reads: a damaged file
would keep it busy for ever. What the library knows of element types (size of a block, bytes it takes) is asked there.

References:
    https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from merganser._errors import CheckpointError
from merganser.weights._mapped import open_regular, stamp_of
from merganser.weights._source import FileStamp

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT_KEY = "general.alignment"
DEFAULT_ALIGNMENT = 32
MAX_DIMENSIONS = 8
MAX_KEPT = 4096
"""Longest array that is kept; longer ones hold a vocabulary, which is no part of the tensors."""

_STRING, _ARRAY = 8, 9
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_MAX_ADDRESS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor and where its bytes lie.

    Args:
        name: Its name in the file.
        kind: Number of the element type, as in `gguf.GGMLQuantizationType`.
        shape: Length of each dimension, the slowest first, as in torch.
        begin: First byte, counted from the start of the file.
        end: One past the last byte.
    """

    name: str
    kind: int
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """A header that has been checked against its file.

    Args:
        settings: Values by name; None for arrays too long to keep.
        tensors: In the order of the file.
    """

    settings: Mapping[str, Any]
    tensors: tuple[GgufTensor, ...]

    @property
    def architecture(self) -> str:
        """What the file calls its architecture; empty if it does not say."""
        return str(self.settings.get("general.architecture", ""))


def read_gguf_header(path: Path, library: ModuleType) -> tuple[GgufHeader, FileStamp]:
    """Read and check a header.

    Raises:
        CheckpointError: If the file cannot be read, or is not a whole GGUF file.
    """
    try:
        with open_regular(path) as file:
            stamp = stamp_of(path, file)
            if stamp.size < len(MAGIC) or file.read(len(MAGIC)) != MAGIC:
                raise CheckpointError(f"{path} is no GGUF file: expected it to begin with {MAGIC!r}.")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                return _Parser(path, mapped, library).header(), stamp
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error


class _Parser:
    """Reads a file from its beginning; every length is checked before it is believed."""

    def __init__(self, path: Path, data: mmap.mmap, library: ModuleType) -> None:
        self._path, self._data, self._library = path, data, library
        self._size, self._position = len(data), len(MAGIC)

    def header(self) -> GgufHeader:
        (version,) = self._take("I")
        if version not in VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS
            which = "is big-endian" if swapped else f"has the version {version}"
            known = " and ".join(map(str, VERSIONS))
            raise self._fault(f"{which}, but only little-endian files of the versions {known} can be read")
        tensors, settings = self._take("QQ")
        values = MappingProxyType(self._settings(settings))
        infos = [self._tensor_info() for _ in range(self._plausible(tensors, 24))]
        return GgufHeader(values, self._placed(infos, self._alignment(values)))

    def _settings(self, count: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for _ in range(self._plausible(count, 13)):
            name = self._string()
            if name in values:
                raise self._fault(f"has the setting {name!r} twice")
            values[name] = self._value(*self._take("I"))
        return values

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY and depth < 4:
            return self._array(depth)
        if kind not in _NUMBERS:
            raise self._fault(f"has a setting of the unknown type {kind}")
        return self._take(_NUMBERS[kind])[0]

    def _array(self, depth: int) -> tuple[Any, ...] | None:
        kind, count = self._take("IQ")
        if kind in _NUMBERS:
            itemsize = struct.calcsize(f"<{_NUMBERS[kind]}")
            if count <= MAX_KEPT:
                return self._take(f"{count}{_NUMBERS[kind]}")
            self._skip(count, itemsize)
            return None
        values = []
        for _ in range(self._plausible(count, 8)):
            if kind != _STRING or count <= MAX_KEPT:
                values.append(self._value(kind, depth + 1))
            else:
                self._skip(self._take("Q")[0], 1)
        return tuple(values) if count <= MAX_KEPT else None

    def _tensor_info(self) -> tuple[str, int, tuple[int, ...], int]:
        name = self._string()
        (dimensions,) = self._take("I")
        if dimensions > MAX_DIMENSIONS:
            raise self._fault(
                f"has the tensor {name!r} with {dimensions} dimensions: expected at most {MAX_DIMENSIONS}"
            )
        shape = self._take(f"{dimensions}Q")[::-1]
        if math.prod(length or 1 for length in shape) > _MAX_ADDRESS // 8:
            raise self._fault(f"has the tensor {name!r} of the shape {shape}, which no array can have")
        kind, offset = self._take("IQ")
        return name, kind, shape, offset

    def _alignment(self, settings: Mapping[str, Any]) -> int:
        alignment = settings.get(ALIGNMENT_KEY, DEFAULT_ALIGNMENT)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise self._fault(f"has the alignment {alignment!r}: expected a power of two")
        return alignment

    def _placed(
        self, infos: list[tuple[str, int, tuple[int, ...], int]], alignment: int
    ) -> tuple[GgufTensor, ...]:
        start = self._position + -self._position % alignment
        tensors: dict[str, GgufTensor] = {}
        for name, kind, shape, offset in infos:
            if name in tensors:
                raise self._fault(f"has the tensor {name!r} twice")
            if offset % alignment:
                raise self._fault(f"has the tensor {name!r} at {offset}, which is no multiple of {alignment}")
            begin = start + offset
            tensors[name] = GgufTensor(name, kind, shape, begin, begin + self._bytes(name, kind, shape))
        self._check_overlap(tensors)
        return tuple(tensors.values())

    def _bytes(self, name: str, kind: int, shape: tuple[int, ...]) -> int:
        sizes = self._library.GGML_QUANT_SIZES
        known = {int(number): found for number, found in sizes.items()}
        if kind not in known:
            raise self._fault(
                f"has the tensor {name!r} of the unknown element type {kind}; is gguf up to date?"
            )
        block, size = known[kind]
        columns = shape[-1] if shape else 1
        if columns % block:
            raise self._fault(
                f"has the tensor {name!r} with rows of {columns}: expected a multiple of {block}"
            )
        return math.prod(shape) // block * size

    def _check_overlap(self, tensors: Mapping[str, GgufTensor]) -> None:
        end = 0
        for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.begin, tensor.end)):
            if tensor.begin < end:
                raise self._fault(f"has the tensor {tensor.name!r} overlapping the one before it")
            if tensor.end > self._size:
                raise CheckpointError(
                    f"{self._path} is cut short at tensor {tensor.name!r}: expected at least {tensor.end} bytes, "
                    f"found {self._size}. Copy or download the file again."
                )
            end = max(end, tensor.end)

    def _take(self, form: str) -> tuple[Any, ...]:
        form = f"<{form}"
        begin = self._skip(1, struct.calcsize(form))
        return struct.unpack_from(form, self._data, begin)

    def _string(self) -> str:
        (length,) = self._take("Q")
        begin = self._skip(length, 1)
        try:
            return self._data[begin : begin + length].decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._fault(f"has a text at byte {begin} that is not UTF-8") from error

    def _plausible(self, count: int, least: int) -> int:
        """A number of things that take at least so many bytes each."""
        if count * least > self._size - self._position:
            raise self._fault(f"announces {count} entries at byte {self._position}, but has no room for them")
        return count

    def _skip(self, count: int, itemsize: int) -> int:
        begin = self._position
        if count * itemsize > self._size - begin:
            raise self._fault(f"ends in the middle of its header, at byte {begin}")
        self._position = begin + count * itemsize
        return begin

    def _fault(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self._path} {what}. The file is damaged or of another kind.")
