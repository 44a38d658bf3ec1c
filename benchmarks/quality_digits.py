"""How good merges are: five specialists on transformed digits, from one base.

    make quality-digits

scikit-learn's 1,797 digits under five transforms (turned, flipped twice, rolled, transposed) are five tasks for a
residual perceptron 64-512-512-512-10. The base is trained on noisy images of all tasks, so that it knows a little of
each; a specialist goes on from it on one task, the head frozen. Merged are the specialists; measured is the mean
accuracy over all tasks, on test images that nothing else has seen. `tuned` is the best of eleven values of one
parameter on validation images.

Beside every method: the base, the specialists (each on its own task: the ceiling; each on all tasks), the mean of
their probabilities (an ensemble, five times the cost), and one model trained on all tasks together.

Specialists are cached in `benchmarks/data/digits/`. One line a method is printed, with mean and standard deviation over
seeds, and appended to `results/quality.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

import merganser
from merganser.merging import METHODS

DATA = Path(__file__).parent / "data" / "digits"
RESULTS = Path(__file__).parent / "results" / "quality.jsonl"
WIDTH, BLOCKS, CLASSES = 512, 3, 10
TRANSFORMS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "rotated": lambda images: np.rot90(images, axes=(1, 2)),
    "upside down": lambda images: images[:, ::-1],
    "rolled": lambda images: np.roll(images, 3, axis=2),
    "transposed": lambda images: images.transpose(0, 2, 1),
    "mirrored": lambda images: images[:, :, ::-1],
}

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Task:
    """Images and labels, split."""

    train: tuple[torch.Tensor, torch.Tensor]
    validation: tuple[torch.Tensor, torch.Tensor]
    test: tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Case:
    """A method, and what to tune of it."""

    method: str
    fixed: Mapping[str, Any]
    tuned: str | None = None
    values: Sequence[float] = ()


SCALES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
CASES = {
    "average": Case("linear", {}),
    "karcher mean": Case("karcher", {}),
    "task arithmetic": Case("task_arithmetic", {"lambda": 0.2}, "lambda", SCALES),
    "ties 0.2": Case("ties", {}, "lambda", SCALES),
    "dare 0.5": Case("dare_linear", {"weight": 0.2}, "lambda", tuple(5 * s for s in SCALES)),
    "della 0.5": Case("della", {}, "lambda", SCALES),
    "breadcrumbs": Case("breadcrumbs", {"weight": 0.2}, "lambda", tuple(5 * s for s in SCALES)),
    "model stock": Case("model_stock", {}),
    "sce": Case("sce", {}),
    "ram+": Case("ramplus", {}),
    "neuromerging, untrimmed": Case("neuromerging", {"density": 1.0}, "lambda_orthogonal", SCALES),
    "neuromerging, thresholded": Case(
        "neuromerging", {"density": 1.0, "count": "thresholded"}, "lambda_orthogonal", SCALES
    ),
    "neuromerging 0.2": Case("neuromerging", {}, "lambda_orthogonal", SCALES),
    "neuromerging, parallel only": Case(
        "neuromerging",
        {"density": 1.0, "lambda_orthogonal": 0.0, "lambda_parallel": 1.0},
        "lambda_parallel",
        SCALES,
    ),
    "tsv-m": Case("tsv_m", {}, "alpha", SCALES),
    "iso-c": Case("iso_c", {}, "alpha", SCALES),
    "iso-cts": Case("iso_cts", {}, "alpha", SCALES),
    "wudi": Case("wudi", {}, "alpha", SCALES),
}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help="which methods; by default all")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in range(arguments.seeds):
        for name, row in measure(seed, arguments.cases or list(CASES)):
            rows.setdefault(name, []).append(row)
    print(f"{'':28} {'untuned':>15} {'tuned':>15} {'CPU-s':>7}")
    for name, found in rows.items():
        report(name, found)


def measure(seed: int, cases: Sequence[str]) -> Iterator[tuple[str, dict[str, float]]]:
    """Accuracies of everything, for one seed."""
    tasks = make_tasks(seed)
    base, specialists, joint = trained(seed, tasks)
    yield "base", {"untuned": accuracy(base, tasks)}
    yield (
        "specialists, own task",
        {"untuned": np.mean([accuracy(s, [t]) for s, t in zip(specialists, tasks, strict=True)])},
    )
    yield "specialists, all tasks", {"untuned": np.mean([accuracy(s, tasks) for s in specialists])}
    yield "ensemble of outputs", {"untuned": ensemble(specialists, tasks)}
    yield "trained on all tasks", {"untuned": accuracy(joint, tasks)}
    for name in cases:
        case = CASES[name]
        needs_base = METHODS[case.method].rule.base != "refused"

        def merged(
            parameters: Mapping[str, Any], method: str = case.method, needs: bool = needs_base
        ) -> Weights:
            found = merganser.merge(
                specialists, method, base=base if needs else None, workers=1, **parameters
            )
            return {key: found.read(key) for key in found}

        began = time.process_time()
        untuned = merged(case.fixed)
        row = {"cpu": time.process_time() - began, "untuned": accuracy(untuned, tasks)}
        if case.tuned is not None:
            tried = [merged({**case.fixed, case.tuned: value}) for value in case.values]
            best = max(tried, key=lambda weights: accuracy(weights, tasks, "validation"))
            row["tuned"] = accuracy(best, tasks)
        yield name, row


def report(name: str, rows: Sequence[Mapping[str, float]]) -> None:
    """Print a line, and append it to the results."""

    def shown(key: str) -> str:
        values = [100 * row[key] for row in rows if key in row]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        return f"{statistics.mean(values):6.1f} ± {spread:4.1f}" if values else ""

    cost = [row["cpu"] for row in rows if "cpu" in row]
    print(
        f"{name:28} {shown('untuned'):>15} {shown('tuned'):>15} {statistics.median(cost) if cost else 0:7.2f}"
    )
    with RESULTS.open("a") as file:
        plain = [{key: round(float(value), 5) for key, value in row.items()} for row in rows]
        file.write(json.dumps({"name": "quality-digits", "case": name, "seeds": plain}) + "\n")


def make_tasks(seed: int) -> list[Task]:
    """The tasks: the same split of the images for all."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    images, target = images[order].reshape(-1, 8, 8) / 16, torch.tensor(labels[order])
    tasks = []
    for transform in TRANSFORMS.values():
        flat = torch.tensor(transform(images).reshape(-1, 64).copy(), dtype=torch.float32)
        parts = [(flat[a:b], target[a:b]) for a, b in ((0, 1000), (1000, 1300), (1300, len(target)))]
        tasks.append(Task(*parts))
    return tasks


