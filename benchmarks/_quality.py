"""What the quality benchmarks share: tasks, the methods with what is tuned of them, accuracies, a table.

One base, one specialist a task that goes on from it, and one model trained on all tasks together are given. Every
method merges the specialists, as it comes and *tuned*: the best of several values of one parameter by the mean
accuracy on validation images, mostly of eleven scales. Test images are looked at once for each of the two.

Methods that merge by statistics have the first 256 training images of each task, without labels; measuring them counts
as part of the merge.

Every figure is a line of `results/NAME.jsonl` as soon as it is known: a run that is stopped loses nothing, and the
table is made of the newest line of every case and seed.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

import merganser
from merganser.merging import METHODS, Statistics
from merganser.models import collect, collect_merged
from merganser.weights import Checkpoint

HERE = Path(__file__).parent
OWN, JOINT = "specialists, own task", "trained on all tasks"
SCALES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
SHARES = (0.1, 0.5, 0.9, 1.0)
FLOORS = (1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0)
_BATCH = 500
_SEEN = 256  # images a task that statistics are measured on

Weights = dict[str, Tensor]
Images = tuple[Tensor, Tensor]  # inputs and labels


@dataclass(frozen=True)
class Task:
    """Images and labels, split; and which of the models' outputs are the task's classes."""

    train: Images
    validation: Images
    test: Images
    classes: slice = field(default_factory=lambda: slice(None))


@dataclass(frozen=True)
class Study:
    """Tasks, and models for them: a `module` makes the logits of all classes from inputs.

    The model that is trained on all tasks together costs as much as all others: it is made when it is asked for.
    """

    tasks: Sequence[Task]
    module: nn.Module
    base: Weights
    specialists: Sequence[Weights]
    joint: Callable[[], Weights]


@dataclass(frozen=True)
class Case:
    """A method, and what to tune of it."""

    method: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    tuned: str | None = None
    values: Sequence[float] = SCALES


@dataclass(frozen=True)
class Row:
    """Test accuracies, one a task; the tuned value; CPU-seconds of one merge."""

    untuned: Sequence[float]
    tuned: Sequence[float] | None = None
    value: float | None = None
    cpu: float | None = None


def cases(models: int) -> dict[str, Case]:
    """Every method for a base and several models; those that add task vectors try multiples of their mean."""
    mean, multiples = {"weight": 1 / models}, tuple(5 * scale for scale in SCALES)
    whole = {"density": 1.0}
    return {
        "average": Case("linear"),
        "karcher mean": Case("karcher"),
        "model stock": Case("model_stock"),
        "task arithmetic": Case("task_arithmetic", mean, "lambda", multiples),
        "ties 0.2": Case("ties", {}, "lambda"),
        "tsv-m": Case("tsv_m", {}, "alpha"),
        "iso-c": Case("iso_c", {}, "alpha"),
        "iso-cts": Case("iso_cts", {}, "alpha"),
        "wudi": Case("wudi", {}, "alpha"),
        "neuromerging 0.2": Case("neuromerging", {}, "lambda_orthogonal"),
        "neuromerging, untrimmed": Case("neuromerging", whole, "lambda_orthogonal"),
        "neuromerging, thresholded": Case(
            "neuromerging", {**whole, "count": "thresholded"}, "lambda_orthogonal"
        ),
        "neuromerging, parallel only": Case(
            "neuromerging",
            {**whole, "lambda_orthogonal": 0.0, "lambda_parallel": 1.0},
            "lambda_parallel",
        ),
        "dare 0.5": Case("dare_linear", mean, "lambda", multiples),
        "dare-ties 0.5": Case("dare_ties", mean, "lambda", multiples),
        "della 0.5": Case("della", {}, "lambda"),
        "della-linear 0.5": Case("della_linear", mean, "lambda", multiples),
        "breadcrumbs": Case("breadcrumbs", mean, "lambda", multiples),
        "breadcrumbs-ties": Case("breadcrumbs_ties", mean, "lambda", multiples),
        "sce": Case("sce"),
        "ram": Case("ram"),
        "ram+": Case("ramplus"),
        "regmean": Case("regmean", {}, "alpha", SHARES),
        "regmean++": Case("regmean_plus_plus", {}, "alpha", SHARES),
        "fisher": Case("fisher", {}, "floor", FLOORS),
    }


def main(name: str, study: Callable[[int], Study]) -> None:
    """The command of a benchmark: measure seed by seed, and print the table.

    Args:
        name: The benchmark, and the name of its file of results.
        study: Tasks and models of a seed.
    """
    parser = argparse.ArgumentParser(description="Measure how good merges are.")
    parser.add_argument(
        "--cases", nargs="+", choices=[*BESIDE, *cases(1), JOINT], help="by default all", metavar="CASE"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="which")
    parser.add_argument("--show", action="store_true", help="print the table of what was measured before")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = HERE / "results" / f"{name}.jsonl"
    if not arguments.show:
        for seed in arguments.seeds:
            for case, row in measure(study(seed), arguments.cases or ()):
                line = {"case": case, "seed": seed, **_plain(row), "date": time.strftime("%Y-%m-%d")}
                with results.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(
                    f"seed {seed}, {case}: {100 * statistics.mean(row.tuned or row.untuned):.1f}", flush=True
                )
    show(results)


def measure(study: Study, only: Sequence[str] = ()) -> Iterator[tuple[str, Row]]:
    """Accuracies of everything, or of the cases that are named; the specialists' own always, to normalise by."""
    for name, row_of in BESIDE.items():
        if not only or name in (OWN, *only):
            yield name, row_of(study)
    for name, case in cases(len(study.specialists)).items():
        if not only or name in only:
            yield name, measure_case(study, case)
    if not only or JOINT in only:
        yield JOINT, Row(accuracies(study, study.joint()))


