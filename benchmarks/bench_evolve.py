"""From a genome to a model that is ready to generate: children of two models with 1.1 billion parameters.

    make rivals
    make bench-evolve

A `LanguageModel` becomes one child after the other, in one process; a child is a crossover of the two seeds, and what
is timed begins with the crossover and ends when the last weight is in the module. Medians over different children,
CPU-seconds and wall seconds, with one thread on one core and two on two. Seeds are in the page cache. Opening, digests,
the seeds' Gram matrix, the module and the first child (which maps the files and loads or compiles the loops) are
reported apart: they are paid once.

| case | the child |
| --- | --- |
| slerp-child | M2N2's crossover with SLERP: a random weight and split point |
| linear-child | the same on the line |
| same-layers | another than the child before in a quarter of the layers only |
| segments | 1,000 segments; `vs_one` is beside linear-child |
| archive | 50 descendants after 500 crossovers as recipes (`Combination` as JSON, one file each): bytes on disk |
| evaluations | whole evaluations of another model's children beside mergekit-evolve's way: see `_evaluations.py` |

The floor moves the same bytes in the same process: each chunk of the seeds' tensors that the child is made of is copied
to a scratch buffer, and the buffer to the module's memory. The rival is `mergekit-yaml` (of `.venv-rivals`) to disk and
`AutoModelForCausalLM.from_pretrained` in a fresh process, imports included (`rival`) and not (`rival_no_imports`).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from _evaluations import base_model, evaluations
from _measure import Usage, measure, report
from bench_merge import CASES as MERGES
from bench_merge import DATA, RIVAL, make_models, rival_config, touch, warm

if TYPE_CHECKING:
    from merganser.merging import Combination, Gram
    from merganser.models import LanguageModel
    from merganser.weights import Checkpoint

CASES = ("slerp-child", "linear-child", "same-layers", "segments", "archive", "evaluations")
DESCENDANTS, CROSSOVERS, SEGMENTS = 50, 500, 1000
CHUNK = 1 << 18

LOAD = """
import sys, time
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM
began = time.process_time()
AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
print(time.process_time() - began)
"""


class Cost(NamedTuple):
    """CPU-seconds and seconds."""

    cpu: float
    wall: float


def main() -> None:
    """Measure the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=CASES, help="which cases")
    parser.add_argument("--children", type=int, default=7, help="children of each case")
    parser.add_argument("--cores", type=int, nargs="*", default=[1, 2], help="on how many cores")
    parser.add_argument("--no-rival", action="store_true", help="measure our side only")
    parser.add_argument("--ours", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        case, children, workers = arguments.ours
        print(json.dumps(ours(case, int(children), int(workers))))
        return
    if "evaluations" in arguments.cases:
        bench_evaluations(min(arguments.children, 3))
    arguments.cases = [case for case in arguments.cases if case != "evaluations"]
    if not arguments.cases:
        return
    if not (DATA / "b" / "model.safetensors").exists():
        make_models()
    with tempfile.TemporaryDirectory(dir=DATA.parent) as scratch:
        for cores in arguments.cores:
            rivals: dict[str, dict[str, float]] = {}
            for case in arguments.cases:
                rule = "linear" if case == "linear-child" else "slerp"
                if rule not in rivals and case != "archive" and RIVAL.exists() and not arguments.no_rival:
                    rivals[rule] = rival(rule, Path(scratch), cores)
                bench(case, arguments.children, cores, rivals.get(rule, {}))


def bench_evaluations(candidates: int) -> None:
    """Measure whole evaluations, where the model is at hand."""
    base = base_model()
    if base is None:
        print("evolve evaluations: skipped; it needs MODELS=FOLDER with a checkpoint in FOLDER/smollm2")
        return
    report("evolve", "evaluations", evaluations(base, candidates))


def bench(case: str, children: int, cores: int, rival: dict[str, float]) -> None:
    """Measure one case and print it."""
    for seed in ("a", "b"):
        touch(DATA / seed / "model.safetensors")
    output = measure(
        [sys.executable, __file__, "--ours", case, str(children), str(cores)], cores=cores
    ).output
    found = json.loads(output.splitlines()[-1])
    if case == "archive":
        if cores == 1:
            report("evolve", case, found)
        return
    mine, floors = ([Cost(*cost) for cost in found.pop(key)] for key in ("ours", "floor"))
    unit = "cpu" if cores == 1 else "wall"
    figures = {"ours": _median(mine, unit), "floor": _median(floors, unit)}
    figures["vs_floor"] = figures["ours"] / figures["floor"]
    if rival:
        figures["rival"] = rival[unit]
        figures["rival_no_imports"] = rival[f"{unit}_no_imports"]
        figures["vs_rival"] = rival[unit] / figures["ours"]
        figures["vs_rival_no_imports"] = figures["rival_no_imports"] / figures["ours"]
    one = found.pop("one", None)
    if one:
        figures["vs_one"] = figures["ours"] / _median([Cost(*cost) for cost in one], unit)
    name = case if cores == 1 else f"{case}-{cores}-cores-wall"
    report("evolve", name, figures, **found, ours_all=mine, floor_all=floors)


def _median(costs: list[Cost], unit: str) -> float:
    return statistics.median(getattr(cost, unit) for cost in costs)


def rival(rule: str, scratch: Path, cores: int) -> dict[str, float]:
    """The same child by mergekit, to disk, and from there into a model; both processes together."""
    config, out = scratch / "config.yaml", scratch / "loaded"
    config.write_text(json.dumps(rival_config(MERGES[rule])))  # JSON is YAML
    flags = ["--lazy-unpickle", "--low-cpu-memory", "--no-write-model-card", "--no-copy-tokenizer", "--quiet"]
    python = RIVAL.parent / "python"
    for seed in ("a", "b"):
        touch(DATA / seed / "model.safetensors")
    warm(scratch / "warm", (DATA / "a" / "model.safetensors").stat().st_size)
    imports = measure([str(python), "-c", "import mergekit.scripts.run_yaml"], cores=cores)
    merged = measure([str(RIVAL), str(config), str(out), *flags], cores=cores)
    loaded, loading = _loaded(out, cores)
    shutil.rmtree(out)
    both = {"cpu": merged.cpu + loaded.cpu, "wall": merged.wall + loaded.wall}
    return both | {
        "cpu_no_imports": merged.cpu - imports.cpu + loading,
        "wall_no_imports": merged.wall - imports.wall + loading,
    }


def _loaded(out: Path, cores: int) -> tuple[Usage, float]:
    usage = measure([sys.executable, "-c", LOAD, str(out)], cores=cores)
    return usage, float(usage.output.split()[-1])


def ours(case: str, children: int, workers: int) -> dict[str, Any]:
    """Our side of a case, in this process."""
    import torch

    from merganser.merging import Combination, Gram
    from merganser.models import LanguageModel
    from merganser.weights import Execution, open_checkpoint

    torch.set_num_threads(workers)
    began = time.process_time()
    seeds = [open_checkpoint(DATA / name) for name in ("a", "b")]
    digests = tuple(seed.digest for seed in seeds)
    digested = time.process_time()
    is_arc = case in ("slerp-child", "archive")  # on a line no angles are needed
    gram = Gram.over(seeds, execution=Execution(workers)) if is_arc else None
    measured = time.process_time()
    once = {"digests": digested - began, "gram": measured - digested}
    parents = [Combination.seed(digests, k, seeds[0].layout.size) for k in range(2)]
    if case == "archive":
        return archive(parents, gram)
    model = LanguageModel.of(seeds[0])
    once["module"] = time.process_time() - measured
    makers = {
        "slerp-child": lambda rng: crossed(parents, gram, rng, "slerp"),
        "linear-child": lambda rng: crossed(parents, gram, rng, "linear"),
        "same-layers": lambda rng: with_quarter(parents, seeds[0], rng),
        "segments": lambda rng: segmented(digests, parents[0].size, rng),
    }
    first = timed(lambda: become(model, seeds, makers[case](np.random.default_rng(0)), workers))
    once["first_child"] = first.cpu
    names = quarter(seeds[0])[0] if case == "same-layers" else list(seeds[0].layout.names)
    found: dict[str, Any] = {"once": once, "ours": [], "floor": []}
    for k in range(1, children + 1):
        rng = np.random.default_rng(k)
        found["floor"].append(timed(lambda: move(model, seeds, names, workers)))
        found["ours"].append(timed(lambda rng=rng: become(model, seeds, makers[case](rng), workers)))
    if case == "segments":
        found["one"] = [
            timed(lambda k=k: become(model, seeds, makers["linear-child"](np.random.default_rng(k)), workers))
            for k in range(children)
        ]
    return found


def timed(work: Callable[[], object]) -> Cost:
    """What a call takes."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


def become(model: LanguageModel, seeds: list[Checkpoint], child: Combination, workers: int) -> None:
    """Bring a child to life."""
    from merganser.merging import plan_combination

    model.become(plan_combination(child, seeds), workers=workers)


def crossed(
    parents: list[Combination], gram: Gram | None, rng: np.random.Generator, rule: Any
) -> Combination:
    """A child as M2N2 makes it."""
    from merganser.merging import crossover

    first, second = parents
    weight, split = rng.uniform(0.1, 0.9), int(rng.integers(1, first.size))
    return crossover(first, second, weight=weight, split=split, gram=gram, rule=rule)


def quarter(seed: Checkpoint) -> tuple[list[str], int, int]:
    """The first quarter of the layers: their tensors, and where they begin and end in the flat order."""
    layers = [layer for layer in seed.layers if layer.kind == "block"]
    names = [name for layer in layers[: len(layers) // 4] for name in layer.tensors]
    spans = [seed.layout.spans()[name] for name in names]
    return names, min(begin for begin, _ in spans), max(end for _, end in spans)


def with_quarter(parents: list[Combination], seed: Checkpoint, rng: np.random.Generator) -> Combination:
    """Halves of both seeds, and other shares in a quarter of the layers."""
    _, begin, end = quarter(seed)
    t = rng.uniform(0.1, 0.4)
    return type(parents[0])(
        parents[0].seeds, [0, begin, end, seed.layout.size], [[0.5, 0.5], [1 - t, t], [0.5, 0.5]]
    )


def segmented(seeds: tuple[str, ...], size: int, rng: np.random.Generator) -> Combination:
    """Random shares between random breaks."""
    from merganser.merging import Combination

    inner = np.sort(rng.choice(size, SEGMENTS - 1, replace=False))
    return Combination(seeds, np.array([0, *inner, size]), rng.uniform(0.1, 0.9, (SEGMENTS, 2)))


def move(model: LanguageModel, seeds: list[Checkpoint], names: list[str], workers: int) -> None:
    """Read and write what a child is made of, chunk by chunk, and do nothing with it."""
    from merganser.weights import Execution

    def one(name: str) -> None:
        import torch

        scratch = np.empty(CHUNK, np.uint16)
        rows = [seed.tensors.view(name).view(np.uint16) for seed in seeds]
        out = model.places[name].view(-1).view(torch.int16).numpy().view(np.uint16)
        for begin in range(0, len(out), CHUNK):
            part = slice(begin, min(begin + CHUNK, len(out)))
            chunk = scratch[: part.stop - begin]
            for row in rows:
                np.copyto(chunk, row[part])
            np.copyto(out[part], chunk)

    for _ in Execution(workers).map(one, names):
        pass


def archive(parents: list[Combination], gram: Gram | None) -> dict[str, Any]:
    """An archive of descendants after many crossovers: each child replaces a random member."""
    from merganser.merging import write_recipe

    rng = np.random.default_rng(0)
    members = [parents[k % 2] for k in range(DESCENDANTS)]
    cost = timed(lambda: [_replace(members, gram, rng) for _ in range(CROSSOVERS)])
    with tempfile.TemporaryDirectory() as folder:
        for k, member in enumerate(members):
            write_recipe(member, Path(folder) / f"{k}.json")
        sizes = list(_sizes(Path(folder)))
    weights = sum(path.stat().st_size for path in DATA.glob("a/*"))
    segments = [member.segments for member in members]
    return {
        "descendants": len(members),
        "crossovers": CROSSOVERS,
        "bytes": sum(sizes),
        "bytes_as_weights": weights * len(members),
        "segments_median": statistics.median(segments),
        "segments_most": max(segments),
        "cpu": cost.cpu,
    }


def _replace(members: list[Combination], gram: Gram | None, rng: np.random.Generator) -> None:
    first, second, leaves = rng.choice(len(members), 3, replace=False)
    members[leaves] = crossed([members[first], members[second]], gram, rng, "slerp")


def _sizes(folder: Path) -> Iterator[int]:
    return (path.stat().st_size for path in folder.iterdir())


if __name__ == "__main__":
    main()
