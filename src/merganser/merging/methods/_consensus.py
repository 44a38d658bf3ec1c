r"""Adding up task vectors that may pull in opposite directions.

For task vectors $d_i$ (trimmed, masked, or as they are) and weights $w_i$, per element:

| step | formula |
| --- | --- |
| elect a sign | $\gamma = \mathrm{sgn} \sum_i w_i d_i$ |
| add up those that agree | $m = \sum_{i:\ \mathrm{sgn}(w_i d_i) = \gamma} w_i d_i$ |
| average, if normalised | $m \,/ \sum_{i:\ \mathrm{sgn}(w_i d_i) = \gamma} w_i$ |

Where the weighted sum is exactly zero, $\gamma = 0$ and nothing is added.
Masks are numbers here, 0 or 1, and conditions are products: on blocks of float32 this is several times faster than
selecting with truth values, and a NaN is never lost on the way.

References:
    Yadav et al., *TIES-Merging: Resolving Interference When Merging Models*, NeurIPS 2023,
    https://arxiv.org/abs/2306.01708 (algorithm 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxtyping import Float

from merganser.merging.methods._fractions import common_factor, scale_

if TYPE_CHECKING:
    from torch import Tensor

_NO_WEIGHT = 1e-8
_TINY = 1e-30


def elected_sum(
    deltas: Float[Tensor, "models elements"],
    weights: Sequence[float],
    *,
    normalize: bool,
    weighted_vote: bool = True,
) -> Float[Tensor, " elements"]:
    """Sum, or average, of the task vectors that agree with the elected sign.

    Args:
        deltas: Task vectors; overwritten.
        weights: One for each.
        normalize: Divide by the weights that took part.
        weighted_vote: Whether weights count in the election, and not only in the sum.

    Examples:
        >>> import torch
        >>> elected_sum(torch.tensor([[2.0, 1.0], [-1.0, 3.0]]), [1.0, 1.0], normalize=True)
        tensor([2., 2.])
    """
    common, relative = common_factor(weights)
    if weighted_vote:
        for delta, weight in zip(deltas, relative, strict=True):
            if weight != 1.0:
                delta.mul_(weight)
    total = deltas[0] + deltas[1] if len(deltas) > 1 else deltas[0].clone()
    for delta in deltas[2:]:
        total.add_(delta)
    sign = total.sign_()
    mixed = divisor = None
    for delta, weight in zip(deltas, relative, strict=True):
        agreeing, share = delta.mul_(sign).clamp_min_(0.0), 1.0 if weighted_vote else weight
        mixed = agreeing * share if mixed is None else mixed.add_(agreeing, alpha=share)
        if normalize:
            counted = agreeing.sign_()
            divisor = counted.mul_(weight) if divisor is None else divisor.add_(counted, alpha=weight)
    assert mixed is not None
    if divisor is not None:
        # where nothing took part the sum is zero too; where weights cancel, it is left undivided
        mixed.div_(divisor.add_(divisor.abs().lt_(_TINY), alpha=1 / common))
        common = 1.0
    return scale_(mixed.mul_(sign), common)


def plain_sum(
    deltas: Float[Tensor, "models elements"], weights: Sequence[float], *, normalize: bool
) -> Float[Tensor, " elements"]:
    """Weighted sum, or average, of all task vectors; overwrites them."""
    divisor = sum(weights) if normalize else 1.0
    if abs(divisor) < _NO_WEIGHT:
        divisor = 1.0
    common, relative = common_factor([weight / divisor for weight in weights])
    total = deltas[0] if relative[0] == 1.0 else deltas[0].mul_(relative[0])
    for delta, weight in zip(deltas[1:], relative[1:], strict=True):
        total.add_(delta, alpha=weight)
    return scale_(total, common)


def thinned_sum(
    deltas: Float[Tensor, "models elements"],
    weights: Sequence[float],
    scales: Sequence[float],
    *,
    elect: bool,
    normalize: bool,
    lambda_: float,
) -> Float[Tensor, " elements"]:
    """Sum of task vectors of which something was left out, each scaled up for it; overwrites them.

    Args:
        deltas: Task vectors.
        weights: One for each.
        scales: What each is multiplied with before signs are elected.
        elect: Whether signs are elected, and only what agrees is added.
        normalize: Divide by the weights that took part.
        lambda_: Scale of the result.
    """
    if not elect:
        divisor = sum(weights) if normalize and abs(sum(weights)) > _NO_WEIGHT else 1.0
        combined = [weight * scale * lambda_ / divisor for weight, scale in zip(weights, scales, strict=True)]
        return plain_sum(deltas, combined, normalize=False)
    shared = scales[0] if len(set(scales)) == 1 else 1.0  # applied once, at the end
    if shared == 1.0:
        for delta, scale in zip(deltas, scales, strict=True):
            if scale != 1.0:
                delta.mul_(scale)
    merged = elected_sum(deltas, weights, normalize=normalize)
    return merged if shared * lambda_ == 1.0 else merged.mul_(shared * lambda_)
