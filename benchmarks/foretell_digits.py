"""What foretells whether a merge of two specialists pays? Perceptrons on transformed digits.

    make foretell-digits

The base and the tasks are those of `quality_digits`. A specialist of a task sees its own images, and with probability
`overlap` images of either task of the pair; two learning rates make task vectors of different lengths. 270 pairs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
from _foretell import Pair, World, run
from quality_digits import TRANSFORMS, Perceptron, Task, Weights, make_tasks, trained
from torch.func import functional_call

from merganser.comparison import SimilaritySums, View, compare_features
from merganser.weights import Checkpoint

STEPS = (10, 30, 100, 300, 1000)
OVERLAPS = (0.0, 0.5, 0.9)
RATES = (3e-4, 2e-3)
NAMES = tuple(TRANSFORMS)
PAIRS = ((0, 1), (2, 3), (4, 0))
LAYERS = ("blocks.0", "blocks.1", "blocks.2")
_ROWS = 100


def series(
    base: Weights, own: Task, pair: tuple[Task, Task], overlap: float, rate: float, seed: int
) -> list[Weights]:
    """A specialist after each number of steps; its head stays the base's."""
    draw = torch.Generator().manual_seed(seed)
    free = {n: t.clone().requires_grad_(not n.startswith("head.")) for n, t in base.items()}
    optimiser = torch.optim.AdamW([t for t in free.values() if t.requires_grad], lr=rate, weight_decay=0.01)
    model, kept = Perceptron(), []
    images = [own.train, pair[0].train, pair[1].train]
    for step in range(1, STEPS[-1] + 1):
        shared = torch.rand(128, generator=draw) < overlap
        source = torch.where(shared, 1 + torch.randint(2, (128,), generator=draw), 0)
        which = torch.randint(len(own.train[1]), (128,), generator=draw)
        inputs, labels = (torch.stack([each[part] for each in images])[source, which] for part in (0, 1))
        loss = torch.nn.functional.cross_entropy(functional_call(model, free, (inputs,)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step in STEPS:
            kept.append({name: tensor.detach().clone() for name, tensor in free.items()})
    return kept


def world(seeds: list[int]) -> World:
    """Pairs of specialists of these seeds."""
    tasks = {seed: make_tasks(seed) for seed in seeds}
    places = {NAMES[i]: i for i in range(len(NAMES))}

    def tasks_of(pair: Pair) -> tuple[Task, Task]:
        seed, first, second, *_ = pair.family.split("/")
        return tasks[int(seed)][places[first]], tasks[int(seed)][places[second]]

    def pairs() -> Iterator[Pair]:
        for seed in seeds:
            base, _, _ = trained(seed, tasks[seed])
            for i, j in PAIRS:
                both = (tasks[seed][i], tasks[seed][j])
                for overlap in OVERLAPS:
                    for rate in RATES:
                        first = series(base, both[0], both, overlap, rate, seed)
                        second = series(base, both[1], both, overlap, rate, seed + 1000)
                        family = f"{seed}/{NAMES[i]}/{NAMES[j]}/{overlap:g}/{rate:g}"
                        for steps, *models in zip(STEPS, first, second, strict=True):
                            one, other, start = (Checkpoint.from_tensors(w) for w in (*models, base))
                            yield Pair(family, overlap, (steps, steps), (one, other), start)

    def scores(pair: Pair, model: Checkpoint, split: str) -> list[float]:
        weights = {name: model.read(name) for name in model}
        found = []
        for task in tasks_of(pair):
            inputs, labels = getattr(task, split)
            with torch.no_grad():
                logits = functional_call(Perceptron(), weights, (inputs,))
            found.append((logits.argmax(1) == labels).float().mean().item())
        return found

    def similarity(pair: Pair) -> SimilaritySums:
        images = torch.cat([task.validation[0] for task in tasks_of(pair)])
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        modules = {}
        for name, model in zip(("first", "second"), pair.models, strict=True):
            modules[name] = Perceptron()
            modules[name].load_state_dict({key: model.read(key) for key in model})
        return compare_features(
            modules, list(images[order].split(_ROWS)), View(layers=LAYERS, rows=_ROWS, neighbours=10)
        )

    return World(pairs(), scores, similarity)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    torch.set_num_threads(1)
    run("foretell_digits", world(parser.parse_args().seeds))
