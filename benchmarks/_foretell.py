"""What two foretelling benchmarks share: pairs of specialists, what foretells the gain of a merge, and how well.

A pair is two specialists of one base for two tasks, that saw more or less of each other's data, for more or less steps.
Of each pair everything is measured that a comparison knows before a merge, and then the merges themselves: the gain
is the merged model's mean score on both tasks less the better parent's. Nothing is tuned: methods run as they come.

The table gives Spearman's rank correlation of every predictor with the gain of the average, and with what the better of
average and model stock loses beside a router that knows the task, each with a 95 % interval by a bootstrap over
*families* (pairs of one seed and two tasks at one overlap, which differ in steps only, stay together).
`foretell_thresholds.py` chooses the thresholds of verdicts by the second.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import spearmanr

import merganser
from merganser.comparison import SimilaritySums, geometry
from merganser.weights import Checkpoint

HERE = Path(__file__).parent
METHODS = ("linear", "task_arithmetic", "ties", "dare_ties", "model_stock")
PREDICTORS = {
    "cka": "CKA, mean over depths",
    "lowest_cka": "CKA, lowest depth",
    "cknna": "CKNNA, mean over depths",
    "mutual_knn": "mutual kNN, mean over depths",
    "task_cosine": "cosine of task vectors",
    "opposite": "weight on opposite signs",
    "overlap": "overlap of the largest tenths",
    "length": "longer task vector / base",
    "unequal": "ratio of the lengths of task vectors",
    "distance": "distance of the models / base",
    "barrier": "barrier on the line, validation",
    "line": "gain at the middle of the line, validation",
}
DRAWS = 1000


class Pair(NamedTuple):
    """Two specialists of one base.

    Args:
        family: Seed, tasks and overlap: pairs of one family differ in steps only.
        overlap: Share of the training data that comes from both tasks.
        steps: Steps of each.
        models: The specialists.
        base: What they were tuned from.
    """

    family: str
    overlap: float
    steps: tuple[int, int]
    models: tuple[Checkpoint, Checkpoint]
    base: Checkpoint


class World(NamedTuple):
    """Where pairs come from.

    Args:
        pairs: All of them.
        scores: Scores of a model on both tasks of a pair, on `validation` or `test`, each in [0, 1].
        similarity: Sums of similarities of the two specialists' layers, on validation data.
    """

    pairs: Iterator[Pair]
    scores: Callable[[Pair, Checkpoint, str], Sequence[float]]
    similarity: Callable[[Pair], SimilaritySums]


def measure(world: World) -> Iterator[dict[str, Any]]:
    """A line for every pair."""
    for pair in world.pairs:
        yield {
            "family": pair.family,
            "overlap": pair.overlap,
            "steps": pair.steps,
            "predictors": {key: round(value, 6) for key, value in predictors(world, pair).items()},
            "scores": {
                name: [round(score, 5) for score in world.scores(pair, model, "test")]
                for name, model in [
                    ("base", pair.base),
                    ("first", pair.models[0]),
                    ("second", pair.models[1]),
                    *((method, merged(pair, method)) for method in METHODS),
                ]
            },
            "date": time.strftime("%Y-%m-%d"),
        }


def merged(pair: Pair, method: str, **parameters: Any) -> Checkpoint:
    """The specialists, merged by a method as it comes."""
    base = None if method == "linear" else pair.base
    return merganser.merge(list(pair.models), method, base=base, workers=1, **parameters)


def predictors(world: World, pair: Pair) -> dict[str, float]:
    """Everything that is known before the merge."""
    total = geometry(list(pair.models), pair.base).total
    assert total.relative is not None
    assert total.opposite_by_weight is not None
    assert total.base is not None
    sums = world.similarity(pair)
    same = {measure: _same_depths(sums, measure) for measure in ("cka", "cknna", "mutual_knn")}
    middle = merganser.merge(list(pair.models), "linear", workers=1)
    ends = [statistics.mean(world.scores(pair, model, "validation")) for model in pair.models]
    line = statistics.mean(world.scores(pair, middle, "validation"))
    return {
        "cka": statistics.mean(same["cka"]),
        "lowest_cka": min(same["cka"]),
        "cknna": statistics.mean(same["cknna"]),
        "mutual_knn": statistics.mean(same["mutual_knn"]),
        "task_cosine": float(total.cosines[0, 1]),
        "opposite": float(total.opposite_by_weight[0, 1]),
        "overlap": float(total.overlap[0.1][0, 1]),
        "length": float(total.relative.max()),
        "unequal": float(total.relative.max() / total.relative.min()),
        "distance": float(total.distances[0, 1] / total.base),
        "barrier": statistics.mean(ends) - line,
        "line": line - max(ends),
    }


def _same_depths(sums: SimilaritySums, measure: Any) -> list[float]:
    return np.diag(sums.similarity(measure).block("first", "second")).tolist()


def gain(line: Mapping[str, Any], method: str = "linear") -> float:
    """Mean score of a merge less the better parent's."""
    means = {name: statistics.mean(scores) for name, scores in line["scores"].items()}
    return means[method] - max(means["first"], means["second"])


