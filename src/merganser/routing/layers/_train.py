r"""Training of routers, and of nothing else: AdamW on the cross-entropy, one step over a state that is a value.

With $g$ the gradient, $t$ the step from 1 and $\eta$, $\lambda$ learning rate and decay:

$$m \leftarrow \beta_1 m + (1-\beta_1) g, \quad v \leftarrow \beta_2 v + (1-\beta_2) g^2, \quad
w \leftarrow (1 - \eta\lambda)\, w - \eta\, \frac{m / (1-\beta_1^t)}{\sqrt{v / (1-\beta_2^t)} + \varepsilon}$$

References:
    Loshchilov, Hutter, *Decoupled Weight Decay Regularization*, ICLR 2019, https://arxiv.org/abs/1711.05101
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from merganser._errors import NonFiniteOutputError, TaskError
from merganser.models import evaluating
from merganser.routing.layers._assemble import RoutedNet
from merganser.routing.layers._data import RouterData
from merganser.routing.layers._state import RouterState, RouterTraining, fingerprint_of

_BETAS, _EPSILON = (0.9, 0.99), 1e-8


class Split(NamedTuple):
    """Rows to train on, and rows to look at."""

    training: Sequence[int]
    validation: Sequence[int]


def split_rows(data: RouterData, settings: RouterTraining) -> Split:
    """Rows for training and validation, drawn by the seed.

    Raises:
        TaskError: If there are fewer than two.
    """
    if len(data) < 2:
        raise TaskError(
            f"Expected at least two rows, one of them for validation, found {len(data)}. Give more texts, or shorter "
            "windows."
        )
    order = np.random.default_rng([settings.seed, 0]).permutation(len(data)).tolist()
    held_out = min(len(data) - 1, max(1, round(settings.validation * len(data))))
    return Split(order[held_out:], order[:held_out])


def train_routers(
    net: RoutedNet,
    data: RouterData,
    settings: RouterTraining | None = None,
    *,
    keep: str | Path | None = None,
    of: str = "",
    watch: Callable[[RouterState], None] | None = None,
) -> RouterState:
    """Train the routers of a net, and leave it with the weights that were best on the validation rows.

    Args:
        net: The net, which begins with the weights it has.
        data: What it is to predict.
        settings: How; by default as the paper.
        keep: A ``.safetensors`` file for the state, written at each look. If it is there, training goes on from it,
            to the same end as if it had never stopped. It stays when training is over.
        of: What the models of the net are, such as [`RoutedModel.digest`][]; `keep` is no good for others.
        watch: Called with the state after each step and look.

    Returns:
        The state at the end.

    Raises:
        TaskError: If there are fewer than two rows.
        NonFiniteOutputError: If the loss is NaN or infinite.
        RunError: If `keep` holds the state of another training.
        CheckpointError: If `keep` is damaged.
    """
    settings = settings or RouterTraining()
    split = split_rows(data, settings)
    place = None if keep is None else Path(keep)
    name = fingerprint_of(settings, net.routing.to_json(), net.experts, data.digest, of)
    begun = place is not None and place.exists()
    state = RouterState.open(place, of=name) if place and begun else RouterState.start(net.weights())
    with evaluating(net.module):
        while True:
            if not state.looks or (state.looks[-1].step < state.step and _is_due(state, settings)):
                net.set_weights(state.weights)
                state = state.looked(mean_loss(net, data, split.validation, batch=settings.batch))
                if place is not None:
                    state.save(place, of=name)
                if watch is not None:
                    watch(state)
            if state.is_over(settings):
                break
            state = router_step(net, data, settings, state, split.training)
            if watch is not None:
                watch(state)
    net.set_weights(state.best)
    return state


def router_step(
    net: RoutedNet, data: RouterData, settings: RouterTraining, state: RouterState, rows: Sequence[int]
) -> RouterState:
    """One step; the same state and rows give the same next state.

    Args:
        net: The net, whose routers are left with the new weights.
        data: What it is to predict.
        settings: How.
        state: Where training is.
        rows: Rows to draw from.

    Raises:
        NonFiniteOutputError: If the loss or a gradient is NaN or infinite.
    """
    import torch

    random = np.random.default_rng([settings.seed, 1, state.step])
    chosen = random.choice(len(rows), size=min(settings.batch, len(rows)), replace=False)
    net.set_weights(state.weights)
    with net.dense():
        loss = data.loss(net.module, [rows[k] for k in chosen])
        mean = loss.total / loss.predictions
        gradients = torch.autograd.grad(mean, list(net.routers.values()))
    value = float(mean.detach())
    found = dict(zip(net.routers, (g.detach().cpu().numpy() for g in gradients), strict=True))
    if not math.isfinite(value) or not all(np.isfinite(g).all() for g in found.values()):
        raise NonFiniteOutputError(
            f"the loss of step {state.step} of training routers is {value}, or its gradient is not finite; lower the "
            "learning rate, or compute in float32"
        )
    return replace(_adamw(state, found, settings), losses=(*state.losses, value))


def mean_loss(net: RoutedNet, data: RouterData, rows: Sequence[int], *, batch: int = 8) -> float:
    """Mean cross-entropy on rows, in nats, as the net is used.

    Raises:
        NonFiniteOutputError: If it is NaN or infinite.
    """
    import torch

    total, count = 0.0, 0
    with torch.inference_mode():
        for begin in range(0, len(rows), batch):
            loss = data.loss(net.module, rows[begin : begin + batch])
            total, count = total + float(loss.total), count + loss.predictions
    if not math.isfinite(total):
        raise NonFiniteOutputError("the loss on the validation rows is NaN or infinite")
    return total / count


def _is_due(state: RouterState, settings: RouterTraining) -> bool:
    return state.step % settings.every == 0 or state.step >= settings.steps


def _adamw(
    state: RouterState, gradients: dict[str, Float[np.ndarray, "..."]], settings: RouterTraining
) -> RouterState:
    """One step of AdamW; static shares are put back into the simplex and do not decay."""
    (b1, b2), t = _BETAS, state.step + 1
    weights, first, second = {}, {}, {}
    for name, g in gradients.items():
        first[name] = b1 * state.first[name] + (1 - b1) * g
        second[name] = b2 * state.second[name] + (1 - b2) * g**2
        change = first[name] / (1 - b1**t) / (np.sqrt(second[name] / (1 - b2**t)) + _EPSILON)
        decay = 0.0 if name == "static" else settings.weight_decay
        moved = (1 - settings.learning_rate * decay) * state.weights[name] - settings.learning_rate * change
        weights[name] = (_shares(moved) if name == "static" else moved).astype(np.float32)
    return replace(state, step=t, weights=weights, first=first, second=second)


def _shares(weights: Float[np.ndarray, " free"]) -> Float[np.ndarray, " free"]:
    """Shares that are not negative and leave no less than nothing for the last model."""
    positive = np.maximum(weights, 0)
    return positive / max(1.0, float(positive.sum()))
