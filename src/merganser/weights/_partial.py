"""A folder that fills up over several attempts, and appears under its name when it is whole.

Until then it lies beside its place under a hidden name. What it is going to be (its *identity*) is written into it
first: a later attempt at the same goes on where the last one stopped, an attempt at something else starts afresh. Files
in it appear whole or not at all, so whatever has its name is finished.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from merganser._errors import OutputError
from merganser.weights._atomic import atomic_write_text, output_errors, publish_directory, refuse_existing

_IDENTITY = ".identity"
_LOCK = ".lock"


class PartialFolder:
    """The folder while it fills up; a context manager that keeps other processes out.

    Left by an exception, it stays for the next attempt, unless it was discarded.

    Args:
        path: The name it will get; missing parents are made.
        identity: What it is going to be, as text.
        overwrite: Whether a folder under that name may be replaced.

    Attributes:
        folder: Where to put files meanwhile.

    Raises:
        OutputError: If `path` exists and may not be replaced, the folder cannot be made, or another process is at it.

    Examples:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "model"
        >>> with PartialFolder(place, "a model") as partial:
        ...     _ = (partial.folder / "part").write_text("whole")
        ...     partial.publish()
        >>> [file.name for file in place.iterdir()]
        ['part']
    """

    def __init__(self, path: Path, identity: str, *, overwrite: bool = False) -> None:
        self._path, self._identity, self._overwrite = path, identity, overwrite
        beginning = path.name.encode(errors="replace")[:200].decode(
            errors="ignore"
        )  # names may have 255 bytes
        self.folder = path.with_name(f".{beginning}.partial")
        self._lock: int | None = None

    def __enter__(self) -> Self:
        refuse_existing(self._path, overwrite=self._overwrite)
        with output_errors(self._path):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = self._take_lock()
            try:
                self._prepare()
            except BaseException:
                self._release()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def publish(self) -> None:
        """Give the folder its name.

        Raises:
            OutputError: If the system refuses.
        """
        publish_directory(self.folder, self._path, overwrite=self._overwrite)
        for name in (_IDENTITY, _LOCK):
            (self._path / name).unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what there is: nothing of it will be of use."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _prepare(self) -> None:
        same = self._is_same()
        self._clear(everything=not same)
        if not same:
            atomic_write_text(self.folder / _IDENTITY, self._identity)

    def _is_same(self) -> bool:
        with suppress(OSError, UnicodeDecodeError):
            return (self.folder / _IDENTITY).read_text(encoding="utf-8") == self._identity
        return False

    def _clear(self, *, everything: bool) -> None:
        """Remove what was left in the making, or everything."""
        for entry in self.folder.iterdir():
            if entry.name != _LOCK and (everything or entry.suffix == ".tmp"):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def _take_lock(self) -> int:
        descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            import fcntl
        except ImportError:  # Windows: two writers would only do the same work twice
            return descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise OutputError(
                f"{self._path} is being written by another process. Wait for it, or choose another path."
            ) from None  # with a cause, it would pass for a failure to write
        return descriptor

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
