"""The process in which a user's function runs: one that raises, hangs or crashes costs one call."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any, Literal, NamedTuple

from merganser._errors import ConfigError

_SCRIPT = str(Path(__file__).with_name("_function_worker.py"))


class Stopped(NamedTuple):
    """The process ended instead of answering.

    Attributes:
        late: Whether it took too long.
        code: Its exit code.
    """

    late: bool
    code: int


class Worker:
    """A process that answers one message after the other; it is started again after it was stopped.

    Args:
        reference: `module:function`; imported there and only there.
        seconds: Longest time for one message.
        kind: What the function is: a scorer, or what returns an environment.

    Raises:
        ConfigError: If there is no such module or function.
    """

    def __init__(self, reference: str, seconds: float, kind: Literal["scorer", "environment"]) -> None:
        self._reference, self._seconds, self._kind = reference, seconds, kind
        self._process, self._end = self._start()

    def ask(self, message: list[Any]) -> dict[str, Any] | Stopped:
        """The reply to a message; `error` is in it if the function raised."""
        if self._process.poll() is not None:
            self._process, self._end = self._start()
        begun = time.monotonic()
        reply = _exchange(self._process, message)
        if reply is not None:
            return reply
        code, waited = self._process.wait(), time.monotonic() - begun
        self._end()
        return Stopped(waited >= self._seconds, code)

    def _start(self) -> tuple[subprocess.Popen[bytes], weakref.finalize[Any, Any]]:
        process = subprocess.Popen(
            [sys.executable, _SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        end = weakref.finalize(self, _close, process)
        first = {
            "reference": self._reference,
            "path": sys.path,
            "seconds": self._seconds,
            "kind": self._kind,
        }
        reply = _exchange(process, first)
        if reply is None or "missing" in reply:
            end()
            why = "its process ended" if reply is None else reply["missing"]
            article = "an" if self._kind == "environment" else "a"
            raise ConfigError(
                f"Expected {article} {self._kind} `module:function`, but {self._reference!r} fails: {why}."
            )
        return process, end


def _exchange(process: subprocess.Popen[bytes], message: Any) -> dict[str, Any] | None:
    """Send a message and wait for its reply; None if the process ended instead."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(message).encode() + b"\n")
        line = process.stdout.readline()
    except BrokenPipeError:
        return None
    return json.loads(line) if line.endswith(b"\n") else None


def _close(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()
