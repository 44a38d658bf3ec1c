"""Specialists on two kinds of mazes, merged and evolved into one model for both.

    python examples/mazes/specialists.py --start mazes/seed-0 --out specialists

From one model that knows depth-first mazes, one specialist is trained on mazes of Prim's algorithm and one on mazes
with loops, about four minutes of one core each. Then they are merged by rule and evolved, and all are asked for routes
through test mazes of all three families. What is done already is not done again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

import merganser
from merganser.run import Budget, EvolveSettings, SearchSettings, TaskSettings, evolve_settings
from merganser.thinking import CTM, find_ways
from merganser.thinking.mazes import FAMILIES, mazes_of
from merganser.thinking.training import MazeRoutes, ThinkingTraining, open_thinking, train_thinking

SPECIALITIES = ("prim", "loops")
MERGES: dict[str, dict[str, object]] = {
    "linear": {},
    "slerp": {},
    "task_arithmetic": {"base": None},
    "ties": {"base": None, "density": 0.5},
}
"""Rules, and what they need; `base` is the common start."""


def main() -> None:
    """Train, merge, evolve, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--start", type=Path, required=True, help="the training to begin with")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--evaluations", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("specialists"))
    asked = parser.parse_args()
    print(f"| model | {' | '.join(FAMILIES)} | mean |")
    print(f"| --- |{' --- |' * (len(FAMILIES) + 1)}", flush=True)
    for name, folder in models(asked.start, asked.out, asked.steps, asked.evaluations, asked.seed):
        shares = [solved(folder, family) for family in FAMILIES]
        cells = [f"{100 * share:.1f} %" for share in (*shares, sum(shares) / len(shares))]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def models(start: Path, out: Path, steps: int, evaluations: int, seed: int) -> Iterator[tuple[str, Path]]:
    """Names and folders of all models, each as soon as it is made."""
    base = open_thinking(start)
    assert isinstance(base.task, MazeRoutes)
    yield "start", base.path
    settings = ThinkingTraining(
        steps=steps, learning_rate=5e-4, warm_up=100, every=250, enough=None, seed=seed
    )
    parents = []
    for family in SPECIALITIES:
        task = MazeRoutes(base.task.size, base.task.length, family)
        trained = train_thinking(task, None, out / family, settings, start=base.path)
        parents.append(trained.path)
        yield f"specialist on {family}", trained.path
    for method, needed in MERGES.items():
        given = {key: base.path if key == "base" else value for key, value in needed.items()}
        merged = out / method
        if not merged.exists():
            merganser.merge(parents, method, out=merged, **given)  # pyright: ignore[reportArgumentType]
        yield method, merged
    winner = out / "winner"
    if not winner.exists():
        evolve_settings(search(parents, base.task, evaluations, seed), run=out / "run", out=winner)
    yield "evolved", winner


def search(parents: list[Path], task: MazeRoutes, evaluations: int, seed: int) -> EvolveSettings:
    """Natural niches on training mazes of both families."""
    fields = f"size={task.size}&length={task.length}&samples=128"
    return EvolveSettings(
        models=tuple(map(str, parents)),
        tasks=tuple(TaskSettings(f"think:maze?family={family}&{fields}") for family in SPECIALITIES),
        search=SearchSettings("natural-niches", population=12),
        budget=Budget(evaluations),
        seed=seed,
    )


def solved(folder: Path, family: str) -> float:
    """Share of test mazes that one route solves without a fault."""
    torch.set_num_threads(1)
    model = CTM.from_pretrained(folder)
    task = MazeRoutes(9, model.config.positions, family)
    mazes = mazes_of(task.test().inputs.numpy())
    return float(find_ways(model, mazes, most=1, tolerated=0).solved.mean())


if __name__ == "__main__":
    main()
