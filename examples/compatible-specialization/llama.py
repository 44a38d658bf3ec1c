"""What specialisation does to merging, on a small Llama and real text: maths and code, and problems that need both.

    python examples/compatible-specialization/llama.py --data DATA --models OUT --seeds 0 1 2 --out llama.json

`OUT` is what `train.py` wrote. At each step of specialisation: the cross-entropy on the target (problems solved by
programs) of the best average of weights, of the best average of features, of the product of both models; CKA of the
two; what each has learnt of its own domain. At two steps also routers of all levels. Beside all of them, as the
honest line, plain fine-tuning of the base's MLPs on the same target texts, for as many steps.

What is chosen (a share, the product's scalars, routers) is chosen on texts of the target that nothing is scored on. A
seed that was measured is not measured again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from texts import HELD_OUT, texts
from train import STEPS

import merganser
from merganser.comparison import View, compare_features
from merganser.merging import plan_merge
from merganser.models import SpokenModel
from merganser.routing import ProductModel
from merganser.routing.layers import (
    LayerRouting,
    RoutedModel,
    RouterTraining,
    TokenWindows,
    mean_loss,
    train_routers,
)
from merganser.weights import atomic_write_text

WINDOW = 128
CHOOSING, SCORED = 32, 48
"""Texts of each kind that something is chosen on, and that are scored."""
TRAINING, BATCH, ROUTER_STEPS = 400, 4, 100
"""Texts of the target that routers see; windows and steps of their training."""
ROUTED_AT = (100, 1000)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
LEVELS = {
    "single": LayerRouting("single"),
    "layers": LayerRouting("layers"),
    "cross-depth 2": LayerRouting("cross-depth", reach=2),
    "cross-depth 3": LayerRouting("cross-depth", reach=3),
    "cross-depth 4": LayerRouting("cross-depth", reach=4),
}


class Measured:
    """Texts as models read them.

    Args:
        data: Where the published texts are.
        tokens: The models' tokenizer.
    """

    def __init__(self, data: Path, tokens: Any) -> None:
        found, test = texts(data), slice(CHOOSING, CHOOSING + SCORED)
        target = found["target"]
        self.choosing = TokenWindows(target[:CHOOSING], tokens, most_tokens=WINDOW)
        self.test = TokenWindows(target[test], tokens, most_tokens=WINDOW)
        self.training = TokenWindows(target[HELD_OUT : HELD_OUT + TRAINING], tokens, most_tokens=WINDOW)
        self.own = {
            domain: TokenWindows(found[domain][test], tokens, most_tokens=WINDOW)
            for domain in ("maths", "code")
        }
        self.plain = target[: HELD_OUT // 2]


@torch.inference_mode()
def loss_on(model: SpokenModel, data: TokenWindows) -> float:
    """Mean cross-entropy of a token, in nats."""
    total, count = 0.0, 0
    for begin in range(0, len(data), 16):
        loss = data.loss(model.module, range(begin, min(begin + 16, len(data))))
        total, count = total + float(loss.total), count + loss.predictions
    return total / count


def best_share(model_at: Callable[[float], SpokenModel], data: Measured) -> float:
    """Loss on test of the share that is best on other texts."""
    found = []
    for share in SHARES:
        model = model_at(share)
        found.append((loss_on(model, data.choosing), loss_on(model, data.test)))
    return min(found)[1]


def study(seed: int, models: Path, data: Measured) -> dict[str, Any]:
    """Everything of one pair of specialists."""
    base = models / "base"
    alive = merganser.load(base)
    found: dict[str, Any] = {"seed": seed, "base": loss_on(alive, data.test), "checkpoints": {}, "routed": {}}
    for step in (0, *STEPS):
        pair = {domain: models / f"{domain}-{seed}" / f"step-{step}" for domain in ("maths", "code")}
        found["checkpoints"][str(step)] = checkpoint(pair, base, alive, data)
        print(seed, step, found["checkpoints"][str(step)], flush=True)
        if step in ROUTED_AT:
            arms = {name: routed_loss(pair, base, routing, data) for name, routing in LEVELS.items()}
            arms["layers + base"] = routed_loss({**pair, "base": base}, base, LEVELS["layers"], data)
            found["routed"][str(step)] = arms
            print(seed, step, arms, flush=True)
    found["fine-tuned base"] = fine_tuned(base, data)
    return found


def checkpoint(pair: dict[str, Path], base: Path, alive: Any, data: Measured) -> dict[str, Any]:
    """All that needs no training of routers."""
    ends = [merganser.open(path) for path in pair.values()]
    mixed = RoutedModel.of(pair, LayerRouting("static"), trunk=base)

    def weights(share: float) -> SpokenModel:
        alive.become(plan_merge(ends, parameters={"weight": [share, 1 - share]}))
        return alive

    def features(share: float) -> SpokenModel:
        mixed.net.set_weights({"static": [share]})
        return mixed

    singles = [merganser.load(path) for path in pair.values()]
    product = ProductModel.fit(singles, data.choosing)
    similarity = compare_features(pair, data.plain, View(rows=20)).similarity()
    return {
        "weights": best_share(weights, data),
        "features": best_share(features, data),
        "product": loss_on(product, data.test),
        "own maths": loss_on(singles[0], data.own["maths"]),
        "own code": loss_on(singles[1], data.own["code"]),
        "maths alone": loss_on(singles[0], data.test),
        "code alone": loss_on(singles[1], data.test),
        "cka": [float(value) for value in similarity.block("maths", "code").diagonal()],
    }


def routed_loss(pair: dict[str, Path], base: Path, routing: LayerRouting, data: Measured) -> float:
    """Loss on test after the routers were trained."""
    model = RoutedModel.of(pair, routing, trunk=base)
    settings = RouterTraining(steps=ROUTER_STEPS, batch=BATCH, every=ROUTER_STEPS, patience=None)
    train_routers(model.net, data.training, settings)
    return mean_loss(model.net, data.test, range(len(data.test)))


def fine_tuned(base: Path, data: Measured) -> float:
    """Loss on test of the base after its MLPs saw what routers see."""
    model = merganser.load(base)
    free = [p.requires_grad_() for name, p in model.module.named_parameters() if ".mlp." in name]
    optimizer = torch.optim.AdamW(free, lr=2e-3, weight_decay=0.1)
    draw = torch.Generator().manual_seed(0)
    for _ in range(ROUTER_STEPS):
        rows = torch.randint(len(data.training), (BATCH,), generator=draw).tolist()
        loss = data.training.loss(model.module, rows)
        (loss.total / loss.predictions).backward()
        optimizer.step()
        optimizer.zero_grad()
    return loss_on(model, data.test)


def tables(studies: list[dict[str, Any]]) -> str:
    """What was found, as Markdown: means and standard deviations over seeds."""
    steps = list(studies[0]["checkpoints"])
    lines = ["| after steps | " + " | ".join(steps) + " |", "| --- " * (1 + len(steps)) + "|"]
    for name in studies[0]["checkpoints"]["0"]:
        for block in (0, -1) if name == "cka" else (None,):
            values = [[_at(s["checkpoints"][step][name], block) for s in studies] for step in steps]
            said = name if block is None else f"CKA, {'first' if block == 0 else 'last'} block"
            lines.append(f"| {said} | " + " | ".join(map(shown, values)) + " |")
    steps = list(studies[0]["routed"])
    lines += ["", "| routed | " + " | ".join(f"after {step}" for step in steps) + " |"]
    lines.append("| --- " * (1 + len(steps)) + "|")
    for name in studies[0]["routed"][steps[0]]:
        lines.append(
            f"| {name} | " + " | ".join(shown([s["routed"][t][name] for s in studies]) for t in steps) + " |"
        )
    return "\n".join(
        [*lines, "", *(f"{n}: {shown([s[n] for s in studies])}" for n in ("base", "fine-tuned base"))]
    )


def shown(values: list[float]) -> str:
    """Mean and spread over seeds."""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def _at(value: Any, block: int | None) -> float:
    return value if block is None else value[block]


def main() -> None:
    """Measure the seeds that are missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("llama.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    studies = json.loads(given.out.read_text()) if given.out.exists() else []
    data = Measured(given.data, merganser.load(given.models / "base").tokens)
    for seed in given.seeds:
        if seed not in [each["seed"] for each in studies]:
            studies.append(study(seed, given.models, data))
            atomic_write_text(given.out, json.dumps(studies, indent=1))
    print(tables(studies))


if __name__ == "__main__":
    main()
