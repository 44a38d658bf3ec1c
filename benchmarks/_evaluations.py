"""Whole evaluations of children of a language model: ours, and as mergekit-evolve does them.

Ours is the product's run (DARE-TIES of two models on a base, genes drawn at random), in one process. mergekit-evolve
asks for Ray and a GPU and does not run on a processor, so that its way of evaluating a candidate is put together of the
same parts: mergekit merges to disk, lm-evaluation-harness loads that through transformers and scores it, the folder is
removed. Both have their libraries imported and one candidate made before the first that counts. Its element type is
bfloat16; here both sides compute in float32, which is faster on processors without instructions for bfloat16.

The tasks: 64 questions with four choices, and 16 that are answered in at most 16 tokens.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _measure import measure
from bench_merge import DATA, RIVAL

CHOICE_QUESTIONS, WRITTEN_QUESTIONS, TOKENS = 64, 16, 16
NOISE = 0.02
"""Standard deviation of what makes a specialist of the base, as a share of each tensor's own."""

KINDS = {
    "animal": ("dog", "horse", "whale", "eagle", "spider", "tiger", "frog", "rabbit"),
    "fruit": ("apple", "banana", "cherry", "grape", "lemon", "mango", "peach", "plum"),
    "colour": ("red", "green", "blue", "yellow", "purple", "orange", "black", "white"),
    "city": ("Paris", "London", "Berlin", "Rome", "Madrid", "Tokyo", "Cairo", "Moscow"),
}

MERGE = """
import json, sys, time
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
for number, line in enumerate(open(sys.argv[1])):
    began = time.process_time()
    options = MergeOptions(lazy_unpickle=True, low_cpu_memory=True, copy_tokenizer=True, write_model_card=False)
    run_merge(MergeConfiguration.model_validate(json.loads(line)), sys.argv[2] + f"/{number}", options)
    print(time.process_time() - began, flush=True)
"""


def base_model() -> Path | None:
    """The folder `smollm2` of `MODELS`, or of the benchmarks' data; None if there is none."""
    folder = Path(os.environ.get("MODELS", DATA.parent)) / "smollm2"
    return folder if (folder / "config.json").is_file() else None


def evaluations(base: Path, candidates: int) -> dict[str, Any]:
    """CPU-seconds of an evaluation on each side, and what they are spent on; medians."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        for number in range(2):
            make_specialist(base, here / f"model{number}", number)
        write_tasks(here)
        (here / "base").symlink_to(base.resolve())
        mine = _run(["--ours", folder, str(candidates)])
        theirs = _rival(here, candidates) if RIVAL.exists() else {}
    found = mine | {"per_hour": 3600 / mine["cpu"]}
    if theirs:
        found |= {f"rival_{name}": value for name, value in theirs.items()}
        found["rival_per_hour"] = 3600 / theirs["cpu"]
        found["vs_rival"] = theirs["cpu"] / mine["cpu"]
    return found


def _run(arguments: list[str]) -> dict[str, float]:
    output = measure([sys.executable, str(Path(__file__).resolve()), *arguments]).output
    return json.loads(output.splitlines()[-1])


def make_specialist(base: Path, folder: Path, seed: int) -> None:
    """A model near the base: noise in the place of a fine-tune."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(base, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    generator = torch.Generator().manual_seed(seed)
    tensors = load_file(base / "model.safetensors")
    for name, tensor in tensors.items():
        noise = torch.randn(tensor.shape, generator=generator) * (NOISE * tensor.float().std())
        tensors[name] = (tensor.float() + noise).to(tensor.dtype)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def write_tasks(folder: Path) -> None:
    """The questions, and the task files of either side."""
    rng = random.Random(0)
    rows = []
    for number in range(CHOICE_QUESTIONS):
        kind = list(KINDS)[number % len(KINDS)]
        choices = [rng.choice(words) for words in KINDS.values()]
        rng.shuffle(choices)
        answer = next(i for i, choice in enumerate(choices) if choice in KINDS[kind])
        rows.append({"question": f"Case {number}. Which is a {kind}?", "choices": choices, "answer": answer})
    pairs = [(rng.randint(1, 9), rng.randint(1, 9)) for _ in range(WRITTEN_QUESTIONS)]
    sums = [
        {"question": f"Case {i}. What is {a} plus {b}?", "answer": str(a + b)}
        for i, (a, b) in enumerate(pairs)
    ]
    files = {"choices": rows, "sums": sums}
    for name, lines in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    mine = {
        "choices": {"scorer": "choice"},
        "sums": {"scorer": "numeric", "max_tokens": TOKENS, "stop": ["\n"]},
    }
    for name, settings in mine.items():
        (folder / f"{name}.yaml").write_text(json.dumps({"data": f"{name}.jsonl", **settings}))
    (folder / "lm-eval").mkdir()
    common = {"dataset_path": "json", "test_split": "test", "doc_to_text": "Question: {{question}}\nAnswer:"}
    theirs = {
        "choices": {
            "output_type": "multiple_choice",
            "doc_to_choice": "choices",
            "doc_to_target": "answer",
            "metric_list": [{"metric": "acc"}],
        },
        "sums": {
            "output_type": "generate_until",
            "doc_to_target": "answer",
            "generation_kwargs": {"until": ["\n"], "max_gen_toks": TOKENS, "do_sample": False},
            "metric_list": [{"metric": "exact_match"}],
        },
    }
    for name, settings in theirs.items():
        data = {"dataset_kwargs": {"data_files": {"test": str(folder / f"{name}.jsonl")}}}
        text = json.dumps({"task": name, **common, **data, **settings})
        (folder / "lm-eval" / f"{name}.yaml").write_text(text)


