"""Shapes are types: thoughts of several machines with every annotated shape checked at run time by beartype."""

import subprocess
import sys

CHECKED = """
import beartype, torch, merganser.weights
from jaxtyping import install_import_hook
with install_import_hook(["merganser.thinking"], "beartype.beartype"):
    from merganser.thinking import CTM, LSTM, BaselineConfig, CTMConfig, FeedForward, _loop, _lstm, _observe
_loop.CTM = _observe.CTM = CTM  # known to type checkers alone, since it would be a circle
_observe.LSTM = LSTM
small = dict(outputs=6, positions=2, ticks=3, neurons=16, width=8, heads=2, memory=4)
small |= dict(output_neurons=4, action_neurons=4)
agent = dict(heads=0, action_neurons=0, pairing="first-last", sliding=True, outputs=0)
pictures = [torch.randn(3, 3, 9, 9), torch.randn(3, 3, 9, 9)]
asked = [
    ({"backbone": "parity", "positional": "rotational-1d", "pairing": "random"}, [torch.ones(3, 5)] * 2),
    ({"backbone": "resnet18-2", "positional": "fourier", "synapse_depth": 3}, pictures),
    ({"backbone": "resnet50-1", "positional": "rotational", "hidden": 0}, pictures),
    ({"backbone": "questions"}, [*pictures, torch.tensor([1, 2, -1]), None]),
    ({"backbone": "grid", **agent}, [torch.ones(3, 7, 7, 3)] * 2),
    ({"neuron_norm": True, "dropout": 0.1}, [torch.randn(3, 3, 5)] * 2),
]
for parts, sequence in asked:
    model, state = CTM(CTMConfig(**{**small, **parts})), None
    for inputs in sequence:
        thought = model(inputs, state=state, trace=True)
        state = thought.state.where(torch.tensor([True, False, True]), model.start(3)).rows(torch.tensor([2, 0, 1]))
    thought.latent.sum().backward()
    if model.head is not None:
        thought.read(thought.certainties.topk(2).indices), thought.answer()
        thinking = model.think(inputs, state=state)
        for tick in thinking:
            thinking.keep(tick.rows != 1)
            thinking.state.detach()
same = dict(outputs=6, positions=2, width=8, neurons=5)
looks = {"heads": 2, "backbone": "questions"}
for parts, sequence in [(looks, [*pictures, torch.tensor([1, 2, -1]), None]), ({}, [torch.randn(3, 3)] * 2)]:
    model, state = LSTM(BaselineConfig(kind="lstm", **same, **parts, ticks=3, layers=2, dropout=0.1)), None
    for inputs in sequence:
        thought = model(inputs, state=state, trace=True)
        state = thought.state.detach().rows(torch.tensor([2, 0, 1]))
    thought.read(thought.answered[:, None]).sum().backward()
    thinking = model.think(inputs, state=state)
    for tick in thinking:
        thinking.keep(tick.rows != 1)
nets = [({"backbone": "digits", "positional": "fourier"}, pictures[0]), ({"tokens": 4}, torch.ones(3, 3, 4))]
for parts, inputs in nets:
    model = FeedForward(BaselineConfig(kind="feed-forward", **same, **parts, layers=2))
    model(inputs, trace=True).answer().sum().backward()
    list(model.think(inputs))
print("thought")
"""


def test_thoughts_keep_every_shape_they_declare():
    done = subprocess.run([sys.executable, "-c", CHECKED], capture_output=True, text=True, check=False)
    assert done.stdout == "thought\n", done.stderr[-3000:]
