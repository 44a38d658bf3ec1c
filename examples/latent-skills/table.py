"""Score what `train.py` trained: each arm on its own skill and on the others, and what skill after skill forgets.

    python examples/latent-skills/table.py

Greedy answers, and the probability of the right answer, which is what drawn answers would score without their noise;
512 test questions a task. Scores are kept in `runs/scores.jsonl`; tables are means over skills and seeds, with the
standard deviation between seeds.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from arms import ARMS
from skills import SKILLS
from train import HERE, MODELS, PRESETS, RUNS

import merganser
from merganser.adaptation import fold, open_expert
from merganser.evaluation import GenerativeTask, open_task
from merganser.models import Continuation, LanguageModel

SCORES = RUNS / "scores.jsonl"
SEEDS = (0, 1, 2)


class Key(NamedTuple):
    """What was scored on what."""

    place: str
    seed: int
    task: str


class Score(NamedTuple):
    """Greedy answers that are right, and the mean probability of right answers."""

    greedy: float
    drawn: float


def main() -> None:
    """Score what is new, then show everything."""
    torch.set_num_threads(1)
    scores = score_all()
    print("\nEach arm on the skill it was trained on, and on the two others\n")
    for arm in ("base", *ARMS, *PRESETS):
        show_arm(arm, scores)
    print("\nAn expert on each skill: probability of the right answer\n")
    for trained in SKILLS:
        cells = [drawn_of(scores, f"svf/{trained}", task) for task in (*SKILLS, "new")]
        print(f"| {trained} | " + " | ".join(map(spread, cells)) + " |")
    print("\nSkill after skill on the same numbers: probability after the last one\n")
    for arm in ("svf", "lora-1", "full"):
        last = f"sequence/{arm}/{len(SKILLS) - 1}-{SKILLS[-1]}"
        print(f"| {arm} | " + " | ".join(spread(drawn_of(scores, last, task)) for task in SKILLS) + " |")
    show_strategies()
    show_ways()
    print("\nThe skill that the base lacks, from examples\n")
    for arm in ("svf", "lora-1", "full"):
        print(f"| {arm} | {spread(drawn_of(scores, f'mirror/{arm}', 'mirror'))} |")


def score_all() -> dict[Key, Score]:
    """Scores of everything that is trained; those that are known are read."""
    known = {Key(*row["key"]): Score(*row["score"]) for row in rows_of(SCORES)}
    with SCORES.open("a") as file:
        for place, seed, model in trained_models():
            tasks = ["mirror"] if place.startswith("mirror") else [*SKILLS, "new"]
            wanted = [Key(place, seed, task) for task in tasks]
            if all(key in known for key in wanted):
                continue
            alive = merganser.load(model() if callable(model) else model)
            for key in wanted:
                known[key] = score(alive, key.task)
                file.write(json.dumps({"key": key, "score": known[key]}) + "\n")
    return known


def trained_models() -> Iterator[tuple[str, int, Any]]:
    """Everything that is there: what it is, its seed, and how it is opened."""
    for seed in SEEDS:
        base = MODELS / f"base-{seed}"
        yield "base", seed, str(base)
        for arm in (*ARMS, *PRESETS):
            for skill in SKILLS:
                yield from opened(f"{arm}/{skill}", RUNS / f"{arm}/{skill}-{seed}", base, seed)
        for arm in ("svf", "lora-1", "full"):
            yield from opened(f"mirror/{arm}", RUNS / f"mirror/{arm}-{seed}", base, seed)
            for stage, skill in enumerate(SKILLS):
                whole = RUNS / f"sequence/{arm}-{seed}" / f"{stage}-{skill}-model"
                place = RUNS / f"sequence/{arm}-{seed}" / f"{stage}-{skill}" / "model"
                found = whole if whole.exists() else place
                if found.exists():
                    yield f"sequence/{arm}/{stage}-{skill}", seed, str(found)


def opened(name: str, folder: Path, base: Path, seed: int) -> Iterator[tuple[str, int, Any]]:
    """What a training left, if it is over."""
    if (folder / "expert.safetensors").exists():
        expert = open_expert(folder / "expert.safetensors")
        yield name, seed, lambda: fold(merganser.open(base), expert)
    elif (folder / "adapter").exists():
        yield name, seed, f"{base}+{folder / 'adapter'}"
    elif (folder / "model").exists():
        yield name, seed, str(folder / "model")


def score(model: LanguageModel, task: str) -> Score:
    """On the test questions."""
    test = open_task(str(HERE / f"{task}.yaml"), None).test
    assert isinstance(test, GenerativeTask)
    greedy = test.score(model, np.arange(len(test.questions))).mean()
    right = [Continuation(q.text, f" {q.answers[0]}") for q in test.questions]
    drawn = [math.exp(found.total) for found in model.log_likelihoods(right)]
    return Score(float(greedy), statistics.fmean(drawn))


def show_arm(arm: str, scores: Mapping[Key, Score]) -> None:
    """One row: own skill greedy and drawn, others drawn."""
    own, drawn, others = (defaultdict(list) for _ in range(3))
    for seed in SEEDS:
        for skill in SKILLS:
            for task in SKILLS:
                found = scores.get(Key("base" if arm == "base" else f"{arm}/{skill}", seed, task))
                if found is not None:
                    (drawn if task == skill else others)[seed].append(found.drawn)
                if found is not None and task == skill:
                    own[seed].append(found.greedy)
    if own:
        cells = (spread([statistics.fmean(of[seed]) for seed in of]) for of in (own, drawn, others))
        print(f"| {arm} | " + " | ".join(cells) + " |")


def show_strategies() -> None:
    """Greedy score of every strategy on every task."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows_of(RUNS / "strategies.jsonl"):
        found[row["strategy"]][row["task"]].append(row["score"])
    tasks = (*SKILLS, "mixed", "new")
    print("\nStrategies, greedy: " + ", ".join(tasks) + "\n")
    for strategy, by_task in found.items():
        print(f"| {strategy} | " + " | ".join(spread(by_task[task]) for task in tasks) + " |")


def show_ways() -> None:
    """Ways to find an expert with as many rollouts."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows_of(RUNS / "evolved" / "ways.jsonl"):
        found[row["task"], row["way"]].append(row)
    print("\nWays with the same rollouts: test score, rollouts besides to choose the winner, CPU-seconds\n")
    for (task, way), rows in found.items():
        scores, more, cpu = ([row[key] for row in rows] for key in ("test", "choosing", "cpu_seconds"))
        print(
            f"| {task} | {way} | {spread(scores)} | {statistics.fmean(more):,.0f} | {statistics.fmean(cpu):.0f} |"
        )


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Lines of JSON; none if the file is not there."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def drawn_of(scores: Mapping[Key, Score], place: str, task: str) -> list[float]:
    """Probabilities of right answers, a number for each seed."""
    found = (scores.get(Key(place, seed, task)) for seed in SEEDS)
    return [each.drawn for each in found if each is not None]


def spread(values: list[float]) -> str:
    """Mean and standard deviation.

    Examples:
        >>> spread([0.5, 0.7])
        '.600 ± .141'
    """
    if not values:
        return "–"
    mean = f"{statistics.fmean(values):.3f}".removeprefix("0")
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.3f}".replace("± 0", "± ")


if __name__ == "__main__":
    main()
