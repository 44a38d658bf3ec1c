"""Training steps of a Continuous Thought Machine, beside the official code.

    RIVAL_CTM=PATH make bench-think

One thread on one core, default fp32 kernels. A step is forward, loss, backward and AdamW; the loss is the paper's (mean
of the cross-entropy at the tick where it is least and at the tick that is most certain). The rival is a checkout of
SakanaAI/continuous-thought-machines. It makes the model, as published and in its own way; we read its weights, and
before anything is timed both sides say what they make of one batch, which has to agree. Sides take turns, each in a
process of its own; figures are medians over all steps but the first of a process, where there are several.

Memory is the greatest anonymous memory during a step beyond that before the first, in runs of their own whose allocator
keeps nothing back. The floor is what the matrix products of a step (three times those of a forward pass that projects
keys and values once and reads two ticks) would take at the rate of a large product, measured in the same process.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from _measure import measure, report
from bench_adapt import peak_memory

RIVAL = os.environ.get("RIVAL_CTM")


class Task(NamedTuple):
    """A published model: the official constructor's arguments, and how outputs are cut."""

    arguments: dict[str, Any]
    positions: int
    classes: int


COMMON = {"iterations": 75, "d_input": 512, "memory_length": 25, "deep_nlms": True, "do_layernorm_nlm": False}
TASKS = {
    "parity-64": Task(
        {
            **COMMON,
            "d_model": 1024,
            "heads": 8,
            "n_synch_out": 32,
            "n_synch_action": 32,
            "synapse_depth": 1,
            "memory_hidden_dims": 16,
            "backbone_type": "parity_backbone",
            "positional_embedding_type": "custom-rotational-1d",
            "out_dims": 128,
            "prediction_reshaper": [64, 2],
            "neuron_select_type": "random",
        },
        positions=64,
        classes=2,
    ),
    "maze-39": Task(
        {
            **COMMON,
            "d_model": 2048,
            "heads": 16,
            "n_synch_out": 64,
            "n_synch_action": 32,
            "synapse_depth": 8,
            "memory_hidden_dims": 32,
            "backbone_type": "resnet34-2",
            "positional_embedding_type": "none",
            "out_dims": 500,
            "prediction_reshaper": [100, 5],
            "dropout": 0.1,
            "neuron_select_type": "first-last",
        },
        positions=100,
        classes=5,
    ),
}
NAMES = {"official": "rival", "ours": "ours", "ours-default": "default", "ours-bf16": "bf16"}
"""What a line calls each side; `default` is ours with the products that torch takes by itself."""
CASES = (("parity-64", 8), ("parity-64", 32), ("parity-64", 64), ("maze-39", 8))


