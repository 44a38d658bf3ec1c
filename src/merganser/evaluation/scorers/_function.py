"""A scorer of the user's own: `module:function(sample, text) -> float`.

It runs in a process of its own, so that one that raises, hangs or crashes costs one sample and not the run. The
module is imported there, and only because the user named it. `sample` is a dictionary with `question`, `answers`,
`choices`, `right` and `fields` (the other columns of the row).
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from merganser.evaluation._question import Question
from merganser.evaluation.scorers._scorer import Scorer, Verdict
from merganser.evaluation.scorers._worker import Stopped, Worker


def function_scorer(reference: str, *, seconds: float = 10.0) -> Scorer:
    """The scorer at `module:function`.

    Args:
        reference: Module and function.
        seconds: Longest time for one sample.

    Raises:
        ConfigError: If there is no such module or function.
    """
    judge = _Judge(reference, seconds)
    return Scorer(f"{reference} {source_digest(reference)} {seconds:g} s", judge, binary=False)


class _Judge:
    """Verdicts of a worker."""

    def __init__(self, reference: str, seconds: float) -> None:
        self._worker, self._seconds = Worker(reference, seconds, "scorer"), seconds

    def __call__(self, question: Question, text: str) -> Verdict:
        reply = self._worker.ask([question.facts(), text])
        if isinstance(reply, Stopped):
            if reply.late:
                return Verdict(0.0, f"the scorer took longer than {self._seconds:g} s")
            return Verdict(0.0, f"the scorer's process ended with code {reply.code}")
        if "error" in reply:
            return Verdict(0.0, f"the scorer raised {reply['error']}")
        score = reply["answer"]
        if not 0 <= score <= 1:
            return Verdict(0.0, f"the scorer gave {score:g}, not a number in [0, 1]")
        return Verdict(score)


def source_digest(reference: str) -> str:
    """Hash of the file of a `module:function`: another source is another task."""
    spec = importlib.util.find_spec(reference.partition(":")[0])
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return "-"
    return hashlib.blake2b(Path(spec.origin).read_bytes(), digest_size=8).hexdigest()
