"""The models of the paper's experiments, as fields of a configuration.

| preset | task | official parameters |
| --- | --- | --- |
| ``parity-64`` | cumulative parity of 64 signs | 5,719,714 |
| ``maze-39`` | routes of 100 steps in mazes of 39×39 pixels | 31,998,330 |
| ``maze-15-ablation`` | the table of ablations: routes of 50 steps in mazes of 15×15 | 8,967,160 |
| ``cifar-10``, ``imagenet`` | pictures | |
| ``sort-30`` | 30 numbers put in order | |
| ``qamnist-1``, ``qamnist-10`` | questions about digits that were shown, 1 or 10 ticks for each input | |
| ``cartpole``, ``acrobot``, ``four-rooms`` | acting; the network has no head of its own | |

Where the paper's text and its code differ, numbers are those that give the paper's counts of parameters: parity has 16
hidden units (text: 4), mazes 64 and 32 neurons that are paired (text: 32 and 32).

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_PARITY = {
    "outputs": 128,
    "positions": 64,
    "ticks": 75,
    "neurons": 1024,
    "width": 512,
    "memory": 25,
    "pairing": "random",
    "backbone": "parity",
    "positional": "rotational-1d",
}
_QUESTIONS = {
    "outputs": 10,
    "neurons": 1024,
    "width": 64,
    "heads": 4,
    "pairing": "random",
    "backbone": "questions",
    "channels": 1,
}
_AGENT = {
    "outputs": 0,
    "heads": 0,
    "synapse_blocks": 2,
    "pairing": "first-last",
    "action_neurons": 0,
    "output_neurons": 16,
    "max_decay": 4.0,
    "sliding": True,
}

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "parity-64": _PARITY,
        "maze-39": {
            "outputs": 500,
            "positions": 100,
            "ticks": 75,
            "neurons": 2048,
            "width": 512,
            "heads": 16,
            "memory": 25,
            "hidden": 32,
            "synapse_depth": 8,
            "pairing": "first-last",
            "output_neurons": 64,
            "backbone": "resnet34-2",
            "dropout": 0.1,
            "neuron_dropout": 0.1,
        },
        "maze-15-ablation": {
            "outputs": 250,
            "positions": 50,
            "ticks": 50,
            "neurons": 1024,
            "width": 256,
            "heads": 4,
            "memory": 25,
            "hidden": 32,
            "synapse_depth": 8,
            "output_neurons": 1024,
            "action_neurons": 1024,
            "backbone": "resnet18-1",
        },
        "cifar-10": {
            "outputs": 10,
            "ticks": 50,
            "neurons": 256,
            "width": 64,
            "heads": 16,
            "memory": 15,
            "hidden": 64,
            "synapse_depth": 5,
            "output_neurons": 256,
            "action_neurons": 512,
            "backbone": "resnet18-1",
        },
        "imagenet": {
            "outputs": 1000,
            "ticks": 50,
            "neurons": 4096,
            "width": 1024,
            "heads": 16,
            "memory": 25,
            "hidden": 64,
            "synapse_depth": 8,
            "output_neurons": 8196,
            "action_neurons": 2048,
            "self_pairs": 32,
            "backbone": "resnet152-4",
            "dropout": 0.2,
        },
        "sort-30": {
            "outputs": 31,
            "ticks": 50,
            "neurons": 512,
            "width": 30,
            "heads": 0,
            "memory": 25,
            "hidden": 4,
            "synapse_depth": 4,
            "action_neurons": 0,
            "backbone": "none",
            "channels": 30,
        },
        "qamnist-1": {**_QUESTIONS, "ticks": 1, "memory": 3},
        "qamnist-10": {**_QUESTIONS, "ticks": 10, "memory": 30},
        "cartpole": {**_AGENT, "ticks": 2, "neurons": 128, "width": 128, "memory": 20, "hidden": 4}
        | {"backbone": "control", "channels": 4},
        "acrobot": {**_AGENT, "ticks": 2, "neurons": 256, "width": 64, "memory": 10, "hidden": 4}
        | {"backbone": "control", "channels": 6},
        "four-rooms": {**_AGENT, "ticks": 2, "neurons": 512, "width": 128, "memory": 20, "hidden": 16}
        | {"output_neurons": 32, "backbone": "grid"},
    }
)
"""Fields of the models of the paper's experiments."""
