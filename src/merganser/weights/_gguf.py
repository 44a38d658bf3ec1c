"""GGUF files: tensors decoded when they are read, block by block, and given the names and the layout of a model.

| stored as | read as |
| --- | --- |
| F32, F16, BF16, F64, I8 … I64 | the same, mapped where nothing has to be undone; shifted norms as F32 |
| quantised (Q8_0, Q4_1, Q4_K, IQ4_XS, …) | F32, exactly the numbers that the codes stand for |

Names, permuted rows and shifted norms of known families are translated (see `_gguf_names`); of others everything
stays as in the file. A range of elements costs the blocks it lies in, or the rows where these are permuted. The
tokenizer in the file is not read: keep the one of the original model beside what you save.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np

from merganser._errors import CheckpointError
from merganser.weights._decode import Array, decode
from merganser.weights._gguf_config import ROPE_FACTORS, config_of, llama3_scaling
from merganser.weights._gguf_header import GgufHeader, GgufTensor, read_gguf_header
from merganser.weights._gguf_names import Translated, family_of, rows_in_file, translate
from merganser.weights._mapped import MappedFile, aligned
from merganser.weights._source import Bytes, FileStamp, part_chunks
from merganser.weights._spec import DTYPES, TensorSpec

SUFFIX = ".gguf"
PIECE = 1 << 17
"""Elements decoded at a time: small enough that what the decoder makes on the way stays in the cache."""

# Digests are remembered by the state of files; this one stands for how the tensors follow from them.
_RULES = FileStamp(Path("merganser: translation of GGUF"), 1, 0, 0)
_PLAIN = {"F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64"}


class GgufFile:
    """One GGUF file as a source of tensors; opened by reading its header only.

    Args:
        path: The file.

    Raises:
        CheckpointError: If the library gguf is not installed, or the file is damaged, in several parts, or holds
            an element type that cannot be decoded.
    """

    def __init__(self, path: Path) -> None:
        self._library = _library()
        self._header, stamp = read_gguf_header(path, self._library)
        _check_whole(path, self._header)
        self._file = MappedFile(path, stamp)
        self._tensors, self._rope = self._translated()
        self._types = {kind: self._type(kind) for kind in {t.tensor.kind for t in self._tensors.values()}}
        self.specs: Mapping[str, TensorSpec] = MappingProxyType(
            {name: TensorSpec(name, self._dtype(t), t.tensor.shape) for name, t in self._tensors.items()}
        )

    @property
    def config(self) -> Mapping[str, Any]:
        """What the settings say, in the words of transformers; empty for unknown architectures."""
        family = family_of(self._header)
        shapes = {name: spec.shape for name, spec in self.specs.items()}
        return config_of(self._header, family, shapes, self._rope) if family else {}

    @property
    def metadata(self) -> Mapping[str, str]:
        """The texts under ``general.``: architecture, name, licence, where it comes from."""
        general = {k: v for k, v in self._header.settings.items() if k.startswith("general.")}
        return {key: value for key, value in general.items() if isinstance(value, str)}

    @property
    def stamps(self) -> tuple[FileStamp, ...]:
        """State of the file when it was opened."""
        return (self._file.stamp, _RULES)

    def view(self, name: str) -> Bytes:
        """All bytes of a tensor: mapped if it is stored as it is read, else decoded.

        Raises:
            CheckpointError: If the file has changed since it was opened.
        """
        return self.part(name, 0, self.specs[name].numel)

    def part(self, name: str, begin: int, end: int) -> Bytes:
        """Bytes of the elements [begin, end).

        Raises:
            CheckpointError: If the file has changed since it was opened.
        """
        found = self._tensors[name]
        values = (
            self._gathered(found, begin, end) if found.heads else self._contiguous(found.tensor, begin, end)
        )
        if found.shift:
            stored = self._types[found.tensor.kind]
            values = decode(values, stored).astype(np.float32) - np.float32(found.shift)
        return values.view(np.uint8)

    def chunks(self, name: str) -> Iterator[memoryview]:
        """The same bytes in order; those that are stored as they are read come from the file itself."""
        found = self._tensors[name]
        if found.heads or found.shift or self._types[found.tensor.kind] not in _PLAIN:
            return part_chunks(self, name)
        return self._file.chunks(found.tensor.begin, found.tensor.end, name)

    def _translated(self) -> tuple[dict[str, Translated], dict[str, Any] | None]:
        """The tensors by their names in the model, and the rotary scaling that one of them stood for."""
        try:
            tensors = translate(self._header, self._library)
        except ValueError as error:
            raise CheckpointError(f"{self._file.path}: {error}. The file is damaged.") from error
        named = {found.name: found for found in tensors}
        if not named or len(named) != len(tensors):
            fault = "two of its tensors would have one name" if named else "it holds no tensors"
            raise CheckpointError(f"{self._file.path} cannot be read as a model: {fault}.")
        return named, self._take_rope(named)

    def _take_rope(self, named: dict[str, Translated]) -> dict[str, Any] | None:
        factors = named.get(ROPE_FACTORS)
        if factors is None or family_of(self._header) is None or self._type(factors.tensor.kind) != "F32":
            return None
        raw = self._file.mapped(factors.tensor.begin, factors.tensor.end)
        scaling = llama3_scaling(self._header, aligned(raw, 4).view("<f4"))
        if scaling is not None:
            del named[ROPE_FACTORS]
        return scaling

    def _contiguous(self, tensor: GgufTensor, begin: int, end: int) -> Array:
        """Elements from the blocks they lie in."""
        block, size = self._library.GGML_QUANT_SIZES[tensor.kind]
        first, last = begin // block, -(-end // block)
        raw = self._file.mapped(tensor.begin + first * size, tensor.begin + last * size)
        return self._decoded(raw, tensor.kind)[begin - first * block : end - first * block]

    def _gathered(self, found: Translated, begin: int, end: int) -> Array:
        """Elements from whole rows, fetched from where the file has them."""
        tensor, width = found.tensor, math.prod(found.tensor.shape[1:])
        first, last = begin // max(1, width), -(-end // max(1, width))
        stored = self._file.mapped(tensor.begin, tensor.end).reshape(tensor.shape[0], -1)
        rows = rows_in_file(np.arange(first, last), tensor.shape[0] // found.heads)
        raw = stored[rows].reshape(-1)
        return self._decoded(raw, tensor.kind)[begin - first * width : end - first * width]

    def _decoded(self, raw: Bytes, kind: int) -> Array:
        """The elements of whole blocks: their stored bits, or the numbers that codes stand for."""
        stored = self._types[kind]
        if stored in _PLAIN:
            return aligned(raw, DTYPES[stored].itemsize).view(DTYPES[stored].storage)
        block, size = self._library.GGML_QUANT_SIZES[kind]
        out = np.empty(len(raw) // size * block, np.float32)
        step = max(1, PIECE // block)
        for i in range(0, len(raw) // size, step):
            piece = raw[i * size : (i + step) * size].reshape(1, -1)
            out[i * block : (i + step) * block] = _dequantised(self._library, piece, kind)
        return out

    def _dtype(self, found: Translated) -> str:
        stored = self._types[found.tensor.kind]
        return stored if stored in _PLAIN and not found.shift else "F32"

    def _type(self, kind: int) -> str:
        """Name of an element type that can be read."""
        name = self._library.GGMLQuantizationType(kind).name
        if name not in _PLAIN:
            try:
                _dequantised(
                    self._library, np.zeros((1, self._library.GGML_QUANT_SIZES[kind][1]), np.uint8), kind
                )
            except NotImplementedError as error:
                raise CheckpointError(
                    f"{self._file.path} holds tensors of the type {name}, which gguf cannot decode. "
                    "Use a file with another quantisation, or a newer gguf."
                ) from error
        return name


def _dequantised(library: ModuleType, raw: Bytes, kind: int) -> Any:
    with np.errstate(all="ignore"):  # a damaged scale is an infinity or NaN, and stays one
        return library.dequantize(raw, library.GGMLQuantizationType(kind)).reshape(-1)


def _check_whole(path: Path, header: GgufHeader) -> None:
    parts = header.settings.get("split.count", 0)
    if isinstance(parts, int) and parts > 1:
        raise CheckpointError(
            f"{path} is one of {parts} parts of a model. Join them first: llama-gguf-split --merge FIRST_PART OUT"
        )


def _library() -> ModuleType:
    try:
        import gguf
        import gguf.quants
    except ImportError as error:
        raise CheckpointError(
            "GGUF files need the library gguf, which is not installed. Install it with: pip install 'merganser[gguf]'"
        ) from error
    return gguf
