"""Merging two fine-tunes of a model with 1.1 billion parameters: our command beside mergekit's, and the floor.

    make rivals
    make bench-merge

Whole processes, imports and writing included, inputs in the page cache, CPU-seconds (medians) on one core with one
thread; then wall seconds on two cores with two. The models are Llamas in bfloat16 with random weights, made once in
`benchmarks/data/` (6.6 GB, and room for one output): a base N(0, 0.02) and two fine-tunes, base + N(0, 0.002).

The floor reads the inputs in chunks, sums in float32, and writes the result, in twenty lines of Python and torch
(`--floor`), imports included. The rival is `mergekit-yaml` of `.venv-rivals`; without it only our side is measured.
Before each process a file of the output's size is written and removed, so that nobody pays for memory that the system
has yet to fetch.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from _measure import Usage, measure, report

DATA = Path(__file__).parent / "data" / "llama-1b"
RIVAL = Path(__file__).parents[1] / ".venv-rivals" / "bin" / "mergekit-yaml"
COMMAND = Path(sys.executable).parent / "merganser"

HIDDEN, INNER, LAYERS, VOCABULARY, KEYS = 2048, 8192, 16, 32000, 512


class Case(NamedTuple):
    """One merge, in our words and in mergekit's."""

    method: str
    options: dict[str, Any]
    rival: dict[str, Any] | None
    per_model: dict[str, Any]
    has_base: bool


CASES = {
    "linear": Case("linear", {}, {}, {"weight": 0.5}, False),
    "slerp": Case("slerp", {"t": 0.5}, {"t": 0.5}, {}, False),
    "task_arithmetic": Case("task_arithmetic", {"weight": 0.5}, {}, {"weight": 0.5}, True),
    "model_stock": Case("model_stock", {}, {}, {}, True),
    "karcher": Case("karcher", {}, {}, {}, False),
    "ties": Case("ties", {"density": 0.5, "scope": "tensor"}, {}, {"weight": 0.5, "density": 0.5}, True),
    "ties-global": Case("ties", {"density": 0.5}, None, {}, True),
    "dare_ties": Case("dare_ties", {"density": 0.5}, {}, {"weight": 0.5, "density": 0.5}, True),
    "della": Case(
        "della", {"density": 0.5, "epsilon": 0.1}, {"epsilon": 0.1}, {"weight": 0.5, "density": 0.5}, True
    ),
}


def main() -> None:
    """Measure the cases asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cases", nargs="*", default=list(CASES), help="which cases")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of ours and of the floor")
    parser.add_argument("--rival-rounds", type=int, default=1, help="repetitions of the rival")
    parser.add_argument("--cores", type=int, nargs="*", default=[1, 2], help="on how many cores")
    parser.add_argument("--floor", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.floor:
        floor(*arguments.floor)
        return
    if not (DATA / "b" / "model.safetensors").exists():
        make_models()
    with tempfile.TemporaryDirectory(dir=DATA.parent) as scratch:
        for cores in arguments.cores:
            for name in arguments.cases:
                bench(name, CASES[name], Path(scratch), cores, arguments.rounds, arguments.rival_rounds)


def bench(name: str, case: Case, scratch: Path, cores: int, rounds: int, rival_rounds: int) -> None:
    """Measure one case, ours and the floor in turns, and print it."""
    inputs = [DATA / model for model in (["base"] if case.has_base else []) + ["a", "b"]]
    straight = [sys.executable, __file__, "--floor", str(scratch / "out"), *map(str, inputs)]
    options = [f"--{key.replace('_', '-')}={value}" for key, value in case.options.items()]
    base = ["--base", str(DATA / "base")] if case.has_base else []
    ours = [str(COMMAND), "merge", str(DATA / "a"), str(DATA / "b"), "--method", case.method, *base, *options]
    ours += ["--workers", str(cores), "--quiet", "--out", str(scratch / "out")]
    floors, mine = [], []
    for _ in range(rounds):
        floors.append(run(straight, scratch, 1))
        mine.append(run(ours, scratch, cores))
    theirs: list[Usage] = []
    if case.rival is not None and RIVAL.exists():
        config = scratch / "config.yaml"
        config.write_text(json.dumps(rival_config(case)))  # JSON is YAML
        flags = [
            "--lazy-unpickle",
            "--low-cpu-memory",
            "--no-write-model-card",
            "--no-copy-tokenizer",
            "--quiet",
        ]
        command = [str(RIVAL), str(config), str(scratch / "out"), *flags]
        theirs = [run(command, scratch, cores) for _ in range(rival_rounds)]
    pick = (lambda usage: usage.cpu) if cores == 1 else (lambda usage: usage.wall)
    figures = {"ours": statistics.median(map(pick, mine)), "floor": statistics.median(map(pick, floors))}
    figures["vs_floor"] = figures["ours"] / figures["floor"]
    if theirs:
        figures["rival"] = statistics.median(map(pick, theirs))
        figures["vs_rival"] = figures["rival"] / figures["ours"]
    report(
        "merge",
        name if cores == 1 else f"{name}-{cores}-cores-wall",
        figures,
        anonymous_mb=round(max(usage.anonymous for usage in mine) / 1e6),
        rival_anonymous_mb=round(max((usage.anonymous for usage in theirs), default=0) / 1e6),
        ours_all=[round(pick(usage), 2) for usage in mine],
        floor_all=[round(pick(usage), 2) for usage in floors],
        rival_all=[round(pick(usage), 2) for usage in theirs],
    )


def run(command: Sequence[str], scratch: Path, cores: int) -> Usage:
    """Measure one process whose output is `scratch/out`, which is removed."""
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    for model in ("base", "a", "b"):
        touch(DATA / model / "model.safetensors")
    warm(scratch / "warm", (DATA / "a" / "model.safetensors").stat().st_size)
    usage = measure(command, cores=cores)
    shutil.rmtree(scratch / "out", ignore_errors=True)
    return usage


def touch(path: Path) -> None:
    """Have a file in the page cache."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def warm(path: Path, size: int) -> None:
    """Have the system hold as much free memory as the output will take."""
    block = bytes(1 << 20)
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(block)
    path.unlink()


