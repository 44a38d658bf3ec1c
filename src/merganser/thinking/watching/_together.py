"""How neurons go together: synchronisation of every two of a few, also of those whose pairs the model does not read."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from merganser.thinking._model import CTM
from merganser.thinking._synchronisation import Synchronisation, all_pairs


@torch.no_grad()
def together(
    activations: Float[Tensor, "ticks batch neurons"],
    chosen: Int64[Tensor, " chosen"],
    model: CTM | None = None,
) -> Float[Tensor, "ticks batch chosen chosen"]:
    r"""Synchronisation $\alpha / \sqrt{\beta}$ of all pairs of chosen neurons, tick by tick.

    Pairs that the model reads decay as it has learnt; those that it does not read count all ticks alike. The first term
    is the learnt start's.

    Args:
        activations: Of all neurons.
        chosen: Neurons, by number.
        model: Whose they are; None where there is no start and nothing decays.
    """
    pairs = all_pairs(chosen, chosen)
    rule = Synchronisation(*pairs, 0.0 if model is None else model.config.max_decay).to(activations.device)
    neurons = activations.transpose(1, 2)
    if model is None:
        values, _ = rule.follow(rule.nothing(neurons[0]), neurons)
    else:
        rule.decay.copy_(_decays(model, pairs))
        values, _ = rule.follow(rule.begin(model.start(neurons.shape[2]).activations), neurons)
    matrix = values.new_zeros(len(values), values.shape[2], len(chosen), len(chosen))
    i, j = torch.triu_indices(len(chosen), len(chosen), device=values.device)
    matrix[:, :, i, j] = matrix[:, :, j, i] = values.transpose(1, 2)
    return matrix


def sort_alike(
    activations: Float[Tensor, "ticks batch neurons"], chosen: Int64[Tensor, " chosen"]
) -> Int64[Tensor, " chosen"]:
    """The same neurons, those that move alike beside each other: in the order of their main direction.

    Args:
        activations: Of all neurons.
        chosen: Neurons, by number.
    """
    moves = activations[:, :, chosen].double()
    moves = (moves - moves.mean(dim=0)).flatten(0, 1)
    moves = moves / moves.norm(dim=0).clamp(min=1e-12)
    return chosen[torch.linalg.eigh(moves.T @ moves).eigenvectors[:, -1].argsort()]


def _decays(model: CTM, pairs: tuple[Tensor, Tensor]) -> Float[Tensor, " pairs"]:
    """Decays that the output synchronisation has learnt, and 0 for pairs it does not read."""
    read = model.output
    learnt = {
        (min(i, j), max(i, j)): decay
        for i, j, decay in zip(read.left.tolist(), read.right.tolist(), read.decay.tolist(), strict=True)
    }
    both = zip(pairs[0].tolist(), pairs[1].tolist(), strict=True)
    return read.decay.new_tensor([learnt.get((min(i, j), max(i, j)), 0.0) for i, j in both])
