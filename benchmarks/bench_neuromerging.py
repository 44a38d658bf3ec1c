"""NeuroMerging: our method beside a decomposition of every neuron, and beside our own TIES on a large model.

    make bench-neuromerging

One thread on one core, CPU-seconds, medians. Two parts, `neurons` and `models`; without arguments both.

`neurons`: one float32 matrix of eight (or three) fine-tunes, nothing trimmed. Ours goes the whole way of a merge in
memory (plan, blocks, rounding); the other side is the tests' slow reference, written from the paper's equations: numpy,
a singular value decomposition for each neuron and a loop over directions, without reading or rounding. Imports are not
counted on either side.

`models`: the base and two fine-tunes of `bench_merge.py` (1.1 billion parameters, bfloat16, 6.6 GB in
`benchmarks/data/`, made if they are not there), whole processes with our command, from disk to disk, as published: 20 %
kept over the whole model. TIES does the same but for the neurons.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import tempfile
import time
from pathlib import Path

from _measure import measure, report
from bench_merge import COMMAND, DATA, make_models, run

LITERAL = Path(__file__).parents[1] / "tests" / "merging" / "methods" / "_literal_neuro.py"
SHAPES = {"256x512x3": (256, 512, 3), "768x768x8": (768, 768, 8), "768x3072x8": (768, 3072, 8)}
"""Neurons, weights of each, models."""


def main() -> None:
    """Measure the parts asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", default=["neurons", "models"], help="neurons, models")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of our side")
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(one_side(*arguments.side))
        return
    if "neurons" in arguments.parts:
        for shape in SHAPES:
            bench_neurons(shape, arguments.rounds)
    if "models" in arguments.parts:
        bench_models(arguments.rounds)


def bench_neurons(shape: str, rounds: int) -> None:
    """One matrix, both sides in turns."""

    def seconds(side: str) -> float:
        return float(measure([sys.executable, __file__, "--side", side, shape]).output)

    ours = [seconds("ours")]
    literal = seconds("literal")
    ours += [seconds("ours") for _ in range(rounds - 1)]
    figures = {"ours": statistics.median(ours), "literal": literal}
    figures["vs_literal"] = literal / figures["ours"]
    report("neuromerging", shape, figures, ours_all=ours)


def one_side(side: str, shape: str) -> float:
    """CPU-seconds of one merge of one matrix."""
    import torch

    from merganser.merging import merge

    torch.set_num_threads(1)
    rows, columns, models = SHAPES[shape]
    generator = torch.Generator().manual_seed(0)
    base = 0.02 * torch.randn(rows, columns, generator=generator)
    tuned = [base + 0.002 * torch.randn(rows, columns, generator=generator) for _ in range(models)]
    if side == "ours":
        given = [{"w": each} for each in tuned]
        merge(given[:1], "neuromerging", base={"w": base}, workers=1)  # imports
        began = time.process_time()
        merge(given, "neuromerging", base={"w": base}, workers=1, density=1.0)
    else:
        spec = importlib.util.spec_from_file_location("literal", LITERAL)
        assert spec is not None
        assert spec.loader is not None
        literal = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(literal)
        deltas = [(each - base).double().numpy() for each in tuned]
        began = time.process_time()
        literal.tensor(deltas, base.double().numpy(), 0.0, 1.0, "literal")
    return time.process_time() - began


def bench_models(rounds: int) -> None:
    """Base and two fine-tunes, ours and TIES in turns."""
    if not (DATA / "b" / "model.safetensors").exists():
        make_models()
    with tempfile.TemporaryDirectory(dir=DATA.parent) as folder:
        scratch = Path(folder)
        command = [str(COMMAND), "merge", str(DATA / "a"), str(DATA / "b"), "--base", str(DATA / "base")]
        command += ["--workers", "1", "--quiet", "--out", str(scratch / "out"), "--method"]
        ties, ours = [], []
        for _ in range(rounds):
            ties.append(run([*command, "ties"], scratch, 1))
            ours.append(run([*command, "neuromerging"], scratch, 1))
    figures = {
        "ours": statistics.median(usage.cpu for usage in ours),
        "ties": statistics.median(usage.cpu for usage in ties),
        "anonymous_mb": max(usage.anonymous for usage in ours) / 1e6,
    }
    figures["vs_ties"] = figures["ours"] / figures["ties"]
    report("neuromerging", "1.1b", figures, ours_all=[round(usage.cpu, 2) for usage in ours])


if __name__ == "__main__":
    main()
