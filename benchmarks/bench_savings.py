"""What a run need not score, and whether its winner can be built again: M2N2 on small Llamas that tell stories.

    make bench-savings

The seeds are a Llama of 260,032 parameters that tells stories, each damaged in one half of its parameters, so that
children can be better than both. The questions are its own stories: which of three texts is the one with no two words
exchanged?

| case | what |
| --- | --- |
| savings | sample evaluations saved, CPU-seconds, and whether the archive is that of the naive loop |
| lineage | the winner after 500 steps: does a recipe build it again, bit for bit? |
| lineage-bfloat16 | the same from seeds in bfloat16 |

The naive loop scores every child in full and remembers nothing. A winner is built again by another process, in another
folder, from its recipe and copies of the seeds.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _measure import report

if TYPE_CHECKING:
    from merganser.run import EvolveSettings

CASES = ("savings", "lineage", "lineage-bfloat16")
STORIES = Path(__file__).parents[1] / "tests" / "data" / "stories260k"
QUESTIONS, EVALUATIONS, STEPS = 120, 320, 500
DAMAGE = 0.75
"""Standard deviation of the noise on a tensor's half of the seeds, as a share of the tensor's own."""


def main() -> None:
    """Measure the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=CASES, help="which cases")
    parser.add_argument("--rebuild", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rebuild:
        print(rebuilt(*map(Path, arguments.rebuild)))
        return
    for case in arguments.cases:
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            seeds = [damaged(here / f"seed{half}", half, case.endswith("bfloat16")) for half in range(2)]
            write_questions(here / "stories.jsonl")
            found = savings(here, seeds) if case == "savings" else lineage(here, seeds)
        report("savings", case, found)


def damaged(folder: Path, half: int, is_bfloat16: bool) -> Path:
    """A seed: the small Llama with noise in one half of its layers."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(STORIES, folder)
    generator = torch.Generator().manual_seed(half)
    tensors = load_file(STORIES / "model.safetensors")
    for name, tensor in tensors.items():
        noise = DAMAGE * tensor.std() * torch.randn(tensor.shape, generator=generator)
        if "layers." in name and (int(name.split("layers.")[1].split(".")[0]) >= 3) == bool(half):
            tensors[name] = tensor + noise
    if is_bfloat16:
        tensors = {name: tensor.bfloat16() for name, tensor in tensors.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_questions(path: Path) -> None:
    """Stories as the undamaged model tells them, beside the same with two words exchanged."""
    from merganser.models import GenerationRequest, load

    rng = random.Random(0)
    heroes = ("a dog", "a cat", "a girl", "a boy", "a bird", "a big bear", "a little fish", "an old man")
    names = ("Tim", "Lily", "Sam", "Mia", "Ben")
    doing = ("went to the park", "saw a ball", "was very sad", "wanted to play", "had a toy")
    wishes = ("One day", "Then")
    begun = [
        f"There was {hero} named {name}. {wish}, {name} {deed}."
        for hero in heroes
        for name in names
        for deed in doing
        for wish in wishes
    ]
    begun = rng.sample(begun, QUESTIONS)
    told = load(STORIES).generate([GenerationRequest(text, max_tokens=16) for text in begun])
    with path.open("w") as file:
        for question, answer in zip(begun, told, strict=True):
            words = answer.text.split()
            choices = [" ".join(words), *exchanged(words, rng)]
            right = choices[0]
            rng.shuffle(choices)
            line = {"question": question, "choices": choices, "answer": choices.index(right)}
            file.write(json.dumps(line) + "\n")


def exchanged(words: list[str], rng: random.Random) -> Iterator[str]:
    """Twice the same words, with two neighbours exchanged."""
    places = [i for i in range(len(words) - 1) if words[i] != words[i + 1]]
    for i in rng.sample(places, 2):
        yield " ".join([*words[:i], words[i + 1], words[i], *words[i + 2 :]])


def settings(
    here: Path, seeds: list[Path], evaluations: int, *, early_rejection: bool = True
) -> EvolveSettings:
    """A run of M2N2 on the questions, whose scores are 0 or 1."""
    from merganser.run import parse_settings

    return parse_settings(
        {
            "models": [str(seed) for seed in seeds],
            "task": str(here / "stories.jsonl"),
            "search": {"population": 10, "warmup": 10, "early_rejection": early_rejection},
            "budget": {"evaluations": evaluations},
        }
    )


def savings(here: Path, seeds: list[Path]) -> dict[str, Any]:
    """Sample evaluations of a naive loop, and what remembering and early rejection save of them."""
    from merganser.run import evolve_settings, make_plan

    archives, cpu, measured, winners = {}, {}, {}, {}
    for name, early in (("both", True), ("remembering", False)):
        began = time.process_time()
        outcome = evolve_settings(settings(here, seeds, EVALUATIONS, early_rejection=early), run=here / name)
        cpu[name] = time.process_time() - began
        measured[name], winners[name] = outcome.samples_measured, outcome.winner
        archives[name] = members_of(here / name)
    began = time.process_time()
    plan = make_plan(settings(here, seeds, EVALUATIONS, early_rejection=False))
    archives["naive"] = naive(plan)
    cpu["naive"] = time.process_time() - began
    total = EVALUATIONS * len(plan.splits.search.samples)
    return {
        "evaluations": EVALUATIONS,
        "samples": len(plan.splits.search.samples),
        "sample_evaluations": total,
        "saved_by_remembering": 1 - measured["remembering"] / total,
        "saved_by_both": 1 - measured["both"] / total,
        "cpu_naive": cpu["naive"],
        "cpu": cpu["both"],
        "vs_naive": cpu["naive"] / cpu["both"],
        "same_archive": archives["both"] == archives["remembering"] == archives["naive"],
        "same_winner": winners["both"].digest == winners["remembering"].digest,
        "winner": winners["both"].test.value,
    }


def members_of(run: Path) -> list[str]:
    """Digests of a run's last population."""
    from merganser.run import RunDirectory

    with RunDirectory(run).journal() as journal:
        members = set(journal.meta()["members"])
        return sorted(child.recipe for child in journal.children() if child.index in members)


def naive(plan: Any) -> list[str]:
    """Ask, make, score in full, tell; the digests of the last population."""
    import numpy as np

    from merganser.evolution import Row

    search, task = plan.search, plan.splits.search
    every = np.arange(len(task.samples))
    for _ in range(EVALUATIONS):
        search, [proposal] = search.ask(1)
        plan.bring_to_life(proposal.genome)
        search = search.tell([proposal], [Row(task.score(plan.model, every))])
    return sorted(member.genome.digest for member in search.members)


def lineage(here: Path, seeds: list[Path]) -> dict[str, Any]:
    """Whether the winner and the one built again elsewhere are the same, bit for bit."""
    from merganser.merging import Combination, read_recipe
    from merganser.run import RunDirectory, evolve_settings, export

    began = time.process_time()
    outcome = evolve_settings(settings(here, seeds, STEPS), run=here / "run")
    cpu = time.process_time() - began
    assert outcome.winner is not None
    written = export(outcome.run, here / "winner")
    elsewhere = here / "elsewhere"
    for number, seed in enumerate(reversed(seeds)):
        shutil.copytree(seed, elsewhere / f"copy{number}")
    recipe = RunDirectory(outcome.run).recipe_path(outcome.winner.digest)
    shutil.copy(recipe, elsewhere / "recipe.json")
    command = [sys.executable, str(Path(__file__).resolve()), "--rebuild", "recipe.json", "again"]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=True)
    genome = read_recipe(recipe)
    assert isinstance(genome, Combination)
    return {
        "steps": outcome.evaluations,
        "segments": genome.segments,
        "same_digest": done.stdout.split()[-1] == written.digest,
        "winner": outcome.winner.test.value,
        "best_parent": max(parent.test.value for parent in outcome.parents),
        "cpu": cpu,
    }


def rebuilt(recipe: Path, out: Path) -> str:
    """The digest of the model that a recipe describes, from the copies of the seeds beside it."""
    from merganser.merging import materialise, read_recipe

    return materialise(read_recipe(recipe), sorted(recipe.parent.glob("copy*")), out=out).digest


if __name__ == "__main__":
    main()
