"""Run the searches of this folder, each in a process of its own; what was interrupted goes on, what is done stays.

    python examples/four-skills/run.py --seeds 0 1 2 --only m2n2 nsga2

Runs are `runs/SEARCH-SEED`; their output is `runs/SEARCH-SEED.log`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from skills import HERE
from tasks import SEARCHES, specialists

from merganser import RunError
from merganser.run import RunDirectory, summarise

RUNS = HERE / "runs"


def main() -> None:
    """All that are not finished, seed after seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=SEARCHES, default=SEARCHES)
    parser.add_argument("--at-once", type=int, choices=(1, 2), default=1)
    given = parser.parse_args()
    RUNS.mkdir(exist_ok=True)
    wanted = [(search, seed) for seed in given.seeds for search in given.only]
    with ThreadPoolExecutor(given.at_once) as pool:
        codes = list(pool.map(lambda each: _run(*each), wanted))
    sys.exit(max(codes))


def _run(search: str, seed: int) -> int:
    run = RUNS / f"{search}-{seed}"
    if is_finished(run):
        return 0
    models = [word for model in specialists(HERE / "models", seed) for word in ("--model", model)]
    command = [sys.executable, "-m", "merganser", "evolve", str(HERE / f"{search}.yaml"), *models]
    with run.with_suffix(".log").open("a") as log:
        print(f"{run.name} …", flush=True)
        done = subprocess.run(  # noqa: S603
            [*command, "--seed", str(seed), "--run", str(run)],
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    print(f"{run.name}: exit code {done.returncode}", flush=True)
    return done.returncode


def is_finished(run: Path) -> bool:
    """Whether there is a run, and it and the one that follows it, if one does, are finished."""
    try:
        return summarise(last_of(run)).state == "finished"
    except RunError:
        return False


def last_of(run: Path) -> Path:
    """The run that has the winner: of two searches the second."""
    then = RunDirectory(run).settings().then
    return run if then is None else RunDirectory(run).next.path


if __name__ == "__main__":
    main()