def run(name: str, world: World) -> None:
    """Measure what is not in the file of results yet, and show the table."""
    results = HERE / "results" / f"{name}.jsonl"
    known = {(line["family"], tuple(line["steps"])) for line in lines(results)}
    fresh = world._replace(pairs=(p for p in world.pairs if (p.family, p.steps) not in known))
    with results.open("a") as file:
        for line in measure(fresh):
            file.write(json.dumps(line) + "\n")
            file.flush()
            print(line["family"], line["steps"], f"gain {gain(line):+.3f}", flush=True)
    show(lines(results))


def lines(results: Path) -> list[dict[str, Any]]:
    """What was measured."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def loss_beside_router(line: Mapping[str, Any]) -> float:
    """What a router that knows the task has more than the better of the average and model stock."""
    (own_first, _), (_, own_second) = line["scores"]["first"], line["scores"]["second"]
    best = max(statistics.mean(line["scores"][method]) for method in ("linear", "model_stock"))
    return (own_first + own_second) / 2 - best


def show(found: Sequence[Mapping[str, Any]]) -> None:
    """Print how well each predictor foretells the gain of the average, and what a merge loses, as Markdown."""
    print(f"\n{len(found)} pairs of {len({line['family'] for line in found})} families\n")
    print("| predictor | ρ with the gain (95 %) | within families | ρ with the loss beside a router (95 %) |")
    print("| --- | --- | --- | --- |")
    for key, words in PREDICTORS.items():
        first, second = (interval(found, key, target) for target in (gain, loss_beside_router))
        print(f"| {words} | {first} | {within(found, key):+.2f} | {second} |")


def interval(
    found: Sequence[Mapping[str, Any]], key: str, target: Callable[[Mapping[str, Any]], float]
) -> str:
    """Spearman's ρ of a predictor with a target, with its 95 % interval by a bootstrap over families."""
    families: dict[str, list[tuple[float, float]]] = {}
    for line in found:
        families.setdefault(line["family"], []).append((line["predictors"][key], target(line)))
    groups, draw = list(families.values()), np.random.default_rng(0)
    drawn = [
        _rho([point for i in draw.integers(len(groups), size=len(groups)) for point in groups[i]])
        for _ in range(DRAWS)
    ]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return f"{_rho([point for group in groups for point in group]):+.2f} ({low:+.2f} to {high:+.2f})"


def within(found: Sequence[Mapping[str, Any]], key: str) -> float:
    """Median of Spearman's ρ over families: pairs that differ in steps only."""
    families: dict[str, list[tuple[float, float]]] = {}
    for line in found:
        families.setdefault(line["family"], []).append((line["predictors"][key], gain(line)))
    rhos = [_rho(points) for points in families.values() if len(points) > 2]
    known = [rho for rho in rhos if not math.isnan(rho)]
    return statistics.median(known) if known else math.nan


def _rho(points: Sequence[tuple[float, float]]) -> float:
    first, second = zip(*points, strict=True)
    if len(set(first)) < 2 or len(set(second)) < 2:
        return math.nan
    return float(spearmanr(first, second).statistic)