def measure_case(study: Study, case: Case) -> Row:
    """A method as it comes, and with the value that is best on validation images."""
    began = time.process_time()
    seen = measured(study, case, {})
    weights = merged(study, case, {}, seen)
    cpu = time.process_time() - began
    untuned = accuracies(study, weights)
    if case.tuned is None:
        return Row(untuned, cpu=cpu)
    tried = {}
    for value in case.values:
        parameters = {case.tuned: value}
        if METHODS[case.method].rule.statistics == "merged_gram":  # what is seen depends on what was merged
            seen = measured(study, case, parameters)
        tried[value] = merged(study, case, parameters, seen)
    best = max(tried, key=lambda value: statistics.mean(accuracies(study, tried[value], "validation")))
    return Row(untuned, accuracies(study, tried[best]), best, cpu)


def measured(study: Study, case: Case, parameters: Mapping[str, Any]) -> list[Statistics]:
    """What the method needs to know of each specialist on training images of its task; nothing for most."""
    kind = METHODS[case.method].rule.statistics
    pairs = list(zip(study.specialists, study.tasks, strict=True))
    images = [[task.train[0][:_SEEN]] for task in study.tasks]
    if kind == "merged_gram":
        modules = [_loaded(study, weights) for weights in study.specialists]
        return collect_merged(modules, images, **{**case.fixed, **parameters})
    if kind == "gram":
        return [
            collect(_loaded(study, weights), seen)
            for weights, seen in zip(study.specialists, images, strict=True)
        ]
    if kind == "fisher":
        return [
            collect(
                _OneTask(_loaded(study, weights), task.classes),
                seen,
                checkpoint=Checkpoint.from_tensors(weights),
                kind="fisher",
                names=lambda name: name.removeprefix("module."),
            )
            for (weights, task), seen in zip(pairs, images, strict=True)
        ]
    return []


class _OneTask(nn.Module):
    """A model that is asked for the classes of one task only."""

    def __init__(self, module: nn.Module, classes: slice) -> None:
        super().__init__()
        self.module, self.classes = module, classes

    def forward(self, inputs: Tensor) -> Tensor:
        return self.module(inputs)[:, self.classes]


def _loaded(study: Study, weights: Weights) -> nn.Module:
    """A module of its own with these weights."""
    module = copy.deepcopy(study.module)
    module.load_state_dict(weights)
    return module


def merged(study: Study, case: Case, parameters: Mapping[str, Any], seen: Sequence[Statistics]) -> Weights:
    """The specialists, merged; by what was measured of them, where the method needs it."""
    base = None if METHODS[case.method].rule.base == "refused" else study.base
    found = merganser.merge(
        study.specialists,
        case.method,
        base=base,
        workers=1,
        statistics=seen,
        **{**case.fixed, **parameters},
    )
    return {key: found.read(key) for key in found}


