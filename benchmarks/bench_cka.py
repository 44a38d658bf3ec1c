"""CKA of all layers of two models, beside pytorch-cka; and of many models in one pass.

    make rivals
    make bench-cka

One thread on one core, CPU-seconds of a whole pass over features in memory, median of many passes in a process, sides
in turns. `RIVAL_PYTHON` may name another interpreter that has pytorch-cka.

`pair`: two models of 12 layers, d = 256, 512 rows in batches of 128, float32. Both sides get the same features with an
offset of 30 at every layer. The rival is used as its readers use it: modules and a loader, each layer an identity that
hands out features; without centring its result is wrong there, so its layers subtract the mean of the batch.
`rival_given` does not count that: its features are centred beforehand. The error is the greatest difference from the
formula in float64. The floor is half a Gram matrix a layer and half the product of all pairs, at the rate of a large
float32 product in the same process.

`many`: 24 models of 12 layers at once, the same batches, with the peak memory of the process beyond that of the
features.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _measure import measure, report

RIVAL = os.environ.get("RIVAL_PYTHON", str(Path(__file__).parents[1] / ".venv-rivals/bin/python"))
LAYERS, DIMENSIONS, ROWS, BATCHES = 12, 256, 128, 4
PASSES = 15


def main() -> None:
    """Measure the cases asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cases", nargs="*", default=["pair", "many"], help="pair, many")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(SIDES[arguments.side]()))
        return
    if "pair" in arguments.cases:
        bench_pair(arguments.rounds)
    if "many" in arguments.cases:
        bench_many(arguments.rounds)


def bench_pair(rounds: int) -> None:
    """Both sides in turns, on the same features."""
    ours, rival, given = [], [], []
    for _ in range(rounds):
        ours.append(side(sys.executable, "ours"))
        rival.append(side(RIVAL, "rival"))
        given.append(side(RIVAL, "given"))
    figures = {
        "ours": statistics.median(each["seconds"] for each in ours),
        "rival": statistics.median(each["seconds"] for each in rival),
        "rival_given": statistics.median(each["seconds"] for each in given),
        "floor": statistics.median(each["floor"] for each in ours),
        "error": ours[0]["error"],
        "rival_error": rival[0]["error"],
    }
    figures["vs_rival"] = figures["rival"] / figures["ours"]
    figures["vs_given"] = figures["rival_given"] / figures["ours"]
    figures["vs_floor"] = figures["ours"] / figures["floor"]
    every = {name: [e["seconds"] for e in found] for name, found in (("ours", ours), ("rival", rival))}
    report("cka", f"pair {LAYERS}+{LAYERS} d={DIMENSIONS} n={ROWS} N={ROWS * BATCHES}", figures, **every)


def bench_many(rounds: int) -> None:
    """24 models in one pass."""
    found = [side(sys.executable, "many") for _ in range(rounds)]
    figures = {
        "seconds": statistics.median(each["seconds"] for each in found),
        "features_mb": found[0]["features"] / 1e6,
        "added_mb": max(each["added"] for each in found) / 1e6,
    }
    report("cka", f"many 24x{LAYERS} d={DIMENSIONS} n={ROWS} N={ROWS * BATCHES}", figures)


def side(python: str, name: str) -> dict[str, float]:
    """What one process of a side measured."""
    return json.loads(measure([python, __file__, "--side", name]).output)


def features(models: int) -> Any:
    """Features (models, layers, batches, rows, dimensions): each layer a mixture of the one before, far from zero."""
    import numpy as np

    rng = np.random.default_rng(0)
    shape = (models, LAYERS, BATCHES, ROWS, DIMENSIONS)
    made = rng.standard_normal(shape, np.float32)
    shared = rng.standard_normal(shape[2:], np.float32)
    made += shared * np.linspace(2, 0.5, LAYERS, dtype=np.float32)[:, None, None, None]
    made += 30
    return made


