"""Singular value fine-tuning: a training step, decomposing, switching and storing, beside the published scheme.

    make bench-adapt

One thread on one core. The model is a Llama with the matrices of SmolLM2-135M (576 × 1536, MLPs adapted) and six
blocks, random weights, float32, a vocabulary of 4,096.

`step`: one step of Adam on a batch of sequences of 55 tokens with a cross-entropy loss; CPU-seconds, median of steps
in a process; and the greatest anonymous memory during a step beyond that before it. The other side follows the
published scheme: matrices rebuilt from U, σ and V, dense gradients that add up over the batch one sequence at a time,
rebuilt once more for the chain rule. `whole` gives it all sequences at once, which the published code does not.
Products with a diagonal are taken as products with a row on both sides, which is cheaper than the published code's.

`matrices`: the memory of such a step for the adapted part alone: eighteen matrices of those shapes one after the other,
and the mean of squares as loss, with an allocator that keeps nothing back.

`decompose`: the 90 matrices of SmolLM2's MLPs (random numbers of that shape, or a checkpoint: `--model`), and
`torch.linalg.svd` in float32 on ten of them.

`switch`: setting another expert, or one for each of 16 requests, beside a forward pass of 16 × 55 tokens; and what
adapted passes cost.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _measure import measure, report

LENGTH, BLOCKS, STEPS = 55, 6, 2
CASES = ("step", "matrices", "decompose", "switch")


def main() -> None:
    """Measure the cases asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cases", nargs="*", default=CASES, help=", ".join(CASES))
    parser.add_argument("--batches", type=int, nargs="*", default=[4, 16], help="sequences of a step")
    parser.add_argument("--model", help="a checkpoint to decompose instead of random numbers")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(SIDES[arguments.side](arguments)))
        return
    if "step" in arguments.cases:
        for batch in arguments.batches:
            bench_step(batch)
    if "matrices" in arguments.cases:
        for batch in arguments.batches:
            bench_matrices(batch)
    if "decompose" in arguments.cases:
        more = ["--model", arguments.model] if arguments.model else []
        report(
            "adapt",
            f"decompose 90 x 576x1536 {Path(arguments.model).name if arguments.model else 'random'}",
            side("decompose", *more),
        )
    if "switch" in arguments.cases:
        report("adapt", f"switch {BLOCKS} blocks, 16x{LENGTH}", side("switch"))


def bench_step(batch: int) -> None:
    """All sides of a training step."""
    names = ("factored", "additive", "sequences", "published", "whole")
    found = {name: side(name, "--batch", str(batch)) for name in names}
    figures: dict[str, float] = {}
    for name, each in found.items():
        figures[f"{name}_s"] = each["seconds"]
        figures[f"{name}_mb"] = each["added"] / 1e6
    for rival in ("published", "whole"):
        figures[f"vs_{rival}"] = figures[f"{rival}_s"] / figures["factored_s"]
        figures[f"vs_{rival}_memory"] = figures[f"{rival}_mb"] / figures["factored_mb"]
    figures["vs_published_memory_by_sequence"] = figures["published_mb"] / figures["sequences_mb"]
    report("adapt", f"step {BLOCKS} blocks, {batch}x{LENGTH}", figures)


def bench_matrices(batch: int) -> None:
    """Memory of the adapted part, whole batches and sequence by sequence."""
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"  # memory that is freed goes back at once
    names = ("factored", "sequences", "published", "whole")
    found = {name: side(name, "--bare", "--batch", str(batch))["added"] / 1e6 for name in names}
    ratios = {
        "vs_whole_memory": found["whole"] / found["factored"],
        "vs_published_memory": found["published"] / found["sequences"],
    }
    report(
        "adapt",
        f"matrices {3 * BLOCKS}, {batch}x{LENGTH}",
        {f"{n}_mb": mb for n, mb in found.items()} | ratios,
    )


def side(name: str, *more: str) -> dict[str, float]:
    """What one process of a side measured."""
    return json.loads(measure([sys.executable, __file__, "--side", name, *more]).output)


