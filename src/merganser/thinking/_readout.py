r"""What a thought says up to each tick: several ways to make one answer of many.

With logits $y_s$ and certainties $c_s$ of the ticks $s \le t$ so far, the probabilities after tick $t$ are:

| name | formula | function |
| --- | --- | --- |
| `certain` | $\mathrm{softmax}(y_s)$, $s = \arg\max_{s \le t} c_s$, of equal ones the first | [`most_certain`][] |
| `instant` | $\mathrm{softmax}(y_t)$ | [`instantaneous`][] |
| `average` | $\frac1t \sum_{s \le t} \mathrm{softmax}(y_s)$ | [`tick_average`][] |
| `weighted` | $\mathrm{softmax}\big(\sum_s c_s y_s / \sum_s c_s\big)$ | [`certainty_weighted`][] |

`certain` is the answer unless one asks for another. `average` is what the paper draws calibration curves of;
where the first ticks are guesses, as for parity, it says less than it knows.
Differences from the authors' code: weighted logits are divided by the sum of the weights, which leaves the answer as it
is and makes its probabilities comparable.

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

Readout = Callable[
    [Float[Tensor, "batch positions classes ticks"], Float[Tensor, "batch ticks"]],
    Float[Tensor, "batch positions classes ticks"],
]
"""From logits and certainties to the probabilities after each tick."""

_LEAST = 1e-12


def surest_so_far(certainties: Float[Tensor, "batch ticks"]) -> Int[Tensor, "batch ticks"]:
    """The most certain tick up to each tick, of equal ones the first.

    Args:
        certainties: In [0, 1].

    Examples:
        >>> surest_so_far(torch.tensor([[0.3, 0.1, 0.5, 0.5, 0.4]]))
        tensor([[0, 0, 2, 2, 2]])
    """
    peaks = certainties.cummax(dim=1).values
    before = torch.cat([torch.full_like(peaks[:, :1], -torch.inf), peaks[:, :-1]], dim=1)
    ticks = torch.arange(certainties.shape[1], device=certainties.device).expand_as(certainties)
    return torch.where(certainties > before, ticks, 0).cummax(dim=1).values


def instantaneous(
    logits: Float[Tensor, "batch positions classes ticks"],
    certainties: Float[Tensor, "batch ticks"],  # noqa: ARG001 every readout takes both
) -> Float[Tensor, "batch positions classes ticks"]:
    """What each tick says by itself."""
    return logits.softmax(dim=2)


def most_certain(
    logits: Float[Tensor, "batch positions classes ticks"], certainties: Float[Tensor, "batch ticks"]
) -> Float[Tensor, "batch positions classes ticks"]:
    """What the most certain tick so far says."""
    ticks = surest_so_far(certainties)[:, None, None, :].expand_as(logits)
    return logits.gather(3, ticks).softmax(dim=2)


def tick_average(
    logits: Float[Tensor, "batch positions classes ticks"],
    certainties: Float[Tensor, "batch ticks"],  # noqa: ARG001 every readout takes both
) -> Float[Tensor, "batch positions classes ticks"]:
    """Probabilities averaged over the ticks so far."""
    count = torch.arange(1, logits.shape[3] + 1, device=logits.device)
    return logits.softmax(dim=2).cumsum(dim=3) / count


def certainty_weighted(
    logits: Float[Tensor, "batch positions classes ticks"], certainties: Float[Tensor, "batch ticks"]
) -> Float[Tensor, "batch positions classes ticks"]:
    """Logits of the ticks so far, averaged with certainties as weights."""
    weights = certainties.clamp(min=_LEAST)[:, None, None, :]
    return ((logits * weights).cumsum(dim=3) / weights.cumsum(dim=3)).softmax(dim=2)


READOUTS: Mapping[str, Readout] = {
    "certain": most_certain,
    "instant": instantaneous,
    "average": tick_average,
    "weighted": certainty_weighted,
}
"""Every readout by name."""


def readout_named(name: str) -> Readout:
    """A readout by its name.

    Raises:
        ValueError: If there is none of that name.
    """
    if name not in READOUTS:
        raise ValueError(f"Expected a readout among {', '.join(READOUTS)}, found {name!r}.")
    return READOUTS[name]
