"""Writing so that a crash leaves the old or nothing: written beside, fsynced, renamed.

Temporary files stand beside their target, since a rename is atomic within one file system only, under a
hidden name that ends in ``.tmp``. A killed process can leave one behind; it is never mistaken for output.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from merganser._errors import OutputError


def atomic_write_bytes(path: str | Path, data: bytes, *, overwrite: bool = True) -> None:
    """Write a whole file or nothing; missing folders are made.

    Args:
        path: The file.
        data: Its content.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        OutputError: If the file exists and may not be replaced, or cannot be written.
    """
    path = Path(path)
    with output_errors(path, len(data)), PendingFile(path, overwrite=overwrite) as file:
        file.write(data)


def atomic_write_text(path: str | Path, text: str, *, overwrite: bool = True) -> None:
    """Write a whole file of UTF-8 text or nothing; otherwise as `atomic_write_bytes`.

    Raises:
        OutputError: If the file exists and may not be replaced, or cannot be written.
    """
    atomic_write_bytes(path, text.encode(), overwrite=overwrite)


@contextmanager
def atomic_directory(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Fill a folder that appears whole or not at all.

    Yields a new folder to write into. It gets its name when the block ends, and is removed if the block
    raises. To replace an existing folder, that is renamed aside, the new one renamed in, the old one
    deleted with all it holds; a crash between the two renames leaves nothing under the name.

    Args:
        path: The folder to make; missing parents are made.
        overwrite: Whether whatever is there may be replaced.

    Raises:
        OutputError: If `path` exists and may not be replaced, or cannot be written.

    Examples:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "out"
        >>> with atomic_directory(place) as folder:
        ...     _ = (folder / "a.txt").write_text("whole")
        ...     place.exists()
        False
        >>> (place / "a.txt").read_text()
        'whole'
    """
    path = Path(path)
    refuse_existing(path, overwrite=overwrite)
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _sibling(path, "tmp")
        temporary.mkdir()
    try:
        yield temporary
        publish_directory(temporary, path, overwrite=overwrite)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def publish_directory(temporary: Path, path: Path, *, overwrite: bool = False) -> None:
    """Give a folder that is whole its name; what is replaced is deleted after that.

    Raises:
        OutputError: If `path` exists and may not be replaced, or the system refuses.
    """
    refuse_existing(path, overwrite=overwrite)
    with output_errors(path):
        _sync_tree(temporary)
        _swap_in(temporary, path)


class PendingFile:
    """A file under a temporary name, until it is committed or discarded.

    Used as a context manager, it is committed when the block ends and discarded if it raises.

    Args:
        path: The name it will get; missing folders are made.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        OutputError: If `path` exists and may not be replaced.
        OSError: From every method, if the system refuses.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        refuse_existing(path, overwrite=overwrite)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.temporary = _sibling(path, "tmp")
        # Ctrl-C may come before anybody holds this object: then the file goes with it.
        self._remove = weakref.finalize(self, _remove_of, os.getpid(), self.temporary)
        self._path = path
        self._overwrite = overwrite
        self._file = self.temporary.open("xb")
        self._lock = threading.Lock()

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        self._file.write(data)

    def reserve(self, size: int) -> None:
        """Claim the room on the disk at once, where the system can: a full disk shows now and not hours later."""
        if size and hasattr(os, "posix_fallocate"):
            self._file.flush()
            try:
                os.posix_fallocate(self._file.fileno(), 0, size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # a file system that cannot
                    raise

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write bytes at a place of their own, from any thread; leaves the place of `write` alone."""
        with self._lock:
            self._file.flush()
            if not hasattr(os, "pwrite"):
                place = self._file.tell()
                self._file.seek(offset)
                self._file.write(data)
                self._file.seek(place)
                return
        while data:
            written = os.pwrite(self._file.fileno(), data, offset)
            data, offset = data[written:], offset + written

    def sync(self) -> None:
        """Make sure that what was written is on the disk; nothing can be written after that."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def commit(self) -> None:
        """Give the file its name."""
        self.sync()
        _rename_file(self.temporary, self._path, self._overwrite)
        self._remove.detach()  # there is nothing left to remove, and Ctrl-C would be lost in a finaliser
        sync_directory(self._path.parent)

    def discard(self) -> None:
        """Remove the file; does nothing once it has its name."""
        with suppress(OSError):  # closing flushes, which fails again where the disk is full
            self._file.close()
        self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self.discard()


@contextmanager
def output_errors(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn an OSError of the block into an OutputError that says what would help.

    Blocks nest: the outermost names the path and the bytes, since it knows what the user asked for.

    Args:
        path: What the user asked to write.
        needed: Bytes it takes, if known.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(_failure(path, error, needed)) from error
    except OutputError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        raise OutputError(_failure(path, error.__cause__, needed)) from error.__cause__


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise an OutputError if something is at `path` and may not be replaced."""
    if not overwrite and _is_there(path):
        raise OutputError(f"{path} exists already. Choose another path, or allow it to be overwritten.")


def sync_directory(path: Path) -> None:
    """Make renames within a folder last through a power failure, where the system has a way to."""
    flag = getattr(os, "O_DIRECTORY", None)  # Windows has none, and cannot sync a folder
    if flag is not None:
        descriptor = os.open(path, os.O_RDONLY | flag)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _failure(path: Path, error: OSError, needed: int | None) -> str:
    message = f"{path} could not be written: {error.strerror or error}."
    if needed is not None:
        message += f" It takes {needed:,} bytes; {_free(path)} are free."
    return message + " Make room or choose another place; what stood there before is unchanged."


def _free(path: Path) -> str:
    for folder in path.absolute().parents:
        with suppress(OSError):
            return f"{shutil.disk_usage(folder).free:,}"
    return "an unknown number"


def _sibling(path: Path, ending: str) -> Path:
    # Names may have 255 bytes; most of one is enough to recognise it by.
    return path.with_name(f".{path.name[:48]}.{secrets.token_hex(6)}.{ending}")


def _rename_file(temporary: Path, path: Path, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(path)
        return
    try:
        os.link(temporary, path)  # unlike a rename, never replaces what another process just made
    except FileExistsError:
        refuse_existing(path, overwrite=False)
        raise
    except OSError:  # a file system without hard links
        temporary.replace(path)
    else:
        temporary.unlink()


def _swap_in(temporary: Path, path: Path) -> None:
    if not _is_there(path):
        temporary.rename(path)
    else:
        aside = _sibling(path, "old")
        path.rename(aside)
        try:
            temporary.rename(path)
        except OSError:
            aside.rename(path)
            raise
        _discard(aside)
    sync_directory(path.parent)


def _remove_of(process: int, temporary: Path) -> None:
    """Remove a temporary file of a process; one that was forked off it leaves the file alone."""
    if os.getpid() == process:
        temporary.unlink(missing_ok=True)


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_directory(path)
        elif path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_directory(folder)


def _is_there(path: Path) -> bool:
    return path.is_symlink() or path.exists()
