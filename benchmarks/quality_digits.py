"""How good merges are: five specialists on transformed digits, from one base.

    make quality-digits

scikit-learn's 1,797 digits under five transforms (turned, flipped twice, rolled, transposed) are five tasks for a
residual perceptron 64-512-512-512-10. The base is trained on noisy images of all tasks, so that it knows a little of
each; a specialist goes on from it on one task, the head frozen. Merged are the specialists; measured is the mean
accuracy over all tasks, on test images that nothing else has seen. `tuned` is the best of several values of one
parameter on validation images.

Beside every method: the base, the specialists (each on its own task: the ceiling; each on all tasks), the mean of
their probabilities or logits (an ensemble, five times the cost), and one model trained on all tasks together.

Specialists are cached in `benchmarks/data/digits/`. A table is printed, with mean and standard deviation over seeds;
`results/quality_digits.jsonl` has a line for each method and seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from _quality import HERE, Study, Task, Weights, main
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.func import functional_call

import merganser

DATA = HERE / "data" / "digits"
WIDTH, BLOCKS, CLASSES = 512, 3, 10
TRANSFORMS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "rotated": lambda images: np.rot90(images, axes=(1, 2)),
    "upside down": lambda images: images[:, ::-1],
    "rolled": lambda images: np.roll(images, 3, axis=2),
    "transposed": lambda images: images.transpose(0, 2, 1),
    "mirrored": lambda images: images[:, :, ::-1],
}


def study(seed: int) -> Study:
    """Tasks and models of a seed."""
    tasks = make_tasks(seed)
    base, specialists, joint = trained(seed, tasks)
    return Study(tasks, Perceptron(), base, specialists, lambda: joint)


def make_tasks(seed: int) -> list[Task]:
    """The tasks: the same split of the images for all."""
    images, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
    order = np.random.default_rng(seed).permutation(len(labels))
    images, target = images[order].reshape(-1, 8, 8) / 16, torch.tensor(labels[order])
    tasks = []
    for transform in TRANSFORMS.values():
        flat = torch.tensor(transform(images).reshape(-1, 64).copy(), dtype=torch.float32)
        train, validation, test = (
            (flat[part], target[part]) for part in (slice(1000), slice(1000, 1300), slice(1300, None))
        )
        tasks.append(Task(train, validation, test))
    return tasks


class Residual(nn.Module):
    """Adds to its inputs what a linear layer makes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden: Tensor) -> Tensor:
        """From and to (images, width)."""
        return hidden + self.linear(torch.relu(hidden))


class Perceptron(nn.Module):
    """Images (count, 64) to logits (count, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(nn.Linear(64, WIDTH), *(Residual() for _ in range(1, BLOCKS)))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.head(torch.relu(self.blocks(images)))


def fresh(generator: torch.Generator) -> Weights:
    """Weights at the beginning."""
    return {
        name: torch.randn(tensor.shape, generator=generator) * (2 / tensor.shape[1]) ** 0.5
        if tensor.ndim == 2
        else torch.zeros_like(tensor)
        for name, tensor in Perceptron().state_dict().items()
    }


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
    model = Perceptron()
    free = {name: tensor.clone().requires_grad_(name not in frozen) for name, tensor in weights.items()}
    optimiser = torch.optim.AdamW([t for t in free.values() if t.requires_grad], lr=rate, weight_decay=0.01)
    inputs, labels = (torch.cat([task.train[i] for task in tasks]) for i in (0, 1))
    for _ in range(steps):
        batch = torch.randint(len(labels), (128,), generator=generator)
        seen = inputs[batch] + noise * torch.randn(128, inputs.shape[1], generator=generator)
        loss = torch.nn.functional.cross_entropy(functional_call(model, free, (seen,)), labels[batch])
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


if __name__ == "__main__":
    main("quality_digits", study)