def small_llama() -> Any:
    """The model."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=BLOCKS,
        num_attention_heads=9,
        num_key_value_heads=3,
        vocab_size=4096,
    )
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def bare_matrices() -> Any:
    """What is adapted of it, and nothing else."""
    import torch

    torch.manual_seed(0)
    widths = [576, 1536] * (3 * BLOCKS // 2) + [576]
    layers = [torch.nn.Linear(a, b, bias=False) for a, b in itertools.pairwise(widths)]
    return torch.nn.Sequential(*layers).requires_grad_(False)


def problem(batch: int, *, bare: bool) -> tuple[Any, Any, Callable[[Any, Any], Any]]:
    """Model, data and loss."""
    import torch

    if not bare:
        return small_llama(), tokens(batch), loss_of
    data = torch.randn(batch, LENGTH, 576, generator=torch.Generator().manual_seed(0))
    return bare_matrices(), data, lambda model, part: model(part).square().mean()


def tokens(batch: int) -> Any:
    """Random sequences."""
    import torch

    return torch.randint(4096, (batch, LENGTH), generator=torch.Generator().manual_seed(0))


def loss_of(model: Any, ids: Any) -> Any:
    """Cross-entropy of the next token."""
    from torch.nn import functional

    return functional.cross_entropy(model(ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def decomposed(model: Any) -> Any:
    """Factors of the MLPs."""
    import torch

    from merganser.adaptation import decompose
    from merganser.weights import Checkpoint

    matrices = Checkpoint.from_module(model)
    is_bare = isinstance(model, torch.nn.Sequential)
    return decompose(matrices, list(matrices) if is_bare else None, workers=1)


def our_side(
    batch: int, *, factored: bool, by_sequence: bool = False, bare: bool = False
) -> dict[str, float]:
    """A step of ours."""
    import torch

    from merganser.adaptation import ExpertVector, attach

    model, data, loss = problem(batch, bare=bare)
    factors = decomposed(model)
    start = {name: torch.full((576,), 0.1) for name in factors}
    parameters = attach(model, factors, check=False).learn(
        ExpertVector.from_logits(start, factors), factored=factored
    )
    optimiser = torch.optim.Adam(parameters.values(), lr=2e-3)
    parts = data.split(1) if by_sequence else [data]

    def step() -> None:
        for part in parts:
            (loss(model, part) / len(parts)).backward()
        optimiser.step()
        optimiser.zero_grad()

    return measured(step)


def published_side(batch: int, *, by_sequence: bool, bare: bool = False) -> dict[str, float]:
    """A step of the published scheme."""
    import torch

    model, data, loss = problem(batch, bare=bare)
    factors = decomposed(model)
    logits = {name: torch.full((576,), 0.1, requires_grad=True) for name in factors}
    weights = {name: model.get_parameter(name) for name in factors}
    optimiser = torch.optim.Adam(logits.values(), lr=2e-3)
    parts = data.split(1) if by_sequence else [data]

    def rebuilt(name: str) -> Any:
        f, mask = factors[name], torch.sigmoid(logits[name])
        scaled = f.sigma * mask
        return (f.left.T * (scaled * (f.sigma.sum() / scaled.sum()))) @ f.right

    def step() -> None:
        for name, weight in weights.items():
            with torch.no_grad():
                weight.copy_(rebuilt(name))
            weight.requires_grad_(True)
        for part in parts:
            (loss(model, part) / len(parts)).backward()
        for name, weight in weights.items():
            rebuilt(name).backward(weight.grad)
        optimiser.step()
        optimiser.zero_grad()
        model.zero_grad()

    return measured(step)


def measured(step: Callable[[], None]) -> dict[str, float]:
    """CPU-seconds of a step, and the anonymous memory that it adds."""
    taken = []
    with peak_memory() as peak:  # from the first step on: what is freed after it stays with the process
        step()
        for _ in range(STEPS):
            began = time.process_time()
            step()
            taken.append(time.process_time() - began)
    return {"seconds": statistics.median(taken), "added": peak[0]}


@contextmanager
def peak_memory() -> Any:
    """The greatest anonymous memory of the block beyond that before it, in bytes."""
    before, peak, done = anonymous(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], anonymous() - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def anonymous() -> int:
    """Bytes of memory that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def decompose_side(model: str | None) -> dict[str, float]:
    """90 matrices, and ten by the library's own decomposition; an expert's file."""
    import torch

    from merganser.adaptation import ExpertVector, decompose, mix, save_expert
    from merganser.weights import Checkpoint, open_checkpoint

    if model is None:
        generator = torch.Generator().manual_seed(0)
        names = [f"layers.{i}.mlp.{part}_proj.weight" for i in range(30) for part in ("gate", "up", "down")]
        shapes = [(576, 1536) if "down" in name else (1536, 576) for name in names]
        made = {n: torch.randn(*s, generator=generator) for n, s in zip(names, shapes, strict=True)}
        checkpoint = Checkpoint.from_tensors(made)
    else:
        checkpoint = open_checkpoint(model)
    began = time.process_time()
    factors = decompose(checkpoint, workers=1)
    seconds = time.process_time() - began
    chosen = list(factors)[:10]
    began = time.process_time()
    plain = {name: torch.linalg.svd(checkpoint.read(name).float(), full_matrices=False) for name in chosen}
    plain_seconds = (time.process_time() - began) * len(factors) / len(chosen)
    error = max(
        relative(checkpoint, n, (factors[n].left.T * factors[n].sigma) @ factors[n].right) for n in chosen
    )
    plain_error = max(relative(checkpoint, n, (u * s) @ v) for n, (u, s, v) in plain.items())
    with tempfile.TemporaryDirectory() as folder:
        expert = mix(
            [ExpertVector.from_logits({n: torch.randn(len(factors[n].sigma)) for n in factors}, factors)],
            [1.0],
        )
        stored = save_expert(expert, Path(folder) / "expert.safetensors").stat().st_size
    return {
        "seconds": seconds,
        "svd_s": plain_seconds,
        "vs_svd": plain_seconds / seconds,
        "error": error,
        "svd_error": plain_error,
        "expert_kb": stored / 1e3,
    }


