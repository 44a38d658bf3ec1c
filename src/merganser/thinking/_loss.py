r"""Which ticks are trained: of each sample the best one, and the surest one.

Write $L_{bt}$ for the cross-entropy of sample $b$ at tick $t$, averaged over positions, and $c_{bt}$ for the certainty
there.

| rule | formula | here |
| --- | --- | --- |
| loss of a tick | $L_{bt} = -\frac1P \sum_p \log \mathrm{softmax}(y_{bpt})_{\text{target}}$ | [`tick_losses`][] |
| the best tick | $t_1 = \arg\min_t L_{bt}$ | [`thought_loss`][] |
| the surest tick | $t_2 = \arg\max_t c_{bt}$ | [`thought_loss`][] |
| loss | $\frac1B \sum_b (L_{bt_1} + L_{bt_2}) / 2$ | [`thought_loss`][] |
| curriculum | $L_{bt}$ over positions before $u_b = \max(1, \max_t k_{bt}) + a - 1$ alone | [`reached`][] |

A curriculum is for routes, whose later steps make sense only when the first are right: $k_{bt}$ is how many positions
are right before the first wrong one, and $a$ how far training looks ahead.

Of equal ticks the first is taken. A model that answers at its last tick, as an LSTM does, is trained there in place of
the surest. No gradient goes through the choice of a tick, so the head is run a second time at
the chosen ticks alone, and only there with gradients.

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, section 3.5, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from merganser.thinking._thought import Thought, split_positions


class ThoughtLoss(NamedTuple):
    """The loss of a batch, and the ticks it is made of.

    Attributes:
        value: What is descended, in nats.
        best: The tick with the smallest loss, of each sample, from 0.
        surest: The tick that answers, of each sample, from 0: the surest one, or the last ([`Thought.answered`][]).
    """

    value: Float[Tensor, ""]
    best: Int[Tensor, " batch"]
    surest: Int[Tensor, " batch"]


def tick_losses(
    logits: Float[Tensor, "batch positions classes ticks"],
    targets: Int[Tensor, "batch positions"],
    until: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, "batch ticks"]:
    """Cross-entropy at each tick, averaged over positions, in nats.

    Args:
        logits: What a model answers.
        targets: The right classes, from 0.
        until: How many positions of each sample count; None for all.

    Examples:
        >>> tick_losses(torch.zeros(1, 3, 2, 1), torch.tensor([[0, 1, 1]]))
        tensor([[0.6931]])
    """
    every = targets[:, :, None].expand(-1, -1, logits.shape[-1])
    losses = functional.cross_entropy(logits.movedim(2, 1), every, reduction="none")
    if until is None:
        return losses.mean(dim=1)
    counted = torch.arange(targets.shape[1], device=targets.device) < until[:, None]
    return (losses * counted[:, :, None]).sum(dim=1) / counted.sum(dim=1, keepdim=True)


def reached(
    logits: Float[Tensor, "batch positions classes ticks"],
    targets: Int[Tensor, "batch positions"],
    look_ahead: int,
) -> Int[Tensor, " batch"]:
    """How many positions of each sample are trained: those that some tick has right from the first on, and some more.

    Args:
        logits: What a model answers.
        targets: The right classes, from 0.
        look_ahead: From the last of those that are right on, how many; the paper has 5.

    Examples:
        >>> answered = torch.tensor([[0, 0, 1, 0, 0, 0]])  # two right, one wrong, three right
        >>> logits = torch.eye(2)[answered].unsqueeze(-1)
        >>> reached(logits, torch.zeros(1, 6, dtype=torch.long), look_ahead=3)
        tensor([4])
    """
    right = logits.argmax(dim=2) == targets[:, :, None]
    longest = right.int().cumprod(dim=1).sum(dim=1).amax(dim=1)
    return longest.clamp(min=1) + look_ahead - 1


def thought_loss(
    thought: Thought[Any], targets: Int[Tensor, "batch positions"], *, look_ahead: int | None = None
) -> ThoughtLoss:
    """Mean over samples of the loss at their best and at their surest tick.

    Args:
        thought: What a model makes of the samples.
        targets: The right classes, from 0.
        look_ahead: Of a curriculum over positions; None to train all of them at once.

    Raises:
        ValueError: If the thought has another number of positions, or its model no head.
    """
    if targets.shape[1] != thought.positions:
        raise ValueError(
            f"Expected targets at {thought.positions} positions, as the model answers, but found {targets.shape[1]}."
        )
    with torch.no_grad():
        logits = split_positions(thought.predictions, thought.positions)
        until = None if look_ahead is None else reached(logits, targets, look_ahead)
        losses = tick_losses(logits, targets, until)
        best, surest = losses.argmin(dim=1), thought.answered
    chosen = thought.read(torch.stack([best, surest], dim=1))
    value = tick_losses(split_positions(chosen, thought.positions), targets, until).mean()
    return ThoughtLoss(value, best, surest)
