"""Adapters in core space beside the same merge of whole tensors.

    make bench-core_space

One layer of 2048 by 5632 in float32 and four adapters of rank 16, in memory, one thread on one core, CPU-seconds of the
whole merge (plan, reading, merging, adding to the base, rounding), median of some rounds for core space and one run for
whole tensors. Imports are not counted. The greatest difference between the two, beside the greatest weight of the
change, is printed too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from _measure import measure, report

ROWS, COLUMNS, ADAPTERS, RANK = 2048, 5632, 4, 16
METHODS = ("task_arithmetic", "tsv_m", "iso_c")
NAME = "model.layers.0.mlp.down_proj"


def main() -> None:
    """Measure the methods asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("methods", nargs="*", default=METHODS)
    parser.add_argument("--rounds", type=int, default=3, help="repetitions in core space")
    parser.add_argument("--side", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        one_side(*arguments.side)
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        for method in arguments.methods:
            bench(method, folder, arguments.rounds)


def bench(method: str, folder: str, rounds: int) -> None:
    """One method, both ways."""

    def seconds(space: str) -> float:
        return float(measure([sys.executable, __file__, "--side", space, method, folder]).output)

    core = [seconds("core") for _ in range(rounds)]
    figures = {"core": statistics.median(core), "full": seconds("full")}
    figures["vs_full"] = figures["full"] / figures["core"]
    figures["difference"] = difference(Path(folder))
    report("core_space", f"{method} {ROWS}x{COLUMNS}, {ADAPTERS} of rank {RANK}", figures, core_all=core)


def make(folder: Path) -> None:
    """Base and adapters, as files."""
    import torch

    from merganser.weights import save

    generator = torch.Generator().manual_seed(0)
    save({f"{NAME}.weight": 0.02 * torch.randn(ROWS, COLUMNS, generator=generator)}, folder / "base")
    for i in range(ADAPTERS):
        adapter = folder / f"adapter{i}"
        adapter.mkdir()
        tensors = {
            f"base_model.model.{NAME}.lora_{part}.weight": 0.02 * torch.randn(shape, generator=generator)
            for part, shape in (("A", (RANK, COLUMNS)), ("B", (ROWS, RANK)))
        }
        save(tensors, adapter / "adapter_model.safetensors")
        config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK}
        (adapter / "adapter_config.json").write_text(json.dumps(config))


def one_side(space: str, method: str, place: str) -> None:
    """Merge one way, keep the result, and print the CPU-seconds."""
    import torch

    from merganser.merging import merge
    from merganser.weights import save

    torch.set_num_threads(1)
    folder = Path(place)
    adapters = [folder / f"adapter{i}" for i in range(ADAPTERS)]
    merge(adapters[:1], "task_arithmetic", base=folder / "base", workers=1, space="core")  # imports
    began = time.process_time()
    merged = merge(adapters, method, base=folder / "base", workers=1, space=space)  # pyright: ignore[reportArgumentType]
    print(time.process_time() - began)
    save(merged, folder / f"{space}.safetensors", overwrite=True)


def difference(folder: Path) -> float:
    """Greatest difference between the two ways, beside the greatest weight of the change."""
    from merganser.weights import open_checkpoint

    core, full = (open_checkpoint(folder / f"{space}.safetensors") for space in ("core", "full"))
    base = open_checkpoint(folder / "base").read(f"{NAME}.weight")
    name = f"{NAME}.weight"
    change = (full.read(name) - base).abs().max()
    return ((core.read(name) - full.read(name)).abs().max() / change).item()


if __name__ == "__main__":
    main()