def relative(checkpoint: Any, name: str, rebuilt: Any) -> float:
    """Distance of a rebuilt matrix, beside the matrix."""
    matrix = checkpoint.read(name).double()
    return ((rebuilt.double() - matrix).norm() / matrix.norm()).item()


def switch_side() -> dict[str, float]:
    """Setting experts, and passes with them."""
    import torch

    from merganser.adaptation import ExpertVector, attach

    model = small_llama()
    factors = decomposed(model)
    adapted = attach(model, factors, check=False)
    generator = torch.Generator().manual_seed(0)
    for name in "abc":
        logits = {n: 0.2 * torch.randn(576, generator=generator) for n in factors}
        adapted.add(name, ExpertVector.from_logits(logits, factors))
    ids, asked = tokens(16), list("abc" * 5 + "a")

    def forward() -> None:
        with torch.no_grad():
            model(ids)

    adapted.set(None)
    base = seconds_of(forward, 3)
    adapted.set("a")
    one = seconds_of(forward, 3)
    adapted.rows(asked)
    rows = seconds_of(forward, 3)
    setting = seconds_of(lambda: adapted.set("b"), 100)
    setting_rows = seconds_of(lambda: adapted.rows(asked), 20)
    return {
        "forward_s": base,
        "one_expert_s": one,
        "rows_s": rows,
        "set_share": setting / base,
        "rows_share": setting_rows / base,
    }


def seconds_of(act: Callable[[], None], times: int) -> float:
    """CPU-seconds of one call."""
    act()
    began = time.process_time()
    for _ in range(times):
        act()
    return (time.process_time() - began) / times


SIDES: dict[str, Callable[[Any], dict[str, float]]] = {
    "factored": lambda a: our_side(a.batch, factored=True, bare=a.bare),
    "additive": lambda a: our_side(a.batch, factored=False),
    "sequences": lambda a: our_side(a.batch, factored=True, by_sequence=True, bare=a.bare),
    "published": lambda a: published_side(a.batch, by_sequence=True, bare=a.bare),
    "whole": lambda a: published_side(a.batch, by_sequence=False, bare=a.bare),
    "decompose": lambda a: decompose_side(a.model),
    "switch": lambda _: switch_side(),
}

if __name__ == "__main__":
    main()
