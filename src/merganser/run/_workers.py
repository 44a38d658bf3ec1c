"""Worker processes, each with a live model, that score children at the same time.

A worker makes the run's plan anew and then answers one question after the other: which genome to become (or none, to
stay what it is), which task, which samples. One that dies, or takes longer than the time limit, costs the child it had
and is replaced. Workers ignore Ctrl-C, which is the loop's to handle, and end when the pipe to it closes. On Linux
they are forked off one process that has imported torch and the rest, which takes seconds, and has done nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from merganser._errors import RunError
from merganser.evaluation import Marks
from merganser.evolution import Genome
from merganser.run._plan import Plan
from merganser.run._runners import Job, Scored, checked_marks, reason_of

MakePlan = Callable[[], Plan]


@dataclass
class _Talk:
    """A child, its number, and the samples on which it is to be scored next."""

    key: int
    job: Job
    ids: np.ndarray


class Workers:
    """Scores in processes of their own; a `Runner`.

    Args:
        make_plan: Makes the plan anew in a worker; it must pickle.
        width: Number of processes.
        time_limit: Seconds that one answer may take; None for any time.
        threads: Threads that each process may use.

    Raises:
        RunError: If `make_plan` does not pickle.
    """

    def __init__(
        self, make_plan: MakePlan, width: int, *, time_limit: float | None = None, threads: int = 1
    ) -> None:
        try:
            pickle.dumps(make_plan)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise RunError(
                f"Workers must be sent the task and the network, but these cannot be pickled: {error}. Name them as "
                "`module:function`, or use a single process (`workers: 1`, no time limit)."
            ) from error
        self.width = width
        self._make_plan, self._threads = make_plan, threads
        self._limit = np.inf if time_limit is None else time_limit
        self._queue: deque[_Talk] = deque()
        self._found: dict[int, Scored] = {}
        self._workers = [self._hired() for _ in range(width)]

    def start(self, key: int, job: Job) -> None:
        """Give it to a process that is free, or put it in the queue."""
        try:
            self._queue.append(_Talk(key, job, next(job.visit)))
        except StopIteration as end:  # everything about it is known
            self._found[key] = end.value
        self._assign()

    def finish(self, key: int) -> Scored:
        """Talk with all workers until this child is scored; it goes before others that wait.

        Raises:
            RunError: If a worker cannot begin.
        """
        self._queue = deque(sorted(self._queue, key=lambda talk: talk.key != key))
        while key not in self._found:
            self._assign()
            self._listen()
        return self._found.pop(key)

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers:
            worker.dismiss()
        self._workers = []

    def _hired(self) -> _Worker:
        return _Worker(self._make_plan, self._threads)

    def _assign(self) -> None:
        for worker in self._workers:
            if self._queue and worker.is_ready and worker.talk is None:
                talk = self._queue.popleft()
                worker.ask(talk, talk.job.genome, self._limit)

    def _listen(self) -> None:
        """Wait for an answer, a death or a deadline, and see to it."""
        left = min(worker.deadline for worker in self._workers) - time.monotonic()
        waited = wait([w.pipe for w in self._workers], timeout=None if np.isinf(left) else max(left, 0.0))
        for i, worker in enumerate(self._workers):
            if worker.pipe in waited:
                try:
                    self._hear(worker, *worker.pipe.recv())
                except (EOFError, ConnectionError):
                    self._replace(i, worker.cause_of_death())
            elif worker.deadline <= time.monotonic():
                self._replace(i, f"TimeoutError: no answer within {self._limit:g} s")

    def _hear(self, worker: _Worker, problem: str | None, marks: Marks | None) -> None:
        talk, worker.deadline = worker.talk, np.inf
        if talk is None:
            worker.is_ready = problem is None
            if problem is not None:
                raise RunError(f"A worker cannot begin: {problem}")
        elif problem is not None:
            self._found[talk.key], worker.talk = talk.job.failed(problem), None
        else:
            assert marks is not None
            try:
                talk.ids = talk.job.visit.send(marks)
                worker.ask(talk, None, self._limit)
            except StopIteration as end:
                self._found[talk.key], worker.talk = end.value, None

    def _replace(self, position: int, reason: str) -> None:
        worker = self._workers[position]
        worker.dismiss()
        if not worker.is_ready:
            raise RunError(f"A worker ended before it could begin: {reason}")
        if worker.talk is not None:
            self._found[worker.talk.key] = worker.talk.job.failed(reason)
        self._workers[position] = self._hired()


class _Worker:
    """A process, the child it has, and when it must have answered."""

    def __init__(self, make_plan: MakePlan, threads: int) -> None:
        context = _context()
        self.pipe, theirs = context.Pipe()
        given = (theirs, make_plan, threads, dict(os.environ))
        self.process: Any = context.Process(target=_serve, args=given, daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe ends when the process does
        self.is_ready, self.talk, self.deadline = False, None, np.inf
        self.talk: _Talk | None

    def ask(self, talk: _Talk, genome: Genome | None, limit: float) -> None:
        """Ask for scores; of another genome if there is one."""
        self.talk, self.deadline = talk, time.monotonic() + limit
        with suppress(ConnectionError):  # a dead worker is noticed when it is listened to
            self.pipe.send((genome, talk.job.task, talk.ids))

    def cause_of_death(self) -> str:
        """Why the process ended, as far as the system says."""
        self.process.join()
        code = self.process.exitcode
        if code < 0:
            said = signal.Signals(-code).name
            hint = ": the system may have run out of memory" if -code == signal.SIGKILL else ""
            return f"ChildProcessError: the worker was ended by {said}{hint}"
        return f"ChildProcessError: the worker ended with exit status {code}"

    def dismiss(self) -> None:
        """End it, whatever it is doing."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _context() -> Any:
    """How processes begin: with what this one has imported of what takes long, where the system can."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    heavy = [
        name for name in ("torch", "transformers.modeling_utils") if name.partition(".")[0] in sys.modules
    ]
    context.set_forkserver_preload([__name__, *heavy])  # without effect once the first worker has begun
    return context


def _serve(pipe: Connection, make_plan: MakePlan, threads: int, environment: dict[str, str]) -> None:
    """A worker's life: make the plan, then answer until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.clear()  # what it was forked off may be older than the last change
    os.environ.update(environment)
    with suppress(EOFError, ConnectionError):
        try:
            plan = make_plan()
            _ = plan.model
        except Exception as error:  # noqa: BLE001 - told to the run, which stops
            pipe.send((reason_of(error), None))
            return
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)
        with threadpool_limits(threads):
            pipe.send((None, None))
            candidate = _Candidate(plan)
            while True:
                pipe.send(candidate.answer(*pipe.recv()))


class _Candidate:
    """Who is alive in a worker."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._model = plan, plan.model

    def answer(self, genome: Genome | None, task: int, ids: np.ndarray) -> tuple[str | None, Marks | None]:
        """What went wrong, or scores and margins; of another candidate if one is given."""
        try:
            if genome is not None:
                self._model = self._plan.bring_to_life(genome)
            return None, checked_marks(self._plan.tasks[task], self._model, ids)
        except Exception as error:  # noqa: BLE001 - a failed candidate costs one candidate
            return reason_of(error), None
