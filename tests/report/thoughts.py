"""Thoughts of new models, to be drawn."""

import torch

from merganser.thinking import CTM
from merganser.thinking.training import Digits, MazeRoutes, Parity, Samples
from merganser.thinking.watching import watch_thoughts

TASKS = {"maze": MazeRoutes(9, 6), "signs": Parity(4), "picture": Digits()}
SMALL = {"ticks": 4, "neurons": 24, "width": 16, "heads": 2, "memory": 3}
PAIRS = {"output_neurons": 20, "action_neurons": 20, "self_pairs": 2, "synapse_depth": 1}


def thoughts_of(kind):
    """What a new model thinks of three samples."""
    task = TASKS[kind]
    torch.manual_seed(0)
    model = CTM(task.config(**SMALL, **(PAIRS if kind == "maze" else {})))
    with torch.no_grad():
        model.attention.query.weight.mul_(50)  # a new model looks everywhere alike
    samples = Samples(*(part[3:6] for part in task.test()))
    return watch_thoughts(model, task, samples, numbers=[3, 4, 5])