def median_seconds(once: Callable[[], Any], passes: int = PASSES) -> float:
    """CPU-seconds of one pass."""
    once()
    taken = []
    for _ in range(passes):
        began = time.process_time()
        once()
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def our_pass(made: Any) -> Any:
    """One pass of ours over all batches."""
    from merganser.comparison import SimilaritySums

    def batch(i: int) -> dict[tuple[str, str], Any]:
        return {(str(m), str(layer)): x[i] for m, layers in enumerate(made) for layer, x in enumerate(layers)}

    sums = SimilaritySums.of(batch(0))
    for i in range(1, BATCHES):
        sums += batch(i)
    return sums.similarity()


def our_side() -> dict[str, float]:
    """Ours on two models, and the floor."""
    import numpy as np

    made = features(2)
    seconds = median_seconds(lambda: our_pass(made))
    found = our_pass(made).block("0", "1")
    left, right = np.random.default_rng(0).standard_normal((2, 1024, 1024), np.float32)
    rate = 2 * 1024**3 / median_seconds(lambda: left @ right)
    grams = 2 * LAYERS * ROWS * (ROWS + 1) * DIMENSIONS
    products = 2 * LAYERS * (2 * LAYERS + 1) * ROWS * (ROWS - 1) / 2
    floor = BATCHES * (grams + products) / rate
    return {"seconds": seconds, "floor": floor, "error": float(abs(found - literal(made)).max())}


def many_side() -> dict[str, float]:
    """24 models at once, and the memory that takes."""
    made = features(24)
    our_pass(made[:1])  # imports
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    our_pass(made)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = median_seconds(lambda: our_pass(made), 3)
    return {"seconds": seconds, "features": made.nbytes, "added": (after - before) * 1024}


def rival_side(*, centred: bool) -> dict[str, float]:
    """pytorch-cka on two models that hand out features; centred beforehand, or by the layers."""
    import torch
    from cka import compute_cka

    torch.set_num_threads(1)
    made = features(2)
    given = torch.from_numpy(made)
    if centred:
        given = given - given.mean(dim=-2, keepdim=True)

    class Replay(torch.nn.Module):
        def __init__(self, found: torch.Tensor) -> None:
            super().__init__()
            self.found = found
            self.layers = torch.nn.ModuleList(torch.nn.Identity() for _ in found)

        def forward(self, numbers: torch.Tensor) -> None:
            i = int(numbers[0])
            for layer, x in zip(self.layers, self.found, strict=True):
                layer(x[i] if centred else x[i] - x[i].mean(dim=0))

    models = [Replay(found) for found in given]
    batches = [torch.full((ROWS,), i) for i in range(BATCHES)]
    names = [f"layers.{i}" for i in range(LAYERS)]

    def once() -> Any:
        return compute_cka(*models, [batches], layers=names, device="cpu", progress=False)[0]

    seconds = median_seconds(once)
    return {"seconds": seconds, "error": float(abs(once().numpy() - literal(made)).max())}


def literal(made: Any) -> Any:
    """The formula in float64, for all layers of two models."""
    import numpy as np

    def centred(x: Any) -> Any:
        x = x.astype(np.float64)
        x = x - x.mean(axis=0)
        gram = x @ x.T
        np.fill_diagonal(gram, 0)
        n, sums = len(gram), gram.sum(axis=0)
        gram += sums.sum() / ((n - 1) * (n - 2)) - (sums + sums[:, None]) / (n - 2)
        np.fill_diagonal(gram, 0)
        return gram.ravel()

    vectors = [np.array([np.concatenate([centred(b) for b in layer]) for layer in model]) for model in made]
    norms = [np.linalg.norm(v, axis=1) for v in vectors]
    return vectors[0] @ vectors[1].T / np.outer(*norms)


SIDES: dict[str, Callable[[], dict[str, float]]] = {
    "ours": our_side,
    "many": many_side,
    "rival": lambda: rival_side(centred=False),
    "given": lambda: rival_side(centred=True),
}

if __name__ == "__main__":
    main()
