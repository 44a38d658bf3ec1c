"""One table of everything: test scores by skill of base, specialists, merges by rule, searches and fine-tunings.

    python examples/four-skills/table.py --seeds 0 1 2

A row that some seeds lack yet is made of the others, and says of how many. Scores are kept in
`runs/scores.json`, by the digests of model and task. The mean over skills has the weights of the evolve files. The
four columns after it say what is lost of each skill: points below the specialist of the same seed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from skills import HERE, SKILLS
from tasks import RULES, SEARCHES, merged, settings_of, split_tasks

import merganser
from merganser.evaluation import SplitName, Splits, Task, choose, evaluate
from merganser.models import LanguageModel, load
from merganser.run import export
from merganser.weights import atomic_write_text
from run import RUNS, is_finished, last_of

MODELS = HERE / "models"
ACCURACY = "japanese-accuracy"
TUNED = ("tuned-base", "tuned-average")

Scores = dict[str, float]
"""Mean test score by task."""


def main() -> None:
    """Score what has no score yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--split", choices=("test", "validation", "search"), default="test")
    given = parser.parse_args()
    bench = Bench(given.split)
    base = bench.scores(MODELS / "base")
    rows: dict[str, dict[int, Scores]] = {"base": dict.fromkeys(given.seeds, base)}
    for seed in given.seeds:
        for name, folder in models_of(seed):
            rows.setdefault(name, {})[seed] = bench.scores(folder)
    print("\n".join(table(rows)))


def models_of(seed: int) -> Iterator[tuple[str, Path]]:
    """Name and folder of every model of a seed that is there; merges by rule and winners are written first."""
    yield from ((skill, MODELS / f"{skill}-{seed}") for skill in SKILLS)
    yield from ((rule, merged(MODELS, rule, seed)) for rule in RULES)
    for search in SEARCHES:
        run, winner = RUNS / f"{search}-{seed}", RUNS / "winners" / f"{search}-{seed}"
        if is_finished(run):
            if not winner.exists():
                winner.parent.mkdir(exist_ok=True)
                export(last_of(run), winner)
            yield search, winner
    yield from ((name, MODELS / f"{name}-{seed}") for name in TUNED if (MODELS / f"{name}-{seed}").exists())


class Bench:
    """Scores models on one split of all tasks, each once.

    Args:
        split: `test`, `validation` or `search`.
    """

    def __init__(self, split: SplitName) -> None:
        splits = split_tasks()
        self._chosen = {skill: choose(each, split) for skill, each in splits.items()}
        choices = getattr(splits["japanese"], split)
        accuracy = dataclasses.replace(choices, measure="accuracy")
        self._chosen[ACCURACY] = choose(Splits(accuracy, accuracy, accuracy), split)
        self._path = RUNS / "scores.json"
        self._known: dict[str, float] = json.loads(self._path.read_text()) if self._path.exists() else {}

    def scores(self, folder: Path) -> Scores:
        """Mean score of a model on every task.

        Raises:
            CheckpointError: If it cannot be scored.
        """
        digest = merganser.open(folder).digest
        keys = {task: f"{digest} {chosen.parts[0][0].digest}" for task, chosen in self._chosen.items()}
        missing = [task for task, key in keys.items() if key not in self._known]
        found = evaluate([folder], [self._chosen[task] for task in missing], _alive).results
        for task, result in zip(missing, found, strict=True):
            if result.failed:
                raise merganser.CheckpointError(f"{folder} could not be scored on {task}: {result.failed}")
            self._known[keys[task]] = float(result.scores.mean())
        if missing:
            atomic_write_text(self._path, json.dumps(self._known, indent=0))
        return {task: self._known[key] for task, key in keys.items()}


def _alive(folder: str, _task: Task) -> LanguageModel:
    return load(folder, dtype="float32")


def table(rows: Mapping[str, Mapping[int, Scores]]) -> Iterator[str]:
    """The table in Markdown: means over seeds, in brackets the range.

    Args:
        rows: Of each kind of model the scores by seed; the base and all specialists among them.
    """
    accuracy = f"{ACCURACY.replace('-', ', ')} %"
    columns = [f"{skill} %" for skill in SKILLS], [f"{skill} lost" for skill in SKILLS]
    yield f"| | {' | '.join(columns[0])} | mean % | {' | '.join(columns[1])} | {accuracy} |"
    yield f"| --- | {'--- | ' * (2 * len(SKILLS) + 2)}".rstrip()
    weights = np.array([each.weight for each in settings_of(SEARCHES[0]).weighted_tasks])
    for name, by_seed in rows.items():
        found = [[scores[skill] for skill in SKILLS] for scores in by_seed.values()]
        lost = [
            [rows[skill][seed][skill] - scores[skill] for skill in SKILLS] for seed, scores in by_seed.items()
        ]
        cells = [
            *map(_cell, zip(*found, strict=True)),
            _cell([float(np.average(row, weights=weights)) for row in found]),
            *map(_cell, zip(*lost, strict=True)),
            _cell([scores[ACCURACY] for scores in by_seed.values()]),
        ]
        seeds = f" ({len(by_seed)} of {len(rows['base'])} seeds)" if len(by_seed) < len(rows["base"]) else ""
        yield f"| {name}{seeds} | {' | '.join(cells)} |"


def _cell(values: Sequence[float]) -> str:
    """Mean and range, in per cent."""
    mean, low, high = (100 * each for each in (np.mean(values), min(values), max(values)))
    return f"{mean:.1f} ({low:.1f} to {high:.1f})" if high - low > 0.05 else f"{mean:.1f}"


if __name__ == "__main__":
    main()
