"""M2N2 from scratch on the digits: our run, journal on, beside the authors' code.

    make rivals
    RIVAL_NATURAL_NICHES=PATH make bench-niches

Whole processes, one child at a time, one thread on one core; figures are evaluations per CPU-second, the median of
the repetitions. The rival is a checkout of SakanaAI/natural_niches; `RIVAL_NATURAL_NICHES_PYTHON` may name another
interpreter with its requirements (jax, optax, cma, scikit-learn, tqdm). Without a checkout only our side is measured.

The floor is what the matrix products of the samples we did score would take at the rate of a large product, measured
in the same process. Cases that end in `-full` score every child on every sample; their share of time in fitness
arithmetic (asking, telling, screening) comes with them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _measure import Usage, measure, report

SAMPLES = 1_437
FLOP_PER_SAMPLE = 2 * (64 * 256 + 256 * 10)


def ours(evaluations: int, *, early_rejection: bool, seed: int) -> tuple[Usage, dict[str, Any]]:
    """Our whole process and the figures it printed."""
    with tempfile.TemporaryDirectory() as folder:
        flags = [str(evaluations), str(int(early_rejection)), str(seed), f"{folder}/run"]
        usage = measure([sys.executable, __file__, "--ours", *flags])
    return usage, json.loads(usage.output.splitlines()[-1])


def run_ours(evaluations: int, early_rejection: bool, seed: int, run: str) -> dict[str, Any]:
    """In the measured process: the run, and the seconds that went into the arithmetic of the search."""
    from merganser.run import evolve

    search = {"method": "natural-niches", "early_rejection": early_rejection}
    spent = {"search": 0.0}
    if not early_rejection:
        _time_search(spent)
    began = time.process_time()
    outcome = evolve(
        "scratch", "digits", search=search, budget=evaluations, seed=seed, splits="paper", run=run
    )
    seconds = time.process_time() - began
    total = outcome.samples_measured + outcome.samples_saved
    assert outcome.winner is not None
    assert outcome.winner.test is not None
    return {
        "measured": outcome.samples_measured / total,
        "test": outcome.winner.test.value,
        "fitness_share": spent["search"] / seconds,
        "flops": gemm_rate(),
    }


def _time_search(spent: dict[str, float]) -> None:
    """Add the CPU time of asking and telling to `spent`; used where the time itself is not the figure."""
    from merganser.evolution import NaturalNiches

    for name in ("ask", "tell"):
        original = getattr(NaturalNiches, name)

        def timed(*args: Any, original: Any = original) -> Any:
            began = time.process_time()
            result = original(*args)
            spent["search"] += time.process_time() - began
            return result

        setattr(NaturalNiches, name, timed)


def gemm_rate() -> float:
    """Operations per second of a large float32 matrix product on this core, the best of several."""
    import numpy as np

    a = np.ones((1024, 1024), np.float32)
    best = 0.0
    for _ in range(8):
        began = time.process_time()
        np.matmul(a, a)
        best = max(best, 2 * 1024**3 / (time.process_time() - began))
    return best


def rival(evaluations: int, path: str, python: str) -> Usage:
    """The authors' whole process."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "results").mkdir()  # it writes there at the end and does not make it
        flags = ["--method", "natural_niches", "--runs", "1", "--total_forward_passes", str(evaluations)]
        return measure(
            [python, str(Path(path).resolve() / "main.py"), *flags, "--store_train_results"], cwd=folder
        )


def rival_python() -> str:
    """The interpreter with the rival's requirements: the one named, that of `make rivals`, or this one."""
    named = os.environ.get("RIVAL_NATURAL_NICHES_PYTHON")
    made = Path(__file__).parents[1] / ".venv-rivals" / "bin" / "python"
    needed = ["-c", "import jax, optax, cma, sklearn, tqdm"]
    for python in [named] if named else [str(made), sys.executable]:
        if not shutil.which(python):
            continue
        if subprocess.run([python, *needed], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return python
    raise SystemExit("The rival needs jax, optax, cma, scikit-learn and tqdm. Install them with: make rivals")


def case(evaluations: int, *, early_rejection: bool, repeats: int) -> None:
    """One line: several of our runs around one of the rival's."""
    path = os.environ.get("RIVAL_NATURAL_NICHES")
    python = rival_python() if path else sys.executable
    runs = [ours(evaluations, early_rejection=early_rejection, seed=k) for k in range(repeats)]
    theirs = rival(evaluations, path, python) if path and early_rejection else None
    runs += [ours(evaluations, early_rejection=early_rejection, seed=repeats)]
    rate = statistics.median(evaluations / usage.cpu for usage, _ in runs)
    measured = statistics.median(info["measured"] for _, info in runs)
    flops = max(info["flops"] for _, info in runs)
    floor = flops / (measured * SAMPLES * FLOP_PER_SAMPLE)
    figures = {"ours": rate}
    if theirs is not None:
        figures["rival"] = evaluations / theirs.cpu
    figures["floor"] = floor
    if theirs is not None:
        figures["vs_rival"] = rate * theirs.cpu / evaluations
    figures["vs_floor"] = rate / floor
    details: dict[str, Any] = {
        "unit": "evaluations per CPU-second",
        "cpu": [usage.cpu for usage, _ in runs],
        "memory": max(usage.memory for usage, _ in runs),
        "samples_measured": measured,
        "test": [info["test"] for _, info in runs],
        "gflops": flops / 1e9,
    }
    if theirs is not None:
        details |= {"rival_cpu": theirs.cpu, "rival_memory": theirs.memory}
    if not early_rejection:
        figures["fitness_share"] = statistics.median(info["fitness_share"] for _, info in runs)
    name = f"{evaluations}" if early_rejection else f"{evaluations}-full"
    report("niches", name, figures, **details)


def main() -> None:
    """Measure all cases, or be the measured process."""
    if len(sys.argv) > 1 and sys.argv[1] == "--ours":
        evaluations, early, seed, run = sys.argv[2:]
        print(json.dumps(run_ours(int(evaluations), early == "1", int(seed), run)))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--evaluations", type=int, nargs="+", default=[20_000, 50_000])
    parser.add_argument(
        "--repeats", type=int, default=2, help="our runs before the rival's; one more follows it"
    )
    options = parser.parse_args()
    for evaluations in options.evaluations:
        case(evaluations, early_rejection=True, repeats=options.repeats)
    case(options.evaluations[0], early_rejection=False, repeats=1)


if __name__ == "__main__":
    main()
