"""Ways to find an expert, with the same number of rollouts: searches of `merganser evolve`, CEM, and training.

    python examples/latent-skills/evolve_experts.py

After `train.py arms`, whose experts of all matrices are what is evolved. A rollout is one question answered once; a
child of a search answers 64, as many as a step of training. To choose the winner costs some more, which `choosing`
counts: members on all search samples, members and looks on the validation samples. Test samples are not counted.

| way | what is searched |
| --- | --- |
| `m2n2` | combinations of experts and base: split points and SLERP |
| `m2n2-dense` | the same on logarithms of scales, with noise |
| `cma-alpha`, `cma-matrix` | CMA-ES over a weight for each expert; for each expert and matrix |
| `cma-bands`, `cma-dense` | CMA-ES over scales by bands of directions; over all of them (separable) |
| `cem` | the few-shot search of Transformer², over a weight for each expert and matrix, with 10 shots |
| `training` | gradients of the reward, from the base |

On `new`, which nobody trained, searches begin with the experts; on a skill with the base alone.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from arms import ARMS, settings
from skills import SKILLS
from train import HERE, RUNS

STEP = 64
"""Rollouts of a child, and of a step of training."""
ALPHA = {"method": "task_arithmetic", "genes": {"weight": [-0.5, 1.5]}}
SEARCHES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "m2n2": ({"kind": "combination"}, {"method": "natural-niches"}),
    "m2n2-dense": ({"kind": "dense", "mutation": 0.1}, {"method": "natural-niches"}),
    "cma-alpha": (ALPHA, {"method": "cma-es"}),
    "cma-matrix": ({**ALPHA, "groups": "tensor"}, {"method": "cma-es"}),
    "cma-bands": ({"kind": "dense", "bands": 8}, {"method": "cma-es"}),
    "cma-dense": ({"kind": "dense"}, {"method": "cma-es", "covariance": "diagonal"}),
}
"""Genome and search of each way that is a run."""
FROM_BASE = ("m2n2-dense", "cma-bands", "cma-dense", "training")
SHOTS = 10
QUESTIONS = 320
"""Those to search and validate on."""
POPULATION = 10


def main() -> None:
    """All ways that were not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=HERE / "models")
    parser.add_argument("--out", type=Path, default=RUNS / "evolved")
    parser.add_argument("--tasks", nargs="+", default=["new", "sort"])
    parser.add_argument("--ways", nargs="+", default=[*SEARCHES, "cem", "training"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rollouts", type=int, default=6_400)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    table = given.out / "ways.jsonl"
    known = [json.loads(line) for line in table.read_text().splitlines()] if table.exists() else []
    done = {(row["task"], row["way"], row["seed"], row["budget"]) for row in known}
    for seed in given.seeds:
        for task in given.tasks:
            for way in given.ways:
                is_fit = task == "new" or way in FROM_BASE
                if is_fit and (task, way, seed, given.rollouts) not in done:
                    begun = time.process_time()
                    row = {"task": task, "way": way, "seed": seed, "budget": given.rollouts}
                    row |= measure(way, task, seed, given)
                    row["cpu_seconds"] = round(time.process_time() - begun, 1)
                    print(row, flush=True)
                    with table.open("a") as file:
                        file.write(json.dumps(row) + "\n")


def measure(way: str, task: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """What one way finds."""
    if way in SEARCHES:
        return by_evolution(way, task, seed, given)
    return (by_cem if way == "cem" else by_training)(task, seed, given)


def task_file(task: str, given: argparse.Namespace) -> str:
    """The task with fewer questions to search on: what it costs to choose a winner grows with them."""
    path = given.out / f"{task}.yaml"
    rows = (given.models / f"{task}.jsonl").read_text().splitlines()[:QUESTIONS]
    path.with_suffix(".jsonl").write_text("\n".join(rows))
    said = yaml.safe_load((HERE / f"{task}.yaml").read_text())
    said |= {"data": f"{task}.jsonl", "test": str((given.models / f"{task}-test.jsonl").resolve())}
    path.write_text(yaml.safe_dump(said))
    return str(path)


def expert_of(skill: str, seed: int) -> Path:
    """The file of a trained expert."""
    return RUNS / f"svf/{skill}-{seed}" / "expert.safetensors"


def by_evolution(way: str, task: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """A run of `merganser evolve`; the base comes first, so that vectors begin there."""
    from merganser.evaluation import open_task
    from merganser.run import evolve

    base = given.models / f"base-{seed}"
    experts = [expert_of(skill, seed) for skill in SKILLS] if task == "new" else []
    genome, search = SEARCHES[way]
    outcome = evolve(
        experts if "method" in genome else [base, *experts],
        task_file(task, given),
        adapt=base,
        genome=genome,
        search={**search, "population": POPULATION},
        budget=given.rollouts // STEP,
        subset={"samples": STEP, "every": 20},
        seed=seed,
        run=given.out / f"{task}-{way}-{seed}-{given.rollouts}",
    )
    assert outcome.winner is not None
    assert outcome.winner.test is not None
    scored_again = outcome.savings.rescored
    held_out = open_task(task_file(task, given)).validation
    assert held_out is not None
    return {
        "test": outcome.winner.test.value,
        "rollouts": outcome.samples_measured - scored_again,
        "choosing": scored_again + POPULATION * len(held_out.samples),
        "parents": {parent.name: parent.test.value for parent in outcome.parents if parent.test is not None},
    }


def by_cem(task: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """The few-shot search: the same shots again and again."""
    from merganser.adaptation import open_expert
    from merganser.adaptation.strategies import AdaptiveModel, CrossEntropy, MixtureSearch, search_mixture
    from merganser.evaluation import choose, open_task

    experts = {skill: open_expert(expert_of(skill, seed)) for skill in SKILLS}
    model = AdaptiveModel.of(given.models / f"base-{seed}", experts)
    splits = open_task(task_file(task, given))
    most = given.rollouts // SHOTS
    found = search_mixture(
        model,
        choose(splits, "search", limit=SHOTS, seed=seed),
        choose(splits, "test"),
        MixtureSearch(per_matrix=True, budget=most, patience=most, cem=CrossEntropy(seed=seed)),
    )
    best = next(standing for standing in found.standings if standing.name == "mixture")
    assert best.held_out is not None
    rollouts = found.history[-1].evaluations * SHOTS
    return {"test": best.held_out.value, "rollouts": rollouts, "choosing": 0, "stopped": found.stopped}


def by_training(task: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """Leave-one-out policy gradients, eight answers to each of eight prompts a step."""
    from merganser.adaptation.training import train
    from merganser.evaluation import open_task

    splits = open_task(task_file(task, given))
    assert splits.validation is not None
    trained = train(
        given.models / f"base-{seed}",
        splits,
        given.out / f"{task}-training-{seed}-{given.rollouts}",
        ARMS["svf"].adapter,
        replace(settings("svf", seed=seed), steps=given.rollouts // STEP, every=20),
    )
    assert trained.test is not None
    looks = sum(row.validation is not None for row in trained.rows)
    return {
        "test": trained.test.trained.value,
        "rollouts": max(row.step for row in trained.rows) * STEP,
        "choosing": looks * len(splits.validation.samples),
    }


if __name__ == "__main__":
    main()