def rival_config(case: Case) -> dict[str, Any]:
    """The same merge as mergekit's configuration."""
    if case.method == "slerp":
        models, base = [{"model": str(DATA / name)} for name in ("a", "b")], "a"
    else:
        models = [{"model": str(DATA / name), "parameters": case.per_model} for name in ("a", "b")]
        base = "base" if case.has_base else None
    config = {"merge_method": case.method, "models": models, "dtype": "bfloat16", "parameters": case.rival}
    return config | ({"base_model": str(DATA / base)} if base else {})


def floor(out: str, *inputs: str) -> None:
    """Read in chunks, sum in float32, write: what no merge can do without."""
    import torch

    torch.set_num_threads(1)
    chunk, weight = 1 << 18, 1 / len(inputs)
    files = [(Path(folder) / "model.safetensors").open("rb") for folder in inputs]
    header = files[0].read(8 + int.from_bytes(files[0].peek(8)[:8], "little"))
    maps = [
        mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) for f in files
    ]
    tensors = [torch.frombuffer(m, dtype=torch.bfloat16, offset=len(header)) for m in maps]
    total, one, rounded = torch.empty(chunk), torch.empty(chunk), torch.empty(chunk, dtype=torch.bfloat16)
    Path(out).mkdir()
    with (Path(out) / "model.safetensors").open("wb", buffering=0) as file:
        file.write(header)
        for begin in range(0, len(tensors[0]), chunk):
            count = min(chunk, len(tensors[0]) - begin)
            total[:count].copy_(tensors[0][begin : begin + count]).mul_(weight)
            for tensor in tensors[1:]:
                total[:count].add_(one[:count].copy_(tensor[begin : begin + count]), alpha=weight)
            file.write(rounded[:count].copy_(total[:count]).view(torch.uint8).numpy().data)
        os.fsync(file.fileno())


def make_models() -> None:
    """Write base and fine-tunes."""
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    base = {name: torch.randn(shape, generator=generator).mul_(0.02) for name, shape in shapes()}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }
    for name in ("base", "a", "b"):
        folder = DATA / name
        folder.mkdir(parents=True, exist_ok=True)
        scale = 0.0 if name == "base" else 0.002
        noisy = {
            key: (tensor + torch.randn(tensor.shape, generator=generator).mul_(scale)).bfloat16()
            for key, tensor in base.items()
        }
        save_file(noisy, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(config))


def shapes() -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a Llama with 1,104,218,112 parameters."""
    found: list[tuple[str, tuple[int, ...]]] = [("model.embed_tokens.weight", (VOCABULARY, HIDDEN))]
    for layer in range(LAYERS):
        here = f"model.layers.{layer}"
        found += [(f"{here}.self_attn.{p}_proj.weight", (HIDDEN, HIDDEN)) for p in "qo"]
        found += [(f"{here}.self_attn.{p}_proj.weight", (KEYS, HIDDEN)) for p in "kv"]
        found += [(f"{here}.mlp.{p}_proj.weight", (INNER, HIDDEN)) for p in ("gate", "up")]
        found += [(f"{here}.mlp.down_proj.weight", (HIDDEN, INNER))]
        found += [(f"{here}.{p}_layernorm.weight", (HIDDEN,)) for p in ("input", "post_attention")]
    return [*found, ("model.norm.weight", (HIDDEN,)), ("lm_head.weight", (VOCABULARY, HIDDEN))]


if __name__ == "__main__":
    main()
