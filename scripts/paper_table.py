"""The table of the natural-niches paper on the digits, with seeds: runs that can be stopped and resumed.

    python scripts/paper_table.py scratch|specialists|show [--runs runs/paper]

`scratch`: 5 seeds, 20,000 evaluations. `specialists`: 10 pairs of specialists, 10,000 evaluations. Both with
`--splits paper`: the model with the best search score is tested, as in the paper. `show` prints the table as Markdown
from whatever is finished.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from merganser.run import RunDirectory, evolve, list_runs, resume, summarise

METHODS: dict[str, dict[str, Any]] = {
    "M2N2": {"method": "natural-niches"},
    "M2N2 without attraction": {"method": "natural-niches", "attraction": False},
    "M2N2 without split point": {"method": "natural-niches", "split_point": False},
    "M2N2 without crossover": {"method": "natural-niches", "crossover": False},
    "GA": {"method": "ga"},
    "GA without crossover": {"method": "ga", "crossover": False},
    "MAP-Elites": {"method": "map-elites"},
    "CMA-ES (diagonal)": {"method": "cma-es"},
    "CMA-ES (one weight per layer)": {"method": "cma-es"},
    "brute-force SLERP": {"method": "brute-force", "steps": 1_001},
    "random": {"method": "random"},
}
SETTINGS = {
    "scratch": (
        20_000,
        5,
        ("M2N2", "GA", "MAP-Elites", "M2N2 without attraction", "M2N2 without split point",
         "M2N2 without crossover", "GA without crossover", "CMA-ES (diagonal)"),
    ),
    "specialists": (
        10_000,
        10,
        ("M2N2", "M2N2 without split point", "brute-force SLERP", "M2N2 without attraction", "GA",
         "MAP-Elites", "CMA-ES (one weight per layer)", "random"),
    ),
}  # fmt: skip
PAPER = {
    "scratch": {"M2N2": 86.0, "GA": 66.6, "MAP-Elites": 55.4, "M2N2 without crossover": 70.5,
                "GA without crossover": 66.2, "CMA-ES (diagonal)": None},
    "specialists": {"M2N2": 68.3, "M2N2 without split point": 57.8, "brute-force SLERP": 57.8,
                    "M2N2 without attraction": 66.3, "GA": 52.0, "MAP-Elites": 62.4},
}  # fmt: skip


def run_all(start: str, folder: Path) -> None:
    """Run what is not finished; method by method, so that a partial table already says something."""
    budget, seeds, methods = SETTINGS[start]
    for method in methods:
        for seed in range(seeds):
            path = folder / f"{start}-{method.replace(' ', '_')}-{seed}"
            if RunDirectory(path).exists:
                if summarise(path).state == "finished":
                    continue
                outcome = resume(path)
            else:
                outcome = evolve(
                    start,
                    "digits",
                    search=METHODS[method],
                    budget=budget,
                    splits="paper",
                    seed=seed,
                    run=path,
                )
            assert outcome.winner is not None
            assert outcome.winner.test is not None
            print(f"{path.name}: test {outcome.winner.test.value:.3f}, {outcome.seconds:.0f} s", flush=True)


def show(folder: Path) -> None:
    """Print a table for each start: mean and spread over seeds, beside the paper's figure."""
    finished = {Path(s.run).name for s in list_runs(folder) if s.state == "finished"}
    for start, (budget, _, methods) in SETTINGS.items():
        print(f"\n{start}, {budget:,} evaluations\n")
        columns = ["method", "seeds", "test % mean (sd)", "min to max", "search %"]
        columns += ["coverage at 5,000", "entropy at 5,000", "paper %"]
        print(f"| {' | '.join(columns)} |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for method in methods:
            runs = [
                n for n in sorted(finished) if n.rsplit("-", 1)[0] == f"{start}-{method.replace(' ', '_')}"
            ]
            if runs:
                print(_line(method, [folder / n for n in runs], PAPER[start].get(method)))


def _line(method: str, runs: list[Path], paper: float | None) -> str:
    tests, searches, coverages, entropies = [], [], [], []
    for run in runs:
        with RunDirectory(run).journal() as journal:
            outcome = journal.outcome()
            early = [p for p in journal.progress() if p.evaluations <= 5_200]
        tests.append(100 * outcome["test"]["value"])
        searches.append(100 * outcome["search"])
        coverages.append(early[-1].coverage)
        entropies.append(early[-1].entropy)
    spread = statistics.stdev(tests) if len(tests) > 1 else 0.0
    cells = [
        method,
        str(len(tests)),
        f"{statistics.mean(tests):.1f} ({spread:.1f})",
        f"{min(tests):.1f} to {max(tests):.1f}",
        f"{statistics.mean(searches):.1f}",
        f"{statistics.mean(coverages):.3f}",
        f"{statistics.mean(entropies):.3f}",
        "–" if paper is None else f"{paper:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Run or show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=[*SETTINGS, "show"])
    parser.add_argument("--runs", type=Path, default=Path("runs/paper"))
    options = parser.parse_args()
    if options.what == "show":
        show(options.runs)
    else:
        run_all(options.what, options.runs)


if __name__ == "__main__":
    main()