def forward(weights: Weights, inputs: torch.Tensor) -> torch.Tensor:
    """Logits of the residual perceptron."""
    hidden = inputs @ weights["blocks.0.weight"].T + weights["blocks.0.bias"]
    for block in range(1, BLOCKS):
        hidden = (
            hidden
            + torch.relu(hidden) @ weights[f"blocks.{block}.weight"].T
            + weights[f"blocks.{block}.bias"]
        )
    return torch.relu(hidden) @ weights["head.weight"].T + weights["head.bias"]


def fresh(generator: torch.Generator) -> Weights:
    """Weights at the beginning."""
    sizes = [
        ("blocks.0", 64, WIDTH),
        *((f"blocks.{i}", WIDTH, WIDTH) for i in range(1, BLOCKS)),
        ("head", WIDTH, CLASSES),
    ]
    found: Weights = {}
    for name, width_in, width_out in sizes:
        found[f"{name}.weight"] = (
            torch.randn(width_out, width_in, generator=generator) * (2 / width_in) ** 0.5
        )
        found[f"{name}.bias"] = torch.zeros(width_out)
    return found


def train(
    weights: Weights,
    tasks: Sequence[Task],
    generator: torch.Generator,
    *,
    steps: int,
    rate: float,
    noise: float = 0.0,
    frozen: Sequence[str] = (),
) -> Weights:
    """Weights after some steps of AdamW on batches of all tasks."""
    free = {name: tensor.clone().requires_grad_(name not in frozen) for name, tensor in weights.items()}
    optimiser = torch.optim.AdamW([t for t in free.values() if t.requires_grad], lr=rate, weight_decay=0.01)
    inputs, labels = (torch.cat([task.train[i] for task in tasks]) for i in (0, 1))
    for _ in range(steps):
        batch = torch.randint(len(labels), (128,), generator=generator)
        seen = inputs[batch] + noise * torch.randn(128, inputs.shape[1], generator=generator)
        loss = torch.nn.functional.cross_entropy(forward(free, seen), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return {name: tensor.detach() for name, tensor in free.items()}


def trained(seed: int, tasks: Sequence[Task]) -> tuple[Weights, list[Weights], Weights]:
    """Base, specialists and the jointly trained model; from the cache, or trained on the spot."""
    names = ["base", *TRANSFORMS, "joint"]
    places = [DATA / f"seed-{seed}" / f"{name.replace(' ', '-')}.safetensors" for name in names]
    if not all(place.exists() for place in places):
        generator = torch.Generator().manual_seed(seed)
        head = ("head.weight", "head.bias")
        base = train(fresh(generator), tasks, generator, steps=300, rate=1e-3, noise=1.0)
        one = [train(base, [task], generator, steps=200, rate=3e-4, frozen=head) for task in tasks]
        joint = train(base, tasks, generator, steps=1000, rate=3e-4, frozen=head)
        for place, weights in zip(places, [base, *one, joint], strict=True):
            place.parent.mkdir(parents=True, exist_ok=True)
            merganser.save(weights, place, overwrite=True)
    opened = [merganser.open(place) for place in places]
    base, *one, joint = [{name: checkpoint.read(name) for name in checkpoint} for checkpoint in opened]
    return base, one, joint


@torch.no_grad()
def accuracy(weights: Weights, tasks: Sequence[Task], split: str = "test") -> float:
    """Mean over tasks."""
    found = []
    for task in tasks:
        inputs, labels = getattr(task, split)
        found.append((forward(weights, inputs).argmax(1) == labels).float().mean().item())
    return statistics.mean(found)


@torch.no_grad()
def ensemble(models: Sequence[Weights], tasks: Sequence[Task]) -> float:
    """Accuracy of the mean of the models' probabilities."""
    found = []
    for task in tasks:
        inputs, labels = task.test
        mean = torch.stack([forward(weights, inputs).softmax(1) for weights in models]).mean(0)
        found.append((mean.argmax(1) == labels).float().mean().item())
    return statistics.mean(found)


if __name__ == "__main__":
    main()
