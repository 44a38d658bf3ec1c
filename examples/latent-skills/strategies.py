"""Who answers best on the small Llama: one expert, the base's own choice, a dispatcher's, a mixture.

    python examples/latent-skills/strategies.py [--seeds 0 1 2]

After `train.py arms` and `train.py dispatch`. Every strategy on each skill, on requests of all skills shuffled
(`mixed`), and on the task that nobody was trained on (`new`); mixtures are searched with 10 shots of that very task.
Then the lifelong claim: with two experts, and with the third one added later, how are the two old skills answered?
A line of JSON for each figure in `runs/strategies.jsonl`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from skills import SKILLS
from train import HERE, MODELS, RUNS

from merganser.adaptation import ExpertVector, open_expert
from merganser.adaptation.strategies import (
    AdaptiveModel,
    ByExpert,
    ByPrompt,
    DispatchPrompt,
    Fixed,
    Mixture,
    MixtureSearch,
    search_mixture,
)
from merganser.evaluation import Chosen, GenerativeTask, choose, open_task

TASKS = (*SKILLS, "mixed", "new")
SHOTS = 10
ASK = DispatchPrompt(template="which {request}", other="")
"""The question that the base was half taught to answer."""


def main() -> None:
    """Both tables, for every seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    torch.set_num_threads(1)
    with (RUNS / "strategies.jsonl").open("a") as file:
        for seed in given.seeds:
            for row in (*strategies(seed), *later(seed)):
                print(row, flush=True)
                file.write(json.dumps({"seed": seed, **row}) + "\n")


def strategies(seed: int) -> Iterator[dict[str, Any]]:
    """Every strategy on every task."""
    model = adaptive(seed, SKILLS, "dispatch")
    uniform = Mixture(SKILLS, (1 / len(SKILLS),) * len(SKILLS))
    fixed = {"base": Fixed(None), **{f"expert {s}": Fixed(s) for s in SKILLS}, "uniform mix": uniform}
    chosen = {"by prompt": ByPrompt(ASK), "by expert": ByExpert("dispatch", ASK)}
    for task in TASKS:
        test = tested(task)
        for name, strategy in {**fixed, **chosen}.items():
            model.strategy = strategy
            yield {"task": task, "strategy": name, **scored(model, test)}
        for name, per_matrix in {"few-shot": False, "few-shot, per matrix": True}.items():
            how = MixtureSearch(per_matrix=per_matrix)
            found = search_mixture(model, shots(task, seed), settings=how, experts=SKILLS)
            model.strategy = found.mixture
            facts = {"evaluations": found.history[-1].evaluations, "weights": found.mixture.mean_weights()}
            yield {"task": task, "strategy": name, **scored(model, test), **facts}


def later(seed: int) -> Iterator[dict[str, Any]]:
    """Two experts; then a third one beside them, and a dispatcher that was trained anew."""
    for name, skills, dispatcher in (("two", SKILLS[:2], "dispatch-two"), ("three", SKILLS, "dispatch")):
        model = adaptive(seed, skills, dispatcher)
        for task in SKILLS:
            test = tested(task)
            model.strategy = ByExpert(dispatcher, ASK)
            yield {"task": task, "strategy": f"{name} experts, dispatched", **scored(model, test)}
            if task in skills:
                model.strategy = Fixed(task)
                yield {"task": task, "strategy": f"{name} experts, its own", **scored(model, test)}


def adaptive(seed: int, skills: tuple[str, ...], dispatcher: str) -> AdaptiveModel:
    """The base with the experts of these skills and a dispatcher."""
    experts = {skill: trained(f"svf/{skill}-{seed}") for skill in skills}
    return AdaptiveModel.of(
        MODELS / f"base-{seed}", {**experts, dispatcher: trained(f"{dispatcher}/{seed}")}, Fixed(None)
    )


def trained(place: str) -> ExpertVector:
    """The expert of a training."""
    return open_expert(RUNS / place / "expert.safetensors")


def tested(task: str) -> GenerativeTask:
    """Test questions."""
    found = open_task(str(HERE / f"{task}.yaml"), None).test
    assert isinstance(found, GenerativeTask)
    return found


def shots(task: str, seed: int) -> Chosen:
    """Ten questions that are not tested."""
    return choose(open_task(str(HERE / f"{task}.yaml"), None), "search", limit=SHOTS, seed=seed)


def scored(model: AdaptiveModel, test: GenerativeTask) -> dict[str, Any]:
    """Mean score; how often the right expert answered, where one is right; what the first pass cost."""
    with model.traced() as traces:
        score = test.score(model, np.arange(len(test.questions)))
    answered = [trace.decision.expert for trace in traces]
    wanted = [question.fields.get("skill") for question in test.questions]
    known = [a == w for a, w in zip(answered, wanted, strict=True) if w in SKILLS]
    first = sum(trace.first.seconds for trace in traces)
    second = sum(trace.second.seconds for trace in traces)
    return {
        "score": float(score.mean()),
        "dispatched": sum(known) / len(known) if known else None,
        "first_share": first / (first + second),
    }


if __name__ == "__main__":
    main()
