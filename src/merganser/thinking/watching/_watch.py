"""Let a model think about some samples, and keep what there is to see."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from merganser.models import evaluating
from merganser.thinking._loss import tick_losses
from merganser.thinking._model import CTM
from merganser.thinking._thought import Thought, Trace, split_positions
from merganser.thinking.mazes import MOVES
from merganser.thinking.training import Parity, Samples, ThinkingTask
from merganser.thinking.watching._choose import MAZES
from merganser.thinking.watching._together import sort_alike, together
from merganser.thinking.watching._watched import Watched, WatchedThought

_NEURONS = 24


@torch.no_grad()
def watch_thoughts(
    model: nn.Module,
    task: ThinkingTask,
    samples: Samples,
    *,
    numbers: list[int] | None = None,
    ticks: int | None = None,
    neurons: int = _NEURONS,
    beside: Float[Tensor, "others ..."] | None = None,
) -> Watched:
    """Let a model think about samples and keep what happens inside.

    Neurons that are watched are those that move most over the ticks, mean over all samples.

    Args:
        model: A [`CTM`][merganser.thinking.CTM], or another module that gives a thought; what its trace lacks is not
            watched. It is left in the mode it was in.
        task: What the samples are of.
        samples: A few.
        numbers: What each is called; by default from 0 on.
        ticks: How long it thinks; None for what its configuration says.
        neurons: How many of them are watched at most.
        beside: Inputs of other samples, whose activations are the background; None for those of `samples`.

    Raises:
        ValueError: As for a call of the model.
    """
    given = {} if ticks is None else {"ticks": ticks}
    with evaluating(model):
        thought: Thought = model(samples.inputs, trace=True, **given)
        other = thought if beside is None else model(beside, trace=True, **given)
    kept = _kept(thought, other, neurons)
    logits = split_positions(thought.predictions, thought.positions)
    columns = {
        "number": range(len(samples.inputs)) if numbers is None else numbers,
        "input": _array(samples.inputs),
        "targets": _array(samples.targets),
        "chances": _array(logits.softmax(dim=2).permute(0, 3, 1, 2)),
        "certainties": _array(thought.certainties),
        "losses": _array(tick_losses(logits, samples.targets)),
        **_inside(model, thought.trace, kept),
    }
    rows = zip(*columns.values(), strict=True)
    made = tuple(
        WatchedThought(**dict(zip(columns, row, strict=True)), readout=thought.readout) for row in rows
    )
    grid = None if thought.trace is None else thought.trace.grid
    if kept is None or other.trace is None:
        return Watched(_kind(task, samples), _classes(task), made, grid)
    others = _array(other.trace.activations[..., kept].transpose(0, 1))
    return Watched(_kind(task, samples), _classes(task), made, grid, tuple(kept.tolist()), others)


def _inside(
    model: nn.Module, trace: Trace | None, kept: Int64[Tensor, " kept"] | None
) -> dict[str, np.ndarray]:
    """What a trace tells of each sample."""
    found = {}
    if trace is not None and trace.attention is not None:
        found["attention"] = _array(trace.attention.transpose(0, 1))
    if trace is not None and kept is not None:
        pairs = together(trace.activations, kept, model if isinstance(model, CTM) else None)
        found["activations"] = _array(trace.activations[..., kept].transpose(0, 1))
        found["together"] = _array(pairs.transpose(0, 1))
    return found


def _kept(thought: Thought, other: Thought, neurons: int) -> Int64[Tensor, " kept"] | None:
    """The neurons that move most, in order; None where no tick follows another or the trace has none."""
    if thought.trace is None or other.trace is None or thought.ticks < 2:
        return None
    every = torch.cat([thought.trace.activations, other.trace.activations], dim=1)
    moves = every.std(dim=0).mean(dim=0)
    return sort_alike(every, moves.topk(min(neurons, len(moves))).indices)


def _kind(task: ThinkingTask, samples: Samples) -> str:
    if task.name in MAZES:
        return "maze"
    if isinstance(task, Parity):
        return "signs"
    return "picture" if samples.inputs.ndim == 4 and samples.inputs.shape[1] in (1, 3) else "none"


def _classes(task: ThinkingTask) -> tuple[str, ...]:
    if task.name in MAZES:
        return MOVES
    return ("even", "odd") if isinstance(task, Parity) else tuple(map(str, range(task.classes)))


def _array(tensor: Tensor) -> np.ndarray:
    """As numpy's own, whatever the device and precision; numbers in 64 bits."""
    wide = tensor.double() if tensor.is_floating_point() else tensor
    return wide.cpu().numpy()
