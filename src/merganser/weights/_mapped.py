"""An ordinary file whose bytes are mapped into memory, and which must stay as it was opened."""

from __future__ import annotations

import mmap
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

import numpy as np

from merganser._errors import CheckpointError
from merganser.weights._source import CHUNK_BYTES, Bytes, FileStamp

# Torch has no read-only tensors and Python's private mappings are charged as if they were all written
# to, so that a file larger than memory could not be mapped. Linux lets us say that they will not be.
_NO_RESERVE: int = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


_AHEAD_BYTES = 1 << 28


class MappedFile:
    """Ranges of a file's bytes, mapped or streamed.

    Args:
        path: The file.
        stamp: Its state when its header was read.
    """

    def __init__(self, path: Path, stamp: FileStamp) -> None:
        self.path = path
        self.stamp = stamp
        self._map: mmap.mmap | None = None
        self._mapping: Bytes | None = None

    def mapped(self, begin: int, end: int) -> Bytes:
        """The bytes [begin, end), read when touched; what is written into them never reaches the file.

        Raises:
            CheckpointError: If the file has changed since it was opened.
        """
        if self._mapping is None:
            try:
                with self._reopen() as file:
                    self._map = _map_privately(file)
                self._mapping = np.frombuffer(self._map, np.uint8)
            except OSError as error:
                message = f"{self.path} cannot be mapped into memory: {error.strerror or error}."
                raise CheckpointError(message) from error
        return self._mapping[begin:end]

    def will_need(self, begin: int, end: int) -> None:
        """Have the system begin to read the bytes [begin, end), a quarter of a GB at most, and not wait for them."""
        self.mapped(begin, end)
        if self._map is not None and hasattr(mmap, "MADV_WILLNEED"):
            page = begin - begin % mmap.PAGESIZE
            with suppress(OSError):  # advice that cannot be taken costs time, nothing else
                self._map.madvise(mmap.MADV_WILLNEED, page, min(end, page + _AHEAD_BYTES) - page)

    def chunks(self, begin: int, end: int, name: str) -> Iterator[memoryview]:
        """The same bytes, read from the file: what was written into a mapped range does not show here.

        Args:
            begin: First byte.
            end: One past the last.
            name: The tensor they belong to, for messages.

        Raises:
            CheckpointError: If the file has changed since it was opened, or cannot be read.
        """
        try:
            with self._reopen() as file:
                file.seek(begin)
                yield from _read_chunks(file, end - begin)
        except OSError as error:
            message = f"{self.path} cannot be read at tensor {name!r}: {error.strerror or error}."
            raise CheckpointError(message) from error

    def _reopen(self) -> BufferedReader:
        file = open_regular(self.path)
        if stamp_of(self.path, file) != self.stamp:
            file.close()
            raise CheckpointError(f"{self.path} has changed since it was opened. Open the checkpoint again.")
        return file


def open_regular(path: Path) -> BufferedReader:
    """Open an ordinary file for reading; a pipe or device, which could block for ever, is an OSError."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(None, "it is not an ordinary file")
    return path.open("rb")


def stamp_of(path: Path, file: BufferedReader) -> FileStamp:
    """State of an open file."""
    status = os.fstat(file.fileno())
    return FileStamp(path, status.st_size, status.st_mtime_ns, status.st_ino)


def aligned(data: Bytes, itemsize: int) -> Bytes:
    """The same bytes, copied only where they do not begin at a multiple of the size of an element."""
    return data if data.ctypes.data % itemsize == 0 else data.copy()


def _map_privately(file: BufferedReader) -> mmap.mmap:
    """Map a file so that writing to memory copies the page and never reaches the file."""
    if sys.platform == "win32":
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    flags, protection = mmap.MAP_PRIVATE | _NO_RESERVE, mmap.PROT_READ | mmap.PROT_WRITE
    return mmap.mmap(file.fileno(), 0, flags=flags, prot=protection)


def _read_chunks(file: BufferedReader, remaining: int) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(min(remaining, CHUNK_BYTES)))
    while remaining:
        count = file.readinto(buffer[:remaining])
        if not count:
            raise OSError(None, f"it ends {remaining} bytes early")
        remaining -= count
        yield buffer[:count]
