r"""Answers written over time: each tick says a symbol or nothing, and what is said is the sequence (CTC).

With $K$ classes the last is the *blank*. A path of one class a tick stands for the sequence that is left once
repetitions are said once and blanks are dropped; the probability of a sequence is the sum over its paths. Used where a
model answers with a sequence, such as the order of numbers to be sorted.

| rule | here |
| --- | --- |
| minus log-probability of the target, over its length | [`ctc_loss`][] |
| the likeliest class of each tick, read as a path | [`ctc_greedy`][] |

References:
    Graves et al., *Connectionist Temporal Classification*, ICML 2006
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, https://arxiv.org/abs/2505.05522 (sorting)
"""

from __future__ import annotations

from itertools import groupby

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def ctc_loss(
    predictions: Float[Tensor, "batch classes ticks"], targets: Int[Tensor, "batch length"]
) -> Float[Tensor, ""]:
    """Mean over samples of the targets' cost, in nats a symbol.

    Args:
        predictions: Logits; the last class is the blank.
        targets: The right sequences, all of one length.

    Raises:
        ValueError: If a sequence cannot be said in so many ticks, or names a class that is not there.
    """
    batch, classes, ticks = predictions.shape
    length = targets.shape[1]
    repeats = int((targets[:, 1:] == targets[:, :-1]).sum(dim=1).max()) if length > 1 else 0
    if length + repeats > ticks:
        raise ValueError(
            f"{length} symbols of which {repeats} repeat the one before take at least {length + repeats} ticks, but "
            f"the model thinks for {ticks}. Let it think longer."
        )
    if int(targets.min()) < 0 or int(targets.max()) >= classes - 1:
        raise ValueError(
            f"Expected symbols from 0 to {classes - 2}, since the last of {classes} classes is the blank, but found "
            f"{int(targets.min())} to {int(targets.max())}."
        )
    paths = functional.log_softmax(predictions, dim=1).permute(2, 0, 1)
    lengths = torch.full((batch,), ticks), torch.full((batch,), length)
    return functional.ctc_loss(paths, targets, *lengths, blank=classes - 1)


def ctc_greedy(predictions: Float[Tensor, "batch classes ticks"]) -> list[tuple[int, ...]]:
    """The sequence of each sample, read off the likeliest class of each tick.

    Args:
        predictions: Logits; the last class is the blank.

    Examples:
        Said over five ticks: 1, 1, blank, 1, 0.

        >>> path = torch.tensor([1, 1, 2, 1, 0])
        >>> ctc_greedy(torch.eye(3)[path].T[None])
        [(1, 1, 0)]
    """
    blank = predictions.shape[1] - 1
    return [
        tuple(symbol for symbol, _ in groupby(path) if symbol != blank)
        for path in predictions.argmax(dim=1).tolist()
    ]
