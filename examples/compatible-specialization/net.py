"""What specialisation does to merging, on a small residual net; about a minute a seed on one core.

Two specialists start from one base and train their MLPs only, each on half of the inputs. The task is then to answer by
both halves at once. After 0 to 3,000 steps of specialisation: the average of weights, the average of features, routers
of all levels, a product of outputs, and what plain fine-tuning of the base gets with the same data and steps. CKA says
how alike the specialists still represent the task.

    python net.py --seeds 0 1 2 --out net.json

After Pari, Jelassi, Agrawal, *Collective Model Intelligence Requires Compatible Specialization*, 2024,
arXiv 2411.02207.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from merganser.comparison import View, compare_features
from merganser.routing import ProductOfExperts
from merganser.routing.layers import LabelledRows, LayerRouting, RouterTraining, assemble, train_routers
from merganser.weights import atomic_write_text

INPUTS, WIDTH, BLOCKS, CLASSES, BATCH = 16, 48, 4, 12, 128
CHECKPOINTS = (0, 10, 30, 100, 300, 1000, 3000)
ROUTED_AT = (100, 3000)
BASE_STEPS, ROUTER_STEPS = 800, 400
SHARPNESS = 6.0
"""Of the teachers' probabilities: how predictable labels are."""
ALPHAS = [k / 10 for k in range(11)]
CROSS = {f"cross-depth {n}": LayerRouting("cross-depth", reach=n) for n in (2, 3, 4)}
STATIC = LayerRouting("static")
LEVELS = {
    "single": LayerRouting("single"),
    "layers": LayerRouting("layers"),
    **CROSS,
    "cross-depth 4, own +4": LayerRouting("cross-depth", reach=4, own_bias=4.0),
}


