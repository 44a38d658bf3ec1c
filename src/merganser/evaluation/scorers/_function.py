"""A scorer of the user's own: `module:function(sample, text) -> float`.

It runs in a process of its own, so that one that raises, hangs or crashes costs one sample and not the run. The
module is imported there, and only because the user named it. `sample` is a dictionary with `question`, `answers`,
`choices`, `right` and `fields` (the other columns of the row).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

from merganser._errors import ConfigError
from merganser.evaluation._question import Question
from merganser.evaluation.scorers._scorer import Scorer, Verdict

_WORKER = str(Path(__file__).with_name("_function_worker.py"))


def function_scorer(reference: str, *, seconds: float = 10.0) -> Scorer:
    """The scorer at `module:function`.

    Args:
        reference: Module and function.
        seconds: Longest time for one sample.

    Raises:
        ConfigError: If there is no such module or function.
    """
    worker = _Worker(reference, seconds)
    return Scorer(f"{reference} {_source_digest(reference)} {seconds:g} s", worker.judge, binary=False)


class _Worker:
    """The process, started again after it was stopped."""

    def __init__(self, reference: str, seconds: float) -> None:
        self._reference, self._seconds = reference, seconds
        self._process, self._end = self._start()

    def judge(self, question: Question, text: str) -> Verdict:
        if self._process.poll() is not None:
            self._process, self._end = self._start()
        begun = time.monotonic()
        reply = _exchange(self._process, [question.facts(), text])
        if reply is None:
            code, waited = self._process.wait(), time.monotonic() - begun
            self._end()
            if waited >= self._seconds:
                return Verdict(0.0, f"the scorer took longer than {self._seconds:g} s")
            return Verdict(0.0, f"the scorer's process ended with code {code}")
        if "error" in reply:
            return Verdict(0.0, f"the scorer raised {reply['error']}")
        score = reply["score"]
        if not 0 <= score <= 1:
            return Verdict(0.0, f"the scorer gave {score:g}, not a number in [0, 1]")
        return Verdict(score)

    def _start(self) -> tuple[subprocess.Popen[bytes], weakref.finalize[Any, Any]]:
        process = subprocess.Popen(
            [sys.executable, _WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        end = weakref.finalize(self, _close, process)
        reply = _exchange(process, {"reference": self._reference, "path": sys.path, "seconds": self._seconds})
        if reply is None or "missing" in reply:
            end()
            why = "its process ended" if reply is None else reply["missing"]
            raise ConfigError(f"Expected a scorer `module:function`, but {self._reference!r} fails: {why}.")
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


def _source_digest(reference: str) -> str:
    """Hash of the module's file: another function is another task."""
    spec = importlib.util.find_spec(reference.partition(":")[0])
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return "-"
    return hashlib.blake2b(Path(spec.origin).read_bytes(), digest_size=8).hexdigest()