def ours(folder: Path, candidates: int) -> dict[str, float]:
    """Median CPU-seconds of a child in the product's run, and of making and scoring it."""
    from merganser.evaluation import Splits, join_splits, open_task
    from merganser.run import Evolution, RunDirectory, make_plan, parse_settings

    settings = parse_settings(
        {
            "models": [str(folder / f"model{number}") for number in range(2)],
            "task": "given",
            "genome": {
                "method": "dare_ties",
                "base": str(folder / "base"),
                "genes": {"weight": [0, 1], "density": [0.2, 1]},
            },
            "search": {"method": "random"},
            "splits": {"preset": "paper"},
            "dtype": "float32",
        }
    )
    tasks = [open_task(folder / f"{name}.yaml") for name in ("choices", "sums")]
    splits = join_splits([Splits(task.search) for task in tasks])
    plan = make_plan(settings, splits=splits)
    directory = RunDirectory(folder / "run")
    directory.create(plan)
    making: list[float] = []
    become = plan.model.become

    def timed(child: Any) -> Any:
        cost, found = _cpu(lambda: become(child))
        making.append(cost)
        return found

    plan.model.become = timed
    with directory.journal(write=True) as journal:
        evolution = Evolution(plan, journal)
        whole = [_cpu(evolution.step)[0] for _ in range(candidates + 3)][
            3:
        ]  # two parents and the first child
    made = statistics.median(making[-candidates:])
    cost = statistics.median(whole)
    return {"cpu": cost, "making": made, "scoring": cost - made, "failures": evolution.failures}


def _rival(folder: Path, candidates: int) -> dict[str, float]:
    """The same of mergekit and lm-evaluation-harness, in a process each."""
    rng = random.Random(0)
    parameters = [
        [{"weight": rng.uniform(0, 1), "density": rng.uniform(0.2, 1)} for _ in range(2)]
        for _ in range(candidates + 1)
    ]
    lines = [
        {
            "merge_method": "dare_ties",
            "base_model": str(folder / "base"),
            "models": [
                {"model": str(folder / f"model{number}"), "parameters": given}
                for number, given in enumerate(pair)
            ],
            "dtype": "bfloat16",
        }
        for pair in parameters
    ]
    (folder / "merges.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    merged = folder / "merged"
    merged.mkdir()
    command = [str(RIVAL.parent / "python"), "-c", MERGE, str(folder / "merges.jsonl"), str(merged)]
    making = [float(line) for line in measure(command).output.split()][1:]
    scoring = _run(["--scored", str(folder)])
    made = statistics.median(making)
    return {"cpu": made + scoring["cpu"], "making": made, "scoring": scoring["cpu"]}


def scored(folder: Path) -> dict[str, float]:
    """Median CPU-seconds in which the harness loads and scores what mergekit wrote."""
    import lm_eval
    import torch
    from lm_eval.tasks import TaskManager

    torch.set_num_threads(1)
    manager = TaskManager(include_path=str(folder / "lm-eval"), include_defaults=False)

    def evaluate(model: Path) -> None:
        lm_eval.simple_evaluate(
            model="hf",
            model_args={"pretrained": str(model), "dtype": "float32", "use_cache": True},
            tasks=["choices", "sums"],
            batch_size=16,
            device="cpu",
            task_manager=manager,
            bootstrap_iters=0,
            log_samples=False,
        )
        shutil.rmtree(model)

    costs = [_cpu(lambda model=model: evaluate(model))[0] for model in sorted((folder / "merged").iterdir())]
    return {"cpu": statistics.median(costs[1:])}


def _cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


if __name__ == "__main__":
    kind, place, *rest = sys.argv[1:]
    print(json.dumps(ours(Path(place), int(rest[0])) if kind == "--ours" else scored(Path(place))))