class Block(nn.Module):
    """A perceptron beside a way around it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, hidden: Tensor) -> Tensor:
        """From and to (rows, width)."""
        return hidden + self.mlp(self.norm(hidden))


class Net(nn.Module):
    """Inputs (rows, 16) to logits (rows, 12)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(INPUTS, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits."""
        return self.head(self.norm(self.blocks(self.embed(inputs))))


class World:
    """Two teachers, each of half of the inputs, and one that disturbs.

    Args:
        seed: Of teachers and data.
    """

    def __init__(self, seed: int) -> None:
        self._random = torch.Generator().manual_seed(1000 + seed)
        half = INPUTS // 2
        self._a, self._b, self._other = self._teacher(half), self._teacher(half), self._teacher(INPUTS)

    def rows(self, kind: str, count: int) -> tuple[Tensor, Tensor]:
        """Inputs and labels of `base`, of the specialists' tasks `a` and `b`, or of `both`."""
        x = torch.randn(count, INPUTS, generator=self._random)
        half = INPUTS // 2
        if kind == "a":
            x[:, half:] = 0
            return x, self._drawn(self._a(x[:, :half]))
        if kind == "b":
            x[:, :half] = 0
            return x, self._drawn(self._b(x[:, half:]))
        logits = self._a(x[:, :half]) + self._b(x[:, half:])
        return x, self._drawn(logits if kind == "both" else 0.5 * logits + 0.5 * self._other(x))

    def _drawn(self, logits: Tensor) -> Tensor:
        """Labels that follow the teachers' probabilities."""
        return torch.multinomial((SHARPNESS * logits).softmax(1), 1, generator=self._random).squeeze(1)

    def _teacher(self, inputs: int) -> Callable[[Tensor], Tensor]:
        first = torch.randn(inputs, 32, generator=self._random) * 1.5 / math.sqrt(inputs)
        second = torch.randn(32, CLASSES, generator=self._random) / math.sqrt(32)
        return lambda x: (x @ first).tanh() @ second


def train(net: Net, world: World, kind: str, steps: int, *, rate: float, all_weights: bool) -> dict[int, Net]:
    """Train a net on fresh rows; gives what it was at the checkpoints."""
    for name, weight in net.named_parameters():
        weight.requires_grad_(all_weights or ".mlp." in name)
    trained = [weight for weight in net.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=0.1, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, rate / 10)
    kept = {0: copy.deepcopy(net)}
    for step in range(1, steps + 1):
        inputs, labels = world.rows(kind, BATCH)
        optimizer.zero_grad()
        functional.cross_entropy(net(inputs), labels).backward()
        optimizer.step()
        schedule.step()
        if step in CHECKPOINTS:
            kept[step] = copy.deepcopy(net)
    return kept


@torch.no_grad()
def loss_on(net: nn.Module, rows: tuple[Tensor, Tensor]) -> float:
    """Cross-entropy, in nats."""
    return functional.cross_entropy(net(rows[0]), rows[1]).item()


def averaged(pair: Mapping[str, Net], share: float) -> Net:
    """The average of weights."""
    a, b = pair.values()
    child = copy.deepcopy(a)
    with torch.no_grad():
        for mine, other in zip(child.parameters(), b.parameters(), strict=True):
            mine.lerp_(other, 1 - share)
    return child


def best(nets: Mapping[float, nn.Module], chosen_on: Any, scored_on: Any) -> float:
    """Loss of the share that is best on other rows."""
    return loss_on(min(nets.values(), key=lambda net: loss_on(net, chosen_on)), scored_on)


def mixed(base: Net, experts: Mapping[str, nn.Module], share: float) -> nn.Module:
    """The average of features."""
    net = assemble(base, experts, STATIC)
    net.set_weights({"static": [share]})
    return net.module


def product_loss(
    nets: list[Net], fitted_on: tuple[Tensor, Tensor], scored_on: tuple[Tensor, Tensor]
) -> float:
    """Loss of the product of outputs."""
    with torch.no_grad():
        fit, score = (
            [(torch.stack([net(x) for net in nets]).numpy(), y.numpy())] for x, y in (fitted_on, scored_on)
        )
    return ProductOfExperts.fit(fit).loss(score)


def alike(pair: Mapping[str, Net], inputs: Tensor) -> list[float]:
    """CKA of the specialists after each block."""
    view = View(layers=tuple(f"blocks.{i}" for i in range(BLOCKS)))
    batches = [part for part in inputs.split(view.rows) if len(part) == view.rows]
    found = compare_features(pair, batches, view).similarity()
    return [found.between(("a", layer), ("b", layer)).value for layer in view.layers or ()]


def routed_loss(base: Net, experts: Mapping[str, Net], routing: LayerRouting, data: Any, test: Any) -> float:
    """Loss after the routers were trained."""
    net = assemble(base, experts, routing)
    settings = RouterTraining(steps=ROUTER_STEPS, batch=BATCH, every=ROUTER_STEPS, patience=None)
    train_routers(net, data, settings)
    return loss_on(net.module, test)


def study(seed: int) -> dict[str, Any]:
    """All arms for one seed."""
    torch.manual_seed(seed)
    world = World(seed)
    base = Net()
    train(base, world, "base", BASE_STEPS, rate=3e-3, all_weights=True)
    steps = CHECKPOINTS[-1]
    a, b = (
        train(copy.deepcopy(base), world, kind, steps, rate=8e-3, all_weights=False) for kind in ("a", "b")
    )
    tuning, test = world.rows("both", 4096), world.rows("both", 8192)
    learning = world.rows("both", BATCH * 100)
    data = LabelledRows(learning[0].numpy(), learning[1].numpy())
    tasks = {kind: world.rows(kind, 4096) for kind in ("a", "b")}
    found: dict[str, Any] = {"seed": seed, "base": loss_on(base, test), "checkpoints": {}, "routed": {}}
    for step in CHECKPOINTS:
        pair = {"a": a[step], "b": b[step]}
        found["checkpoints"][str(step)] = {
            "weights": best({s: averaged(pair, s) for s in ALPHAS}, tuning, test),
            "features": best({s: mixed(base, pair, s) for s in ALPHAS}, tuning, test),
            "product": product_loss([*pair.values()], tuning, test),
            "own a": loss_on(a[step], tasks["a"]),
            "own b": loss_on(b[step], tasks["b"]),
            "cka": alike(pair, test[0][:2048]),
        }
    for step in ROUTED_AT:
        pair = {"a": a[step], "b": b[step]}
        arms = {name: routed_loss(base, pair, routing, data, test) for name, routing in LEVELS.items()}
        arms["layers + base"] = routed_loss(base, {**pair, "base": base}, LEVELS["layers"], data, test)
        found["routed"][str(step)] = arms
    tuned = copy.deepcopy(base)
    train(tuned, world, "both", ROUTER_STEPS, rate=8e-3, all_weights=False)
    found["fine-tuned base"] = loss_on(tuned, test)
    return found


def shown(values: list[float]) -> str:
    """Mean and spread over seeds."""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def tables(studies: list[dict[str, Any]]) -> str:
    """What was found, as two tables."""
    lines = [
        "| after steps | " + " | ".join(map(str, CHECKPOINTS)) + " |",
        "| --- " * (1 + len(CHECKPOINTS)) + "|",
    ]
    for name in ("weights", "features", "product", "own a", "own b"):
        cells = [shown([s["checkpoints"][str(step)][name] for s in studies]) for step in CHECKPOINTS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for block in (0, BLOCKS - 1):
        cells = [shown([s["checkpoints"][str(step)]["cka"][block] for s in studies]) for step in CHECKPOINTS]
        lines.append(f"| CKA, block {block + 1} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| routed | " + " | ".join(f"after {step}" for step in ROUTED_AT) + " |",
        "| --- " * (1 + len(ROUTED_AT)) + "|",
    ]
    for name in studies[0]["routed"][str(ROUTED_AT[0])]:
        cells = [shown([s["routed"][str(step)][name] for s in studies]) for step in ROUTED_AT]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", *(f"{name}: {shown([s[name] for s in studies])}" for name in ("base", "fine-tuned base"))]
    return "\n".join(lines)


def main() -> None:
    """Run all seeds, write what was found, print tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("net.json"))
    parser.add_argument("--show", type=Path, nargs="+", help="only print tables of what earlier runs wrote")
    arguments = parser.parse_args()
    if arguments.show:
        print(tables([study for path in arguments.show for study in json.loads(path.read_text())]))
        return
    torch.set_num_threads(1)
    studies: list[dict[str, Any]] = []
    for seed in arguments.seeds:
        studies.append(study(seed))
        atomic_write_text(arguments.out, json.dumps(studies, indent=1))
    print(tables(studies))


if __name__ == "__main__":
    main()