def main() -> None:
    """Measure the cases asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cases", nargs="*", help="such as parity-64:8; all if none is given")
    parser.add_argument("--ticks", type=int, default=75, help="of a thought")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each side")
    parser.add_argument("--steps", type=int, default=2, help="in a turn; the first of several is not counted")
    parser.add_argument("--bf16", action="store_true", help="ours under autocast too")
    parser.add_argument("--no-memory", action="store_true", help="measure time alone")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        with contextlib.redirect_stdout(io.StringIO()):  # the official code prints
            found = run_side(arguments)
        print(json.dumps(found))
        return
    wanted = [(name, int(batch)) for name, _, batch in (case.partition(":") for case in arguments.cases)]
    for name, batch in wanted or CASES:
        with tempfile.TemporaryDirectory() as folder:
            bench(name, batch, arguments, folder)


def bench(name: str, batch: int, arguments: argparse.Namespace, folder: str) -> None:
    """One case."""

    def side(which: str, task: str, steps: int = 0) -> dict[str, Any]:
        command = [sys.executable, __file__, name, "--side", f"{which} {task}", "--batch", str(batch)]
        sizes = ["--steps", str(steps), "--ticks", str(arguments.ticks), "--folder", folder]
        return json.loads(measure([*command, *sizes]).output)

    sides = ["official", "ours"] if RIVAL else ["ours"]
    figures: dict[str, float] = {}
    if RIVAL:
        figures["differ"] = max(side(which, "agree").get("differ", 0.0) for which in sides)
        if figures["differ"] > 1e-4:
            raise SystemExit(f"{name}: predictions differ by {figures['differ']:.2g}; nothing was timed.")
    timed = [*sides, "ours-default", *(["ours-bf16"] if arguments.bf16 else [])]
    turns = [
        (which, side(which, "time", arguments.steps)) for _ in range(arguments.rounds) for which in timed
    ]
    for which in timed:
        seconds = [second for turn, found in turns if turn == which for second in found["seconds"]]
        figures[NAMES[which]] = statistics.median(seconds)
    ours = [found for which, found in turns if which == "ours"]
    figures["gemm_gflops"] = statistics.median(found["rate"] for found in ours) / 1e9
    figures["floor"] = ours[0]["flop"] / figures["gemm_gflops"] / 1e9
    figures["vs_floor"] = figures["floor"] / figures["ours"]
    if RIVAL:
        figures["vs_rival"] = figures["rival"] / figures["ours"]
        figures["vs_rival_default"] = figures["rival"] / figures["default"]
    if not arguments.no_memory:
        os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"  # what is freed goes back at once
        for which in sides:
            figures[f"{NAMES[which]}_mb"] = side(which, "memory", 1)["added"] / 1e6
        del os.environ["MALLOC_MMAP_THRESHOLD_"]
        if RIVAL:
            figures["vs_rival_memory"] = figures["rival_mb"] / figures["ours_mb"]
    load = os.getloadavg()[0]
    report("think", f"{name} B {batch}, {arguments.ticks} ticks", figures, load=load, rounds=arguments.rounds)


def run_side(arguments: argparse.Namespace) -> dict[str, Any]:
    """What one process does."""
    import torch

    from merganser.thinking import _packed

    which, wanted = arguments.side.split()
    [name] = arguments.cases
    task = TASKS[name]
    settings = {**task.arguments, "iterations": arguments.ticks}
    torch.set_num_threads(1)
    torch.manual_seed(0)
    inputs, targets = data(name, arguments.batch, task)
    folder = Path(arguments.folder)
    if which == "official":
        model, think, loss = official(settings, task, inputs, folder / "weights.pt")
    else:
        if which == "ours-default":
            _packed._can_pack = lambda _: False
        model, think, loss = ours(settings, task, inputs, folder / "weights.pt", half=which == "ours-bf16")
    if wanted == "agree":
        return agreement(model, think, folder / "says.pt")
    optimiser = torch.optim.AdamW(model.train().parameters(), lr=1e-4)

    def step() -> None:
        loss(targets).backward()
        optimiser.step()
        optimiser.zero_grad()

    if wanted == "memory":
        with peak_memory() as peak:
            step()
        return {"added": peak[0]}
    taken = [cpu_seconds(step) for _ in range(arguments.steps)]
    found = {"seconds": taken[1:] or taken, "rate": gemm_rate()}
    return found if which == "official" else {**found, "flop": 3 * flop(model, inputs)}


def data(name: str, batch: int, task: Task) -> tuple[Any, Any]:
    """Inputs and targets, random but the same everywhere."""
    import torch

    generator = torch.Generator().manual_seed(1)
    if name == "parity-64":
        inputs = torch.randint(2, (batch, 64), generator=generator).float() * 2 - 1
    else:
        inputs = torch.rand(batch, 3, 39, 39, generator=generator)
    return inputs, torch.randint(task.classes, (batch, task.positions), generator=generator)


def official(settings: dict[str, Any], task: Task, inputs: Any, weights: Path) -> tuple[Any, Any, Any]:
    """The rival's model, its predictions and its loss; writes the weights."""
    import numpy as np
    import torch
    from torch.nn import functional

    assert RIVAL is not None
    sys.path.insert(0, RIVAL)
    from models.ctm import ContinuousThoughtMachine  # pyright: ignore[reportMissingImports]

    np.random.seed(0)
    model = ContinuousThoughtMachine(**settings)
    with torch.no_grad():
        model.eval()(inputs[:1])  # its lazy layers get their shapes
    if not weights.exists():
        torch.save(model.state_dict(), weights)

    def think() -> tuple[Any, Any]:
        predictions, certainties, _ = model(inputs)
        return predictions, certainties[:, 1]

    def loss(targets: Any) -> Any:
        predictions, certainties = think()
        logits = predictions.unflatten(1, (task.positions, task.classes)).transpose(1, 2)
        expanded = targets.unsqueeze(-1).expand(-1, -1, logits.shape[-1])
        losses = functional.cross_entropy(logits, expanded, reduction="none").mean(1)
        rows = torch.arange(len(losses))
        return (losses[rows, losses.argmin(1)].mean() + losses[rows, certainties.argmax(1)].mean()) / 2

    return model, think, loss


def ours(
    settings: dict[str, Any], task: Task, inputs: Any, weights: Path, *, half: bool
) -> tuple[Any, Any, Any]:
    """Our model, its predictions and its loss; the same weights where there are some."""
    import torch
    from torch.nn import functional

    from merganser.thinking import CTM, CTMConfig, from_official

    if weights.exists():
        model = from_official(torch.load(weights), settings)
    else:
        name = "parity-64" if task.positions == 64 else "maze-39"
        model = CTM(CTMConfig.preset(name, ticks=settings["iterations"]))

    def think() -> tuple[Any, Any]:
        thought = model(inputs)
        return thought.predictions, thought.certainties

    def cross_entropies(logits: Any, targets: Any) -> Any:
        logits = logits.unflatten(1, (task.positions, task.classes)).transpose(1, 2)
        expanded = targets.unsqueeze(-1).expand(-1, -1, logits.shape[-1])
        return functional.cross_entropy(logits, expanded, reduction="none").mean(1)

    def loss(targets: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            thought = model(inputs)
            with torch.no_grad():
                least = cross_entropies(thought.predictions, targets).argmin(1)
                ticks = torch.stack([least, thought.certainties.argmax(1)], dim=1)
            return cross_entropies(thought.read(ticks), targets).mean()

    return model, think, loss


def agreement(model: Any, think: Callable[[], tuple[Any, Any]], said: Path) -> dict[str, float]:
    """How much predictions and certainties differ from what another process wrote; the first writes."""
    import torch

    with torch.no_grad():
        model.eval()
        found = list(think())
    if not said.exists():
        torch.save(found, said)
        return {}
    return {"differ": max((a - b).abs().max().item() for a, b in zip(found, torch.load(said), strict=True))}


def flop(model: Any, inputs: Any) -> float:
    """Of the matrix products and convolutions of a forward pass that reads two ticks."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def linear(rows: Any, weight: Any, *_: Any, **__: Any) -> int:
        return 2 * rows[0] * weight[0] * weight[1]

    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.mkldnn._linear_pointwise: linear})
    with torch.no_grad(), counter:
        model(inputs).read(torch.zeros(len(inputs), 2, dtype=torch.int64))
    return float(counter.get_total_flops())


def gemm_rate() -> float:
    """FLOP a second of a product of large matrices, the best of some."""
    import torch

    size = 1024
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / min(cpu_seconds(lambda: a @ b) for _ in range(10))


def cpu_seconds(work: Callable[[], object]) -> float:
    """What some work took."""
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
