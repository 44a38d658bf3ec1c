"""A function in a process of its own: one that hangs or crashes is ended and costs one ask."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from merganser._errors import ConfigError
from merganser.routing.requests._contract import Limits
from merganser.routing.requests._expert import AskError, LateError, Reply

_SCRIPT = str(Path(__file__).with_name("_process_worker.py"))


class Process:
    """Calls one function, one call at a time, in a process that is started when it is needed and after it was ended.

    Args:
        reference: `module:function`; imported there and only there.
        path: Folders where modules are looked for first.
        starting: Longest time of starting and importing, in seconds.
    """

    def __init__(self, reference: str, *, path: Sequence[str] = (), starting: float = 60.0) -> None:
        self._reference, self._path, self._starting = reference, [*path, *sys.path], starting
        self._process: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize[Any, Any] | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the process, if none runs.

        Raises:
            ConfigError: If there is no such module or function.
            LateError: If it does not start in time.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()
        process = subprocess.Popen([sys.executable, _SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._process, self._end = process, weakref.finalize(self, _close, process)
        reply = self._exchange({"reference": self._reference, "path": self._path}, self._starting)
        if "error" in reply:
            self.stop()
            raise ConfigError(f"Expected `module:function`, but {self._reference!r} fails: {reply['error']}.")

    def call(self, arguments: Sequence[Any], seconds: float) -> Any:
        """What the function returns, as plain data.

        Args:
            arguments: Plain data.
            seconds: Longest time, once the process runs; another call that is still going on counts.

        Raises:
            ConfigError: If there is no such module or function.
            LateError: If it takes longer; the process has been ended.
            AskError: If it raises, or its process ends.
        """
        begun = time.monotonic()
        if not self._lock.acquire(timeout=seconds):
            raise LateError(f"was busy for {seconds:g} s")
        try:
            waited = time.monotonic() - begun
            self.start()
            reply = self._exchange({"arguments": list(arguments)}, max(seconds - waited, 0.001))
        finally:
            self._lock.release()
        if "error" in reply:
            raise AskError(f"raised {reply['error']}")
        return reply["answer"]

    def stop(self) -> None:
        """End the process; the next call starts another."""
        if self._end is not None:
            self._end()
        self._process = self._end = None

    def _exchange(self, message: dict[str, Any], seconds: float) -> dict[str, Any]:
        process = self._process
        assert process is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            line = _sent_and_read(process, {**message, "seconds": seconds})
        finally:
            timer.cancel()
        if line.endswith(b"\n") and not late.is_set():
            return json.loads(line)
        code = process.wait()
        self.stop()
        if late.is_set():
            raise LateError(f"took longer than {seconds:.3g} s")
        raise AskError(f"its process ended with code {code}")


class Function:
    """A way to ask: `module:function`, from prompt to answer, in a process of its own.

    Args:
        reference: Module and function.
        path: Folders where modules are looked for first.
    """

    def __init__(self, reference: str, *, path: Sequence[str] = ()) -> None:
        self.process = Process(reference, path=path)

    def __call__(self, prompt: str, limits: Limits, /) -> Reply:
        """The answer to a prompt.

        Raises:
            ConfigError: If there is no such module or function.
            AskError: If there is no answer; `LateError` if none came in time.
        """
        said = self.process.call([prompt], limits.seconds)
        if not isinstance(said, str):
            raise AskError(f"answered with {type(said).__name__}, not with a text")
        return Reply(said)


def _sent_and_read(process: subprocess.Popen[bytes], message: dict[str, Any]) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        return b""
    return process.stdout.readline()


def _close(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()
