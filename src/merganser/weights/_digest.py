r"""A name for the content of a checkpoint, whatever files hold it.

With $h$ for BLAKE2b of 256 bits, the digest is $h$ over one line for each tensor, sorted by name: the
JSON array *(name, element type, shape, h(bytes of the tensor))*. Sharding, the order in the files,
configuration and metadata leave it alone; a single changed bit does not.

Hashing reads every byte, so the digest is remembered for the state of the files it was read from (path,
size, modification time, inode): in this process, and in one small JSON file per checkpoint under the
user's cache directory. A file written so recently that it could change again without showing it (file
systems count time in ticks) is not remembered.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from merganser._errors import OutputError
from merganser.weights._atomic import atomic_write_text
from merganser.weights._source import FileStamp, TensorSource

Digest: TypeAlias = str
"""64 hexadecimal digits that name the content of a checkpoint."""

CACHE_VARIABLE = "MERGANSER_CACHE"
DIGEST_BYTES = 32
SETTLED_NS = 2_000_000_000  # the coarsest tick in use, that of FAT

_known: dict[tuple[FileStamp, ...], Digest] = {}


def digest_of(source: TensorSource) -> Digest:
    """Digest of all tensors of a source, from the cache if its files are unchanged.

    Raises:
        CheckpointError: If a file changed since it was opened, or cannot be read.
    """
    stamps = source.stamps
    remembered = _recall(stamps) if stamps else None
    if remembered is not None:
        return remembered
    digest = _compute(source)
    if stamps and time.time_ns() - max(stamp.mtime_ns for stamp in stamps) > SETTLED_NS:
        _remember(stamps, digest)
    return digest


def hash_chunks(chunks: Iterable[memoryview | bytes]) -> str:
    """BLAKE2b-256 of concatenated chunks, in hexadecimal."""
    state = new_hash()
    for chunk in chunks:
        state.update(chunk)
    return state.hexdigest()


def new_hash() -> hashlib.blake2b:
    """An empty hash of the kind used for tensors and digests."""
    return hashlib.blake2b(digest_size=DIGEST_BYTES)


def cache_directory() -> Path:
    """Where digests are remembered: ``$MERGANSER_CACHE``, else ``merganser`` in the user's cache."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "merganser"
    return Path("~/.cache/merganser").expanduser()


def _compute(source: TensorSource) -> Digest:
    return hash_chunks(_lines(source))


def _lines(source: TensorSource) -> Iterator[bytes]:
    for name in sorted(source.specs):
        spec = source.specs[name]
        row = [name, spec.dtype, list(spec.shape), hash_chunks(source.chunks(name))]
        yield json.dumps(row, separators=(",", ":")).encode() + b"\n"


def _recall(stamps: tuple[FileStamp, ...]) -> Digest | None:
    if stamps in _known:
        return _known[stamps]
    try:
        entry = json.loads(_entry_path(stamps).read_bytes())
        digest = entry["digest"]
        if entry["files"] != _plain(stamps) or len(bytes.fromhex(digest)) != DIGEST_BYTES:
            return None
    except (OSError, RuntimeError, ValueError, TypeError, KeyError):  # none, unreadable or damaged
        return None
    return _known.setdefault(stamps, digest)


def _remember(stamps: tuple[FileStamp, ...], digest: Digest) -> None:
    _known[stamps] = digest
    entry = {"version": 1, "files": _plain(stamps), "digest": digest}
    try:
        atomic_write_text(_entry_path(stamps), json.dumps(entry))
    except (OutputError, RuntimeError):  # a cache that cannot be written costs time, nothing else
        return


def _entry_path(stamps: tuple[FileStamp, ...]) -> Path:
    return cache_directory() / "digests" / f"{hash_chunks([json.dumps(_plain(stamps)).encode()])}.json"


def _plain(stamps: tuple[FileStamp, ...]) -> list[list[object]]:
    return [[str(path), size, mtime_ns, inode] for path, size, mtime_ns, inode in stamps]
