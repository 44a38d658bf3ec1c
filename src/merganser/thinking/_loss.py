r"""Which ticks are trained: of each sample the best one, and the surest one.

Logits of a thought have shape (batch, positions, classes, ticks). Write $L_{bt}$ for the cross-entropy of sample $b$ at
tick $t$, averaged over positions, and $c_{bt}$ for the certainty there.

| rule | formula | here |
| --- | --- | --- |
| loss of a tick | $L_{bt} = -\frac1P \sum_p \log \mathrm{softmax}(y_{bpt})_{\text{target}}$ | [`tick_losses`][] |
| the best tick | $t_1 = \arg\min_t L_{bt}$ | [`thought_loss`][] |
| the surest tick | $t_2 = \arg\max_t c_{bt}$ | [`thought_loss`][] |
| loss | $\frac1B \sum_b (L_{bt_1} + L_{bt_2}) / 2$ | [`thought_loss`][] |

Of equal ticks the first is taken. No gradient goes through the choice of a tick.

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, section 3.5, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


class ThoughtLoss(NamedTuple):
    """The loss of a batch, and the ticks it is made of.

    Attributes:
        value: What is descended, in nats.
        best: The tick with the smallest loss, of each sample, from 0.
        surest: The tick with the highest certainty, of each sample, from 0.
    """

    value: Float[Tensor, ""]
    best: Int[Tensor, " batch"]
    surest: Int[Tensor, " batch"]


def by_position(
    predictions: Float[Tensor, "batch outputs ticks"], positions: int
) -> Float[Tensor, "batch positions classes ticks"]:
    """Logits divided by the positions that are answered at once; outputs of one position lie side by side.

    Args:
        predictions: Logits as a thought holds them.
        positions: How many answers there are; 1 for one class a sample.

    Raises:
        ValueError: If the outputs cannot be divided evenly.
    """
    batch, outputs, ticks = predictions.shape
    if positions < 1 or outputs % positions:
        raise ValueError(
            f"{outputs} outputs cannot be divided into {positions} positions. The model's number of outputs must be "
            "that of positions times that of classes."
        )
    return predictions.reshape(batch, positions, outputs // positions, ticks)


def tick_losses(
    logits: Float[Tensor, "batch positions classes ticks"], targets: Int[Tensor, "batch positions"]
) -> Float[Tensor, "batch ticks"]:
    """Cross-entropy at each tick, averaged over positions, in nats.

    Args:
        logits: What a model answers.
        targets: The right classes, from 0.
    """
    every = targets[:, :, None].expand(-1, -1, logits.shape[-1])
    return functional.cross_entropy(logits.movedim(2, 1), every, reduction="none").mean(dim=1)


def thought_loss(
    logits: Float[Tensor, "batch positions classes ticks"],
    certainties: Float[Tensor, "batch ticks"],
    targets: Int[Tensor, "batch positions"],
) -> ThoughtLoss:
    """Mean over samples of the loss at their best and at their surest tick.

    Args:
        logits: What a model answers.
        certainties: How sure it is at each tick, in [0, 1].
        targets: The right classes, from 0.

    Examples:
        Tick 0 is right and unsure, tick 1 wrong and sure:

        >>> import torch
        >>> logits = torch.tensor([[[[1.0, -3.0], [0.0, 0.0]]]])
        >>> thought_loss(logits, torch.tensor([[0.2, 0.7]]), torch.tensor([[0]]))
        ThoughtLoss(value=tensor(1.6809), best=tensor([0]), surest=tensor([1]))
    """
    losses = tick_losses(logits, targets)
    best, surest = losses.detach().argmin(dim=1), certainties.detach().argmax(dim=1)
    chosen = losses.gather(1, best[:, None]) + losses.gather(1, surest[:, None])
    return ThoughtLoss(chosen.mean() / 2, best, surest)