def accuracies(study: Study, weights: Weights, split: str = "test") -> list[float]:
    """Shares of right answers, task by task."""
    return [accuracy(study, weights, task, split) for task in study.tasks]


def accuracy(study: Study, weights: Weights, task: Task, split: str = "test") -> float:
    """The share of right answers."""
    inputs, labels = getattr(task, split)
    return _right(logits_of(study, weights, task, inputs), labels)


def ensemble(study: Study, voice: Callable[[Tensor], Tensor]) -> list[float]:
    """Accuracies of the mean of all specialists' outputs, of which `voice` makes what is averaged."""
    found = []
    for task in study.tasks:
        inputs, labels = task.test
        voices = [voice(logits_of(study, one, task, inputs)) for one in study.specialists]
        found.append(_right(torch.stack(voices).mean(0), labels))
    return found


@torch.no_grad()
def logits_of(study: Study, weights: Weights, task: Task, inputs: Tensor) -> Tensor:
    """Logits of the task's own classes."""
    voices = [functional_call(study.module, weights, (batch,)) for batch in inputs.split(_BATCH)]
    return torch.cat(voices)[:, task.classes]


def _right(scores: Tensor, labels: Tensor) -> float:
    return (scores.argmax(1) == labels).float().mean().item()


def _own(study: Study) -> Row:
    pairs = zip(study.specialists, study.tasks, strict=True)
    return Row([accuracy(study, one, task) for one, task in pairs])


def _everywhere(study: Study) -> Row:
    """Task by task, the mean over specialists."""
    found = [accuracies(study, one) for one in study.specialists]
    return Row([statistics.mean(task) for task in zip(*found, strict=True)])


# what merges are compared with
BESIDE: Mapping[str, Callable[[Study], Row]] = {
    OWN: _own,
    "specialists, all tasks": _everywhere,
    "base": lambda study: Row(accuracies(study, study.base)),
    "ensemble of probabilities": lambda study: Row(ensemble(study, lambda logits: logits.softmax(1))),
    "ensemble of logits": lambda study: Row(ensemble(study, lambda logits: logits)),
}


def _plain(row: Row) -> dict[str, Any]:
    """Figures, rounded; nothing of what was not measured."""
    found = {key: value for key, value in asdict(row).items() if value is not None}
    return {
        key: [round(one, 4) for one in value] if isinstance(value, list) else float(f"{value:.4g}")
        for key, value in found.items()
    }


def show(results: Path) -> None:
    """Print means and standard deviations over seeds, per cent, as Markdown, best first.

    *Normalised* is by the specialist of each task.
    """
    newest: dict[str, dict[int, Row]] = {}
    for line in results.read_text().splitlines():
        found = json.loads(line)
        case, seed, _ = (found.pop(key) for key in ("case", "seed", "date"))
        newest.setdefault(case, {})[seed] = Row(**found)
    order = sorted(newest, key=lambda case: -_height(newest[case].values()))
    print("| | untuned | tuned | normalised | value | CPU-s |\n| --- | --- | --- | --- | --- | --- |")
    for case in order:
        rows = newest[case]
        tuned = [row.tuned for row in rows.values() if row.tuned]
        ratios = [
            [
                mine / own
                for mine, own in zip(row.tuned or row.untuned, newest[OWN][seed].untuned, strict=True)
            ]
            for seed, row in rows.items()
        ]
        shown = [_spread([row.untuned for row in rows.values()]), _spread(tuned), _spread(ratios)]
        values = [row.value for row in rows.values() if row.value is not None]
        cost = [row.cpu for row in rows.values() if row.cpu is not None]
        shown.append(f"{statistics.median(values):.3g}" if values else "")
        shown.append(f"{statistics.median(cost):.2f}" if cost else "")
        print("|", " | ".join([case, *shown]), "|")


def _height(rows: Iterable[Row]) -> float:
    """Mean accuracy, tuned where there is something to tune."""
    return statistics.mean(statistics.mean(row.tuned or row.untuned) for row in rows)


def _spread(rows: Sequence[Sequence[float]]) -> str:
    """Mean and standard deviation, over seeds, of means over tasks; nothing if there are none."""
    means = [100 * statistics.mean(row) for row in rows]
    deviation = statistics.stdev(means) if len(means) > 1 else 0.0
    return f"{statistics.mean(means):.1f} ± {deviation:.1f}" if means else ""
