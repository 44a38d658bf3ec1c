"""What is trained on the small Llama: experts and their rivals, each with the learning rates that were tried."""

from __future__ import annotations

from typing import NamedTuple

from merganser.adaptation.training import Adapter, Full, Lora, Svf, Training


class Arm(NamedTuple):
    """One way to train, and the learning rates to choose from."""

    adapter: Adapter
    rates: tuple[float, ...]


ALL = ("mlp", "attention")
ARMS = {
    "svf-mlp": Arm(Svf(), (0.02, 0.05, 0.15)),
    "svf": Arm(Svf(components=ALL), (0.02, 0.05, 0.15)),
    "lora-1": Arm(Lora(1, components=ALL), (1e-3, 3e-3, 1e-2)),
    "lora-16": Arm(Lora(16, components=(), modules=("q_proj", "v_proj")), (1e-3, 3e-3, 1e-2)),
    "full": Arm(Full(), (3e-4, 1e-3, 3e-3)),
}
STEPS, EVERY = 100, 10


def settings(arm: str, preset: str = "rloo", *, rate: float | None = None, seed: int = 0) -> Training:
    """64 answers a step, no pull to the base, every step taken."""
    official = preset == "official"
    return Training.preset(
        preset,
        steps=STEPS,
        kl=0.0,
        every=EVERY,
        patience=STEPS,
        learning_rate=2e-3 if official else rate or CHOSEN[arm],
        seed=seed,
    )


CHOSEN = {"svf-mlp": 0.15, "svf": 0.15, "lora-1": 1e-3, "lora-16": 3e-3, "full": 3e-4}
"""The rates with the highest mean validation score over a training on `reverse`, seed 0 (`train.py rates`)."""
