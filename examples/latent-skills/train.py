"""Train experts and their rivals on the small Llama's skills, by reward and by example; all of it resumes.

    python examples/latent-skills/base.py
    python examples/latent-skills/train.py rates     # learning rates, on `reverse` with seed 0
    python examples/latent-skills/train.py arms      # every arm on every skill
    python examples/latent-skills/train.py presets   # the expert by other presets; the skill the base lacks
    python examples/latent-skills/train.py dispatch  # the expert that tells skills apart
    python examples/latent-skills/train.py sequence  # one skill after the other on the same numbers

Folders of trainings are in `runs/`. `table.py` scores them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from arms import ARMS, settings
from skills import SKILLS

import merganser
from merganser.adaptation import fold
from merganser.adaptation.training import Trained, Training, train

HERE = Path(__file__).parent
MODELS, RUNS = HERE / "models", HERE / "runs"
PRESETS = ("supervised", "official", "grpo")


def main() -> None:
    """One of the above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=list(PARTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    torch.set_num_threads(1)
    for seed in given.seeds if given.what != "rates" else [0]:
        PARTS[given.what](seed)


def rates(seed: int) -> None:
    """Every learning rate of every arm."""
    for name, arm in ARMS.items():
        for rate in arm.rates:
            done = run(
                f"rates/{name}-{rate:g}", name, "reverse", settings(name, rate=rate, seed=seed), seed=seed
            )
            looks = [row.validation for row in done.rows if row.validation is not None]
            print(f"  mean of its looks {sum(looks) / len(looks):.3f}")


def arms(seed: int) -> None:
    """Every arm on every skill."""
    for skill in SKILLS:
        for name in ARMS:
            run(f"{name}/{skill}-{seed}", name, skill, settings(name, seed=seed), seed=seed)


def presets(seed: int) -> None:
    """The expert of all matrices by other presets, and the skill that the base lacks, from examples."""
    for skill in SKILLS:
        for preset in PRESETS:
            run(f"{preset}/{skill}-{seed}", "svf", skill, settings("svf", preset, seed=seed), seed=seed)
    for name in ("svf", "lora-1", "full"):
        chosen = settings(name, "supervised", seed=seed)
        run(f"mirror/{name}-{seed}", name, "mirror", chosen, seed=seed)


def dispatch(seed: int) -> None:
    """The expert that says which skill a request wants, of all three and of the first two."""
    for place, task in {"dispatch": "which", "dispatch-two": "which-two"}.items():
        run(f"{place}/{seed}", "svf", task, settings("svf", seed=seed), seed=seed)


def sequence(seed: int) -> None:
    """Skill after skill: each training begins where the last one ended, with the same numbers to train."""
    for name in ("svf", "lora-1", "full"):
        base = MODELS / f"base-{seed}"
        for place, skill in enumerate(SKILLS):
            place_name = f"sequence/{name}-{seed}/{place}-{skill}"
            done = run(place_name, name, skill, settings(name, seed=seed), seed=seed, base=base)
            base = whole(done, base, RUNS / f"{place_name}-model")


def run(place: str, arm: str, skill: str, how: Training, *, seed: int, base: Path | None = None) -> Trained:
    """One training, or what came of it."""
    where = base or MODELS / f"base-{seed}"
    done = train(where, HERE / f"{skill}.yaml", RUNS / place, ARMS[arm].adapter, how)
    test = done.test
    assert test is not None
    print(f"{place}: {test.base.value:.3f} -> {test.trained.value:.3f}", flush=True)
    return done


def whole(done: Trained, base: Path, folder: Path) -> Path:
    """What was trained, as a model of its own."""
    if done.kind == "full":
        return done.path
    if not folder.exists():
        adapted = fold(merganser.open(base), done.expert()) if done.kind == "svf" else f"{base}+{done.path}"
        merganser.merge([adapted], "passthrough", out=folder)
    return folder


PARTS: dict[str, Callable[[int], None]] = {
    "rates": rates,
    "arms": arms,
    "presets": presets,
    "dispatch": dispatch,
    "sequence": sequence,
}

if __name__ == "__main__":
    main()
