"""Writing one safetensors file as a stream: specs first, then the bytes, in order or wherever they belong.

The header is known as soon as the specs are, so no tensor needs to be whole in memory: a merge can hand
over chunk after chunk as it computes them, from several threads.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from merganser._errors import CheckpointError, OutputError
from merganser.weights._atomic import PendingFile, output_errors
from merganser.weights._digest import hash_chunks, new_hash
from merganser.weights._safetensors import LENGTH_BYTES, METADATA_KEY, SafetensorsFile
from merganser.weights._spec import TensorSpec

if TYPE_CHECKING:
    from typing_extensions import Buffer

ALIGNMENT = 8


class ShardWriter:
    r"""Writes one safetensors file, which appears whole when closed or not at all.

    Args:
        path: The file; missing folders are made.
        specs: The tensors, in the order in which their bytes will come.
        metadata: Free strings for the header.
        overwrite: Whether a file that is there may be replaced.
        verify: Whether to read every tensor back before the file gets its name.
        reserve: Whether to claim the file's room on the disk at once.

    Raises:
        ValueError: If two tensors have one name, or a name or metadata cannot be stored.
        OutputError: If the file exists and may not be replaced, or cannot be written.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> with ShardWriter(path, [TensorSpec("bias", "U8", (4,))]) as writer:
        ...     writer.write("bias", bytes([1, 2]))
        ...     writer.write("bias", bytes([3, 4]))
        >>> path.read_bytes()[-4:]
        b'\x01\x02\x03\x04'
    """

    def __init__(
        self,
        path: str | Path,
        specs: Sequence[TensorSpec],
        *,
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = False,
        verify: bool = False,
        reserve: bool = False,
    ) -> None:
        self.path = Path(path)
        header = encode_header(specs, metadata or {})
        self._specs = {spec.name: spec for spec in specs}
        self._header_bytes = len(header)
        self._needed = len(header) + sum(spec.nbytes for spec in specs)
        self._places = dict(_places(specs, len(header)))
        self._scattered, self._lock = 0, threading.Lock()
        self._queue = [spec for spec in reversed(specs) if spec.nbytes]  # the next one is the last
        self._lacking = self._queue[-1].nbytes if self._queue else 0
        self._hashes = {spec.name: new_hash() for spec in specs} if verify else None
        self._done = False
        with output_errors(self.path, self._needed):
            self._file = PendingFile(self.path, overwrite=overwrite)
        with self._failing():
            self._file.write(header)
            if reserve:
                self._file.reserve(self._needed)

    def write(self, name: str, chunk: Buffer) -> None:
        """Append bytes to a tensor.

        Args:
            name: The tensor whose turn it is: the first, in the order of the specs, that is not full.
            chunk: Contiguous bytes, or anything with a buffer (an array, a memoryview).

        Raises:
            ValueError: If it is another tensor's turn, or the bytes are more than the tensor lacks.
            OutputError: If they cannot be written; nothing is left behind then.
        """
        view = memoryview(chunk)
        if not view.nbytes:
            return
        self._check_turn(name, view.nbytes)
        with self._failing():
            self._file.write(view.cast("B"))
        if self._hashes is not None:
            self._hashes[name].update(view.cast("B"))
        self._lacking -= view.nbytes
        if not self._lacking:
            self._queue.pop()
            self._lacking = self._queue[-1].nbytes if self._queue else 0

    def write_at(self, name: str, offset: int, chunk: Buffer) -> None:
        """Write bytes of a tensor where they belong, in any order and from any thread.

        Every byte must be written once: what is counted is how many, not which.

        Args:
            name: The tensor.
            offset: First byte, counted within the tensor.
            chunk: Contiguous bytes, or anything with a buffer.

        Raises:
            ValueError: If the bytes reach beyond the tensor, or the writer verifies, which needs bytes in order.
            OutputError: If they cannot be written; nothing is left behind once the writer is left or aborted.
        """
        if self._hashes is not None:
            raise ValueError("A writer that verifies needs the bytes in order: use `write`, or verify=False.")
        view = memoryview(chunk).cast("B")
        place = self._places.get(name)
        if self._done or place is None or not 0 <= offset <= place.nbytes - len(view):
            raise ValueError(
                f"Bytes [{offset}, {offset + len(view)}) of {name!r} do not belong into {self.path}"
                + (", which is closed." if self._done else ".")
            )
        with output_errors(self.path, self._needed):  # not aborted here: other threads may be writing
            self._file.write_at(place.begin + offset, view)
        with self._lock:
            self._scattered += len(view)

    def close(self) -> None:
        """Sync the file, verify it if that was asked for, and give it its name.

        Raises:
            ValueError: If bytes are missing; nothing is left behind then.
            OutputError: If the file cannot be written, or what is read back differs.
        """
        if self._done:
            return
        with self._failing():
            self._check_whole()
            self._file.sync()
            if self._hashes is not None:
                self._compare(self._hashes)
            self._file.commit()
        self._done = True

    def abort(self) -> None:
        """Remove what was written so far; what stood under the name before is unchanged."""
        self._done = True
        self._file.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif not self._done:
            self.abort()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        with output_errors(self.path, self._needed):
            try:
                yield
            except BaseException:
                self.abort()
                raise

    def _check_whole(self) -> None:
        if self._scattered:
            lacking = self._needed - self._header_bytes - self._scattered
            if lacking:
                raise ValueError(f"{lacking} bytes are missing, so {self.path} was not written.")
        elif self._queue:
            lacking = f"{self._lacking} of {self._queue[-1].nbytes} bytes"
            raise ValueError(
                f"Tensor {self._queue[-1].name!r} lacks {lacking}, so {self.path} was not written."
            )

    def _check_turn(self, name: str, count: int) -> None:
        if self._done:
            raise ValueError(f"{self.path} is closed; tensor {name!r} came too late.")
        if name not in self._specs:
            raise ValueError(f"Tensor {name!r} is not among the specs of {self.path}.")
        turn = self._queue[-1].name if self._queue else None
        if name != turn or count > self._lacking:
            expected = f"at most {self._lacking} bytes of {turn!r}" if turn else "no more bytes"
            raise ValueError(f"Expected {expected} for {self.path}, found {count} bytes of {name!r}.")

    def _compare(self, hashes: Mapping[str, hashlib.blake2b]) -> None:
        _forget_pages(self._file.temporary)
        try:
            written = SafetensorsFile(self._file.temporary)
            wrong = [name for name in hashes if hash_chunks(written.chunks(name)) != hashes[name].hexdigest()]
        except CheckpointError as error:
            raise OutputError(f"{self.path} could not be read back after writing: {error}") from error
        if wrong:
            raise OutputError(
                f"{self.path} was written, but tensor {wrong[0]!r} reads back differently. "
                "The disk or the memory is faulty; what stood there before is unchanged."
            )


class _Place(NamedTuple):
    begin: int
    nbytes: int


def _places(specs: Sequence[TensorSpec], begin: int) -> Iterator[tuple[str, _Place]]:
    for spec in specs:
        yield spec.name, _Place(begin, spec.nbytes)
        begin += spec.nbytes


def encode_header(specs: Sequence[TensorSpec], metadata: Mapping[str, str]) -> bytes:
    """Length and header of a safetensors file, padded with spaces so that the data is aligned.

    Raises:
        ValueError: If two tensors have one name, or a name or the metadata cannot be stored.
    """
    fields: dict[str, Any] = {METADATA_KEY: dict(metadata)} if metadata else {}
    if not all(isinstance(text, str) for pair in metadata.items() for text in pair):
        raise ValueError(f"Metadata must hold strings by string, but is {dict(metadata)!r}.")
    begin = 0
    for spec in specs:
        if spec.name in fields or spec.name == METADATA_KEY:
            raise ValueError(f"Tensor name {spec.name!r} occurs twice or is reserved. Rename the tensor.")
        offsets = [begin, begin + spec.nbytes]
        fields[spec.name] = {"dtype": spec.dtype, "shape": list(spec.shape), "data_offsets": offsets}
        begin += spec.nbytes
    try:
        text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("A tensor's name or the metadata holds half a character (a surrogate).") from error
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def _forget_pages(path: Path) -> None:
    """Drop a synced file from the page cache, so that reading it back asks the disk."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
