"""`make demo`: evolve digit classifiers from specialists and from scratch, and say where to look."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

MERGANSER = Path(sys.executable).with_name("merganser")

RUNS = (
    ("Two specialists, one for the digits 0-4 and one for 5-9, become one model:", "specialists", "6000"),
    ("And the same from two random networks:", "scratch", "12000"),
)


def main() -> None:
    """Run both, one after the other, into a fresh folder below runs/."""
    folder = Path("runs") / f"demo-{time.strftime('%Y%m%d-%H%M%S')}"
    for words, start, budget in RUNS:
        print(f"\n{words}\n  merganser evolve digits --from {start} --budget {budget}\n", flush=True)
        flags = ["--from", start, "--budget", budget, "--run", str(folder / start)]
        subprocess.run([str(MERGANSER), "evolve", "digits", *flags], check=True)
    print("\nOpen the reports in a browser:", flush=True)
    for _, start, _ in RUNS:
        print(f"  {(folder / start / 'report.html').resolve()}")


if __name__ == "__main__":
    main()
