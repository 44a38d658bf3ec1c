"""Trains a small thought machine on the parity of all 256 sequences of 8 signs, with several seeds, failures shown.

    python examples/parity/seeds.py --seeds 0 1 2 --out parity

A seed takes about a minute and a half of one core. Seeds that are done are not trained again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from merganser.report import write_thinking_report
from merganser.thinking.training import Parity, ThinkingTrained, ThinkingTraining, train_thinking


def main() -> None:
    """Train all seeds and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--length", type=int, default=8)
    parser.add_argument("--steps", type=int, default=ThinkingTraining().steps)
    parser.add_argument("--learning-rate", type=float, default=ThinkingTraining().learning_rate)
    parser.add_argument("--out", type=Path, default=Path("parity"))
    asked = parser.parse_args()
    print(
        "| seed | bits right | sequences right | steps | CPU-seconds | halted at 0.8: bits right | ticks saved |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for seed in asked.seeds:
        settings = ThinkingTraining(steps=asked.steps, learning_rate=asked.learning_rate, seed=seed)
        before, task = time.process_time(), Parity(asked.length)
        trained = train_thinking(task, task.config(seed=seed), asked.out / f"seed-{seed}", settings)
        seconds = time.process_time() - before
        write_thinking_report(trained, trained.folder / "report.html")
        print(line(seed, trained, seconds), flush=True)


def line(seed: int, trained: ThinkingTrained, seconds: float) -> str:
    """A row of the table.

    Args:
        seed: Of the training.
        trained: What came of it.
        seconds: CPU time it took now.
    """
    halted = trained.halted
    cells = [
        str(seed),
        f"{100 * trained.test:.2f} %",
        f"{100 * trained.whole:.2f} %",
        str(trained.rows[-1].step),
        f"{seconds:.0f}",
        f"{100 * halted.accuracy:.1f} %",
        f"{100 * halted.saved:.1f} %",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
