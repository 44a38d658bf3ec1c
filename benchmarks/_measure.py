"""What every benchmark shares: whole processes in CPU-seconds, a line per case, the same as JSON lines."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results"

_SAMPLE_SECONDS = 0.1

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


class Usage(NamedTuple):
    """What a process cost: CPU-seconds and seconds of the whole process, bytes of peak memory, its output.

    `memory` counts mapped files too; `anonymous` does not, and is the highest of samples a tenth of a second apart.
    """

    cpu: float
    wall: float
    memory: int
    anonymous: int
    output: str


def measure(command: Sequence[str], *, cwd: str | Path | None = None, cores: int = 1) -> Usage:
    """Run a command on some cores, with as many threads; its standard output comes back.

    Raises:
        RuntimeError: If it fails.
    """
    allowed = set(sorted(os.sched_getaffinity(0))[-cores:])
    threads = {variable: value.replace("1", str(cores)) for variable, value in ONE_THREAD.items()}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        began = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=cwd,
            stdout=out,
            stderr=errors,
            env={**os.environ, **(ONE_THREAD if cores == 1 else threads)},
            preexec_fn=lambda: os.sched_setaffinity(0, allowed),  # noqa: PLW1509
        )
        anonymous = 0
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            anonymous = max(anonymous, _anonymous(process.pid))
            time.sleep(_SAMPLE_SECONDS if time.monotonic() - began > 1 else _SAMPLE_SECONDS / 10)
        wall = time.monotonic() - began
        _, status, usage = ended
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed:\n{errors.read()[-2000:]}")
        return Usage(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024, anonymous, out.read())


def _anonymous(pid: int) -> int:
    """Bytes of memory that no file backs, now."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


def report(name: str, case: str, figures: dict[str, float], **details: Any) -> None:
    """Print `NAME CASE key=value …` and append the same, with details, to `results/NAME.jsonl`.

    Args:
        name: The benchmark.
        case: What was measured.
        figures: What the line shows; keys that begin with `vs_` are ratios.
        details: What only the JSON line holds.
    """
    shown = (f"{k}={v:.3g}x" if k.startswith("vs_") else f"{k}={v:.4g}" for k, v in figures.items())
    print(name, case, *shown, flush=True)
    RESULTS.mkdir(exist_ok=True)
    record = {
        "name": name,
        "case": case,
        **figures,
        **details,
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    with (RESULTS / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
