"""Train experts of SmolLM2-135M, and LoRAs beside them: from examples, by reward, and one after the other.

    python examples/smollm2-experts/tasks.py --data DATA
    python examples/smollm2-experts/train.py --model SMOLLM2

`SMOLLM2` is the model as a Hugging Face folder. Every training is a folder in `runs/` and resumes; a step sees 16
answers of the model, or the right ones to four prompts. Five to fifteen minutes each on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from merganser.adaptation.training import Adapter, Lora, Svf, Training, train

HERE = Path(__file__).parent
ADAPTERS: dict[str, tuple[Adapter, float]] = {
    "svf": (Svf(), 0.05),
    "lora-16": (Lora(16, components=(), modules=("q_proj", "v_proj")), 1e-3),
}
"""With their learning rates."""
STEPS, WARM_UP = 30, 10
WAYS = {"examples": STEPS, "warm": WARM_UP, "reward": 0}
"""How many of the steps imitate right answers."""
TASKS = ("kind", "letter", "larger")


def main() -> None:
    """All trainings that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--ways", nargs="+", default=list(WAYS))
    parser.add_argument("--adapters", nargs="+", default=list(ADAPTERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    wanted = [
        (seed, way, task, adapter)
        for seed in given.seeds
        for task in given.tasks
        for way in given.ways
        for adapter in given.adapters
    ]
    for seed, way, task, adapter in wanted:
        what, rate = ADAPTERS[adapter]
        how = Training(
            steps=STEPS,
            prompts=4,
            rollouts=4,
            learning_rate=rate,
            kl=0.0,
            warm_up=WAYS[way],
            every=15,
            patience=STEPS,
            seed=seed,
        )
        place = HERE / "runs" / f"{way}-{task}-{adapter}-{seed}"
        test = train(given.model, HERE / f"{task}.yaml", place, what, how, dtype="float32").test
        assert test is not None
        print(f"{place.name}: {test.base.value:.3f} -> {test.trained.value:.3f}", flush=True)


if __name__ == "__main__":
    main()
