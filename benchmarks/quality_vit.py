"""How good merges are: six specialists on images, from one small vision transformer.

    make quality-vit

Six tasks from four sets of images: handwritten digits, small handwritten digits, five kinds of clothes for the upper
body, shoes with bags and trousers, silhouettes of animals, and all clothes turned and in negative. A model is a vision
transformer with 470,000 parameters. As with CLIP, every task has classes of its own and is known when it is asked: a
model's head has a row for each class of every task, and a task looks at its own rows. The head is trained with the base
and then frozen, so that it is the transformers that are merged, and no method is judged by how it merges heads.

The base is trained on noisy images of all tasks, so that it knows a little of each; a specialist goes on from it on one
task, and *trained on all tasks* on all for as many steps as the specialists have together. Every model is kept in
`benchmarks/data/vit/` and not trained again; delete that folder after a change of the settings. Training, validation
and test images are different ones, and no two tasks share an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import _images
import numpy as np
import torch
from _quality import HERE, Study, Task, Weights, main
from _vit import Vit

import merganser

DATA = HERE / "data" / "vit"
VALIDATION, TEST, TRAIN = 150, 500, 3000  # images a task; the smaller sets have fewer to train on
TOPS, OTHERS = (0, 2, 3, 4, 6), (1, 5, 7, 8, 9)
CLASSES = 10 + 10 + 5 + 5 + 10 + 10
BASE_STEPS, STEPS, BATCH = 300, 250, 64
BASE_RATE, RATE, NOISE = 1e-3, 5e-4, 1.2
NAMES = ("digits", "small-digits", "tops", "shoes", "animals", "turned")


def study(seed: int) -> Study:
    """Tasks and models of a seed."""
    tasks = make_tasks(seed)
    base = trained(seed, "base", tasks, steps=BASE_STEPS)
    specialists = [
        trained(seed, name, [task], base=base, steps=STEPS) for name, task in zip(NAMES, tasks, strict=True)
    ]

    def joint() -> Weights:
        return trained(seed, "joint", tasks, base=base, steps=STEPS * len(tasks))

    return Study(tasks, Vit(CLASSES), base, specialists, joint)


def make_tasks(seed: int) -> list[Task]:
    """The tasks, in the order of `NAMES`."""
    generator = np.random.default_rng(seed)
    clothes, kinds = _images.fashion()
    order = generator.permutation(len(kinds))
    straight, turned = order[:60_000], order[60_000:]
    sets = [
        _images.mnist(),
        _images.small_digits(),
        *(_renumbered(clothes[straight], kinds[straight], group) for group in (TOPS, OTHERS)),
        _images.animals(),
        (1 - np.rot90(clothes[turned], axes=(1, 2)), kinds[turned]),
    ]
    tasks, first = [], 0
    for images, labels in sets:
        chosen = generator.permutation(len(labels))
        count = int(labels.max()) + 1
        tasks.append(_split(images[chosen], labels[chosen], slice(first, first + count)))
        first += count
    return tasks


def _renumbered(
    images: np.ndarray, labels: np.ndarray, group: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Images of some classes, which are counted from 0."""
    chosen = np.isin(labels, group)
    return images[chosen], np.searchsorted(group, labels[chosen])


def _split(images: np.ndarray, labels: np.ndarray, classes: slice) -> Task:
    """The first images for validation, the next for the test, the rest, up to a number, to train on."""
    inputs, target = torch.tensor(images.copy()), torch.tensor(labels)
    tested = VALIDATION + TEST
    parts = (slice(tested, tested + TRAIN), slice(VALIDATION), slice(VALIDATION, tested))
    train, validation, test = ((inputs[part], target[part]) for part in parts)
    return Task(train, validation, test, classes)


def trained(
    seed: int, name: str, tasks: Sequence[Task], *, steps: int, base: Weights | None = None
) -> Weights:
    """A model: from its folder, or trained now, from the base or else from the beginning."""
    folder = DATA / f"seed-{seed}" / name
    if not folder.exists():
        torch.manual_seed(crc32(f"{seed} {name}".encode()))
        model = Vit(CLASSES)
        if base is not None:
            model.load_state_dict(base)
            model.head.requires_grad_(False)
        train(model, tasks, steps, rate=RATE if base else BASE_RATE, noise=0.0 if base else NOISE)
        merganser.save(dict(model.state_dict()), folder)
    saved = merganser.open(folder)
    return {key: saved.read(key) for key in saved}


def train(model: Vit, tasks: Sequence[Task], steps: int, *, rate: float, noise: float) -> None:
    """Some steps of AdamW, the rate falling to nothing; every batch is of one task, and tasks take turns."""
    free = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(free, lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        task = tasks[step % len(tasks)]
        images, labels = task.train
        batch = torch.randint(len(labels), (BATCH,))
        seen = images[batch] + noise * torch.randn(BATCH, *images.shape[1:])
        loss = torch.nn.functional.cross_entropy(model(seen)[:, task.classes], labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


if __name__ == "__main__":
    main("quality_vit", study)
